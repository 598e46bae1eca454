// Tasks that stream to whoever follows them, and that are sent to.
import { metadata, streams, task } from "@trigger.dev/sdk";

async function* count(n: number, ms: number) {
  for (let i = 0; i < n; i++) {
    yield { n: i };
    await new Promise((r) => setTimeout(r, ms));
  }
}
const progress = streams.define<string>({ id: "progress" });

export const streamer = task({
  id: "streamer",
  run: async (payload: { n: number; ms: number; target?: "parent" }) => {
    await streams.append("notes", "a note");
    await progress.append("begun");
    const { waitUntilComplete } = streams.pipe("counts", count(payload.n, payload.ms), payload.target ? { target: payload.target } : undefined);
    const seen: unknown[] = [];
    for await (const v of await metadata.stream("alias", count(2, 1))) seen.push(v);
    await waitUntilComplete();
    return { seen };
  },
});
export const streamParent = task({ id: "stream-parent", run: async (payload: { n: number; ms: number }) => (await streamer.triggerAndWait({ ...payload, target: "parent" })).ok });

const approval = streams.input<{ by: string }>({ id: "approval" });
export const asked = task({
  id: "asked",
  run: async () => {
    const heard: string[] = [];
    const first = await approval.once().unwrap();
    const listener = approval.on((data) => void heard.push(data.by));
    while (heard.length < 1) await new Promise((r) => setTimeout(r, 10));
    listener.off();
    const last = await approval.wait({ timeout: "1h" });
    return { first: first.by, heard, last: last.ok && last.output.by };
  },
});
