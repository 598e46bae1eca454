// What runs tell while they execute: traces, logs and streams; and what they are told.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, client, ended, hooks, reach, sdk, startDev, startServer, until, use } from "../lib/trigger.mjs";

const { auth, runs, streams, tasks } = sdk;
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

test("a run has what its process measured, and what its task did", async () => {
  const h = await tasks.trigger("measured", { orders: [3, 5, 4] });
  await ended(h);
  const all = await until("measurements", async () => {
    const { measures } = await server.run(h.id.slice("run_".length).toUpperCase());
    return measures?.some((m) => m.name === "orders") && measures;
  });
  const of = (name) => all.find((m) => m.name === name);
  assert.ok(of("process.memory.usage").max > 10 << 20, JSON.stringify(all));
  assert.ok(of("nodejs.heap.used").last > 1 << 20);
  assert.deepEqual([of("orders").last, of("orders").of], [12, "web"]);
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

const all = async (iterable) => {
  const list = [];
  for await (const v of iterable) list.push(v);
  return list;
};
const counts = (n) => Array.from({ length: n }, (_, i) => ({ n: i }));

test("a task's streams are followed from the outside, while it executes and afterwards", async () => {
  const h = await tasks.trigger("streamer", { n: 40, ms: 20 });
  const live = streams.read(h.id, "counts", { timeoutInSeconds: 120 }).then(all);
  const withStreams = { run: [] };
  for await (const part of runs.subscribeToRun(h.id).withStreams()) {
    (withStreams[part.type] ??= []).push(part.type === "run" ? part.run.status : part.chunk);
    if (withStreams.run.at(-1) === "COMPLETED" && withStreams.counts?.length === 40 && withStreams.alias?.length === 2 && withStreams.notes && withStreams.progress) break;
  }
  assert.deepEqual([withStreams.counts, withStreams.alias, withStreams.notes, withStreams.progress], [counts(40), counts(2), ["a note"], ["begun"]]);
  assert.deepEqual(await live, counts(40));
  const r = await ended(h);
  assert.deepEqual(r.output, { seen: counts(2) });
  assert.deepEqual(await all(await streams.read(h.id, "counts", { startIndex: 38 })), counts(40).slice(38));
  assert.deepEqual(await all(await streams.read(h.id, "no such stream")), []);
  await assert.rejects(async () => all(await streams.read("run_01m8an7cw7fg59yyf7v3hdzb00", "counts")), /404|not found/i);
});

test("a task streams to its parent, and the writer's connection may break", async () => {
  const h = await tasks.trigger("stream-parent", { n: 100, ms: 40 });
  const live = streams.read(h.id, "counts", { timeoutInSeconds: 120 }).then(all);
  await until("the stream to be there", async () => JSON.stringify(await runs.retrieve(h.id)).length && (await ask(server, "GET", `/realtime/v1/runs/${h.id}?offset=-1`)).body[0].value.realtimeStreams.includes("counts"));
  const port = server.port;
  await server.stop("SIGKILL");
  server = Object.assign(server, await startServer({ dir: server.dir, port }));
  assert.deepEqual(await live, counts(100));
  assert.equal((await ended(h)).output, true);
});

test("a task is sent to while it executes and while it waits", async () => {
  const h = await tasks.trigger("asked", {});
  await reach(h, "EXECUTING");
  const input = streams.input({ id: "approval" });
  await input.send(h.id, { by: "eve" });
  await input.send(h.id, { by: "ann" });
  await reach(h, "WAITING");
  const token = await auth.createPublicToken({ scopes: { write: { inputStreams: h.id } } });
  await auth.withAuth({ accessToken: token, baseURL: server.url }, () => input.send(h.id, { by: "bob" }));
  assert.deepEqual((await ended(h)).output, { first: "eve", heard: ["ann"], last: "bob" });
  await assert.rejects(input.send(h.id, { by: "late" }), /completed run/);
});

test("the React hooks follow runs, streams, batches and tokens from a page at another origin", async () => {
  const read = (scopes) => auth.createPublicToken({ scopes: { read: scopes } });
  const [run, tagged, batch, streamer, waiting, sentTo, token] = await Promise.all([
    tasks.trigger("hello", { name: "hook" }), tasks.trigger("hello", {}, { tags: ["hooks"] }), tasks.batchTrigger("hello", [{ payload: { name: "p" } }, { payload: { name: "q" } }]),
    tasks.trigger("streamer", { n: 20, ms: 50 }), sdk.wait.createToken({ timeout: "1h" }), tasks.trigger("asked", {}), read({ tags: ["hooks"] }),
  ]);
  const approved = await tasks.trigger("approval", { token: waiting.id });
  const of = (h) => ({ run: h.id, accessToken: h.publicAccessToken });
  const { seen, missing } = await hooks(server, {
    useRun: of(run), useRealtimeRun: of(run), useRealtimeRunsWithTag: { tag: "hooks", accessToken: token }, useRealtimeBatch: { batch: batch.batchId, accessToken: batch.publicAccessToken },
    useRealtimeRunWithStreams: { ...of(streamer), stream: "counts", count: 20 }, useRealtimeStream: { ...of(streamer), stream: "counts", count: 20 },
    useTaskTrigger: { task: "big", accessToken: await auth.createTriggerPublicToken("big") }, useRealtimeTaskTrigger: { task: "hello", accessToken: await auth.createTriggerPublicToken("hello") },
    useWaitToken: { token: waiting.id, accessToken: waiting.publicAccessToken },
    useInputStreamSend: { run: sentTo.id, stream: "approval", accessToken: await auth.createPublicToken({ scopes: { write: { inputStreams: sentTo.id } } }) },
  });
  assert.deepEqual(missing, [], JSON.stringify(seen));
  const { useTaskTrigger: triggered, useRealtimeRun: [status, output], ...rest } = seen;
  assert.deepEqual([status, output.hi], ["COMPLETED", "hook"]);
  assert.deepEqual(rest, {
    useRun: "COMPLETED", useRealtimeRunsWithTag: ["COMPLETED"], useRealtimeBatch: ["p", "q"], useRealtimeRunWithStreams: ["COMPLETED", 20], useRealtimeStream: counts(20),
    useRealtimeTaskTrigger: ["COMPLETED", "page"], useWaitToken: true, useInputStreamSend: true,
  });
  assert.deepEqual((await runs.retrieve(triggered)).tags, ["from-a-page"]);
  assert.deepEqual((await ended(approved)).output, { by: "page" });
  await runs.cancel(sentTo.id);
});

test("triggers with a debounce key share a run, of which the last one's data count if they say so", async () => {
  const list = [];
  for (const name of ["first", "second", "last"]) list.push(await tasks.trigger("hello", { name }, { debounce: { key: "shared", delay: "2s", mode: "trailing" }, tags: [name] }));
  assert.equal(new Set(list.map((h) => h.id)).size, 1);
  const r = await ended(list[0]);
  assert.deepEqual([r.output.hi, r.output.tags, r.payload], ["last", ["last"], { name: "last" }]);
  await assert.rejects(tasks.trigger("hello", {}, { debounce: { key: "shared", delay: "0s" } }), /at least 1s/);
});

test("runs are cancelled and replayed in numbers", async () => {
  const list = await Promise.all(["p", "q"].map((name) => tasks.trigger("hello", { name }, { tags: ["bulk"], delay: "1h" })));
  const cancelled = await runs.bulk.cancel({ filter: { tag: "bulk", status: "DELAYED" }, name: "too late" });
  const done = await runs.bulk.poll(cancelled.id, { pollIntervalMs: 50 });
  assert.deepEqual([done.type, done.status, done.name, done.counts], ["CANCEL", "COMPLETED", "too late", { total: 2, success: 2, failure: 0 }]);
  assert.equal((await runs.retrieve(list[0].id)).status, "CANCELED");
  const again = await runs.bulk.poll((await runs.bulk.replay({ runIds: list.map((h) => h.id) })).id, { pollIntervalMs: 50 });
  assert.deepEqual(again.counts, { total: 2, success: 2, failure: 0 });
  const replayed = await until("the replayed runs to be done", async () => {
    const { data } = await runs.list({ tag: "bulk", status: "COMPLETED" });
    return data.length === 2 && data;
  });
  assert.deepEqual((await Promise.all(replayed.map(async (r) => (await runs.retrieve(r.id)).output.hi))).sort(), ["p", "q"]);
  assert.deepEqual((await all(await runs.bulk.list({ limit: 1 }))).map((a) => a.type), ["REPLAY", "CANCEL"]);
  assert.equal((await runs.bulk.abort(again.id)).id, again.id);
});

test("the limit of a queue is set by hand and reset", async () => {
  await ended(await tasks.trigger("queued", { ms: 1 }));
  const one = { type: "custom", name: "one" };
  const over = await sdk.queues.overrideConcurrencyLimit(one, 3);
  assert.deepEqual([over.concurrencyLimit, over.concurrency.base, over.concurrency.override, over.concurrency.overriddenAt instanceof Date], [3, 1, 3, true]);
  const list = await Promise.all([1, 2].map(() => tasks.trigger("queued", { ms: 4000 })));
  const [a, b] = (await Promise.all(list.map(ended))).map((r) => r.output).sort((x, y) => x.from - y.from);
  assert.ok(b.from < a.to, "both at the same time");
  assert.equal((await sdk.queues.resetConcurrencyLimit(one)).concurrencyLimit, 1);
  await assert.rejects(sdk.queues.resetConcurrencyLimit(one), /not overridden/);
});
