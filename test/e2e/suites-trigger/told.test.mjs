// What runs tell while they execute: traces and logs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { client, ended, reach, sdk, startDev, startServer, until, use } from "../lib/trigger.mjs";

const { runs, tasks } = sdk;
let server, dev, api;
before(async () => {
  server = await startServer();
  use(server);
  api = client(server);
  dev = await startDev(server);
}, { timeout: 170_000 });
after(async () => {
  await dev?.close();
  await server?.close();
});

const flat = (span) => [span, ...span.children.flatMap(flat)];

test("a run has a trace: its attempts, their spans and logs, and the runs that it triggered", async () => {
  const h = await tasks.trigger("told", { trigger: true, fails: 1 });
  await ended(h);
  const { trace } = await api.retrieveRunTrace(h.id);
  const spans = flat(trace.rootSpan);
  const named = (message) => spans.filter((s) => s.data.message === message);
  assert.deepEqual([trace.rootSpan.data.message, trace.rootSpan.runId, trace.rootSpan.data.isPartial], ["told", h.id, false]);
  assert.deepEqual(trace.rootSpan.children.map((s) => [s.data.message, s.data.isError]), [["Attempt 1", true], ["Attempt 2", false]]);
  const log = named("begun")[0];
  assert.equal(log.data.level, "INFO");
  assert.deepEqual(log.data.properties, { payload: { trigger: true, fails: 1 }, list: [1, { two: 2 }], nothing: null });
  assert.equal(named("a line of the console")[0].data.level, "ERROR");
  const [bad, good] = named("look around");
  assert.deepEqual([bad.data.isError, good.data.isError, good.data.properties], [true, false, { where: "here" }]);
  assert.equal(bad.data.events.find((e) => e.name === "exception").properties.exception.message, "lost 1");
  assert.ok(good.data.duration > 1e6 && good.data.startTime instanceof Date);
  // The child's spans are within the one that triggered it.
  const waited = good.children.find((s) => s.data.message === "triggerAndWait()");
  const child = waited.children[0];
  assert.deepEqual([child.data.message, child.data.output.json.hi], ["hello", "child"]);
  assert.notEqual(child.runId, h.id);
  assert.ok(flat(child).some((s) => s.data.message === "run()" && s.runId === child.runId));
  assert.ok(spans.every((s) => !s.data.isPartial));

  const detail = await api.retrieveSpan(h.id, waited.id);
  assert.deepEqual([detail.message, detail.parentId, detail.triggeredRuns.map((r) => [r.runId, r.status])], ["triggerAndWait()", good.id, [[child.runId, "COMPLETED"]]]);
  await assert.rejects(api.retrieveSpan(h.id, "0000000000000000"), /Span not found/);
  const pages = [];
  for (let after; ; after = pages.at(-1).pagination.next) {
    pages.push(await api.retrieveRunTracePage(h.id, { limit: 5, after }));
    if (!pages.at(-1).pagination.next) break;
  }
  assert.deepEqual(pages.flatMap((p) => p.data.map((s) => s.id)).sort(), spans.map((s) => s.id).sort());
  assert.deepEqual(pages.flatMap((p) => p.attemptFailures).map((f) => f.attemptNumber), [1]);
  const { events } = await api.listRunEvents(h.id);
  assert.ok(events.some((e) => e.message === "begun" && e.level === "INFO" && e.kind === "LOG" && e.attemptNumber === 1));
});

test("spans are open while they last, and end with a run that is cancelled", async () => {
  const h = await tasks.trigger("told", { ms: 60_000 });
  await reach(h, "EXECUTING");
  const look = async () => flat((await api.retrieveRunTrace(h.id)).trace.rootSpan).find((s) => s.data.message === "look around");
  const open = await until("the span to have begun", look);
  assert.ok(open.data.isPartial && !open.data.isCancelled);
  await runs.cancel(h.id);
  const over = await until("the span to be over", async () => {
    const s = await look();
    return !s.data.isPartial && s;
  });
  assert.deepEqual([over.id, over.data.isCancelled], [open.id, true]);
});
