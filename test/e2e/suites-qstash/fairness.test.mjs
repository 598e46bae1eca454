// A destination that hangs holds up nobody else.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { until } from "../lib/server.mjs";
import { setup } from "../lib/qstash.mjs";

test("a thousand messages to a host that never answers do not hold up a thousand to one that does", async (t) => {
  const { client, sink } = await setup(t);
  const sockets = new Set();
  const dead = createServer((s) => { sockets.add(s); s.on("error", () => {}); });
  await new Promise((ok) => dead.listen(0, "127.0.0.1", ok));
  t.after(() => { for (const s of sockets) s.destroy(); dead.close(); });
  const batch = (url) => client.batchJSON(Array.from({ length: 1000 }, (_, i) => ({ url, body: { i }, retries: 0 })));
  await batch(`http://127.0.0.1:${dead.address().port}/never`);
  await until("the dead host to be called", () => sockets.size > 100);
  await batch(sink.url("/live"));
  const live = await sink.got("/live", 1000);
  assert.equal(new Set(live.map((r) => r.headers["upstash-message-id"])).size, 1000);
  assert.equal((await client.logs({ filter: { state: "FAILED" } })).logs.length, 0, "the dead ones are still waited for");
});
