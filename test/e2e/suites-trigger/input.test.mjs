// What the API answers to what no SDK sends, and what can be done without a worker.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, reach, sdk, startServer, use } from "../lib/trigger.mjs";

let server;
before(async () => {
  server = await startServer();
  use(server);
});
after(() => server?.close());

const task = (id, extra = {}) => ({ id, filePath: `src/${id}.ts`, ...extra });
const register = (tasks, hash = String(Math.random()), extra = {}) =>
  ask(server, "POST", "/api/v1/projects/proj_x/background-workers", { localOnly: true, engine: "V2", metadata: { packageVersion: "4.8.3", contentHash: hash, tasks, sourceFiles: [] }, ...extra });
const trigger = (id, options = {}, payload = "{}") => ask(server, "POST", `/api/v1/tasks/${encodeURIComponent(id)}/trigger`, { payload, options: { payloadType: "application/json", ...options } });

test("who has no key is not let in", async () => {
  const none = await fetch(`${server.url}/api/v3/runs/run_1`);
  assert.equal(none.status, 401);
  assert.equal((await none.json()).detail, "No authorization header provided");
  const wrong = await ask(server, "GET", "/api/v3/runs/run_1", undefined, { authorization: "Bearer sk_live_1" });
  assert.deepEqual([wrong.status, wrong.body.error], [401, "Invalid or Missing API key"]);
  assert.equal((await ask(server, "GET", "/api/v3/runs/run_1", undefined, { authorization: "Bearer a.b.c" })).status, 401);
});

test("triggers that are wrong start nothing", async () => {
  const cases = [
    [{ tags: Array(11).fill(0).map((_, i) => `t${i}`) }, 422, /only have 10 tags/],
    [{ tags: ["x".repeat(129)] }, 400, /128 characters/],
    [{ idempotencyKey: "k".repeat(2049) }, 400, /2048 characters/],
    [{ delay: "soon" }, 422, /Invalid delay/],
    [{ ttl: "never" }, 422, /Invalid ttl/],
    [{ lockToVersion: "1.2.3" }, 422, /no worker found with that version/],
    [{ metadata: '{"a":"' + "x".repeat(262_144) + '"}', metadataType: "application/json" }, 413, /262144/],
    [{ parentRunId: "run_nonsense" }, 404, /Run not found/],
  ];
  for (const [options, status, text] of cases) {
    const r = await trigger("wrong", options);
    assert.equal(r.status, status, JSON.stringify([options, r.body]).slice(0, 300));
    assert.match(r.body.error, text);
  }
  assert.equal((await ask(server, "POST", "/api/v1/tasks/wrong/trigger", "{nonsense")).body.error, "Invalid JSON");
  assert.equal((await ask(server, "POST", "/api/v1/tasks/wrong/trigger", { payload: "", options: { payloadType: "application/store" } })).status, 400);
  assert.equal((await ask(server, "POST", "/api/v1/tasks/wrong/trigger", { payload: "x".repeat(3 << 20) })).status, 413);
  const { data } = (await ask(server, "GET", "/api/v1/runs?filter[taskIdentifier]=wrong")).body;
  assert.deepEqual(data, []);
});

test("a lost answer is given again", async () => {
  const headers = { "x-trigger-request-idempotency-key": "5826c932-b88e-4727-bb43-6b099c10fefd" };
  const once = () => ask(server, "POST", "/api/v1/tasks/same/trigger", { payload: "1" }, headers);
  const [a, b] = await Promise.all([once(), once()]);
  assert.equal(a.body.id, b.body.id);
  const { sub, pub } = JSON.parse(a.headers.get("x-trigger-jwt-claims"));
  assert.match(sub, /^env_[0-9a-f]+$/);
  assert.equal(pub, true);
});

test("a task id may have slashes, and a payload may be plain JSON", async () => {
  const h = await ask(server, "POST", "/api/v1/tasks/team%2Fmail/trigger", { payload: { a: [1, "<&>"] } });
  const r = await ask(server, "GET", `/api/v3/runs/${h.body.id}`);
  assert.deepEqual([r.body.taskIdentifier, r.body.payload], ["team/mail", { a: [1, "<&>"] }]);
});

test("unknown tasks wait for their version", async () => {
  const h = await trigger("comes-later");
  const before = await ask(server, "GET", `/api/v3/runs/${h.body.id}`, undefined, { "x-trigger-api-version": "2025-07-16" });
  assert.equal(before.body.status, "PENDING_VERSION");
  await register([task("comes-later")]);
  await reach({ id: h.body.id }, "QUEUED");
});

test("workers that are wrong are refused, equal ones are the same", async () => {
  assert.match((await register([task("a"), task("a")])).body.error, /used twice/);
  assert.equal((await register([task("a", { schedule: { cron: "nonsense", timezone: "UTC" } })])).status, 400);
  assert.match((await register([task("a")], "h", { engine: "V1" })).body.error, /upgrade/);
  const [one, two] = [await register([task("a")], "h1"), await register([task("a")], "h1")];
  assert.equal(one.body.id, two.body.id);
  assert.notEqual((await register([task("a")], "h2")).body.version, one.body.version);
});

test("only who holds a run can do anything with it", async () => {
  const w = (await register([task("held", { retry: { maxAttempts: 2 } })])).body;
  const { id } = (await trigger("held", { idempotencyKey: "held" })).body;
  assert.deepEqual((await ask(server, "POST", "/engine/v1/dev/dequeue", { currentWorker: "worker_other", oldWorkers: [] })).body.dequeuedMessages, []);
  const take = async () => (await ask(server, "POST", "/engine/v1/dev/dequeue", { currentWorker: w.id, oldWorkers: [] })).body.dequeuedMessages.find((m) => m.run.friendlyId === id);
  const m = await take();
  assert.equal(m.run.attemptNumber, 1);
  assert.equal(await take(), undefined);
  const at = (snapshot, verb, body = {}) => ask(server, "POST", `/engine/v1/dev/runs/${id}/snapshots/${snapshot}/${verb}`, JSON.stringify(body), { "content-type": "text/plain;charset=UTF-8" });
  const failed = { ok: false, id, error: { type: "BUILT_IN_ERROR", name: "Error", message: "boom", stackTrace: "" }, retry: { timestamp: Date.now(), delay: 10 } };
  assert.equal((await at(m.snapshot.friendlyId, "attempts/complete", { completion: failed })).status, 400); // it has not begun
  const started = (await at(m.snapshot.friendlyId, "attempts/start")).body;
  assert.deepEqual([started.snapshot.executionStatus, started.run.attemptNumber, started.execution.run.maxAttempts], ["EXECUTING", 1, 2]);
  assert.ok(started.snapshot.friendlyId > m.snapshot.friendlyId);
  assert.equal((await at(m.snapshot.friendlyId, "attempts/start")).status, 409);
  const again = (await at(started.snapshot.friendlyId, "attempts/complete", { completion: failed })).body.result;
  assert.deepEqual([again.attemptStatus, again.run.status, again.run.attemptNumber], ["RETRY_IMMEDIATELY", "RETRYING_AFTER_FAILURE", 1]);
  assert.equal((await at(started.snapshot.friendlyId, "attempts/complete", { completion: failed })).status, 400); // an old snapshot
  const second = (await at(again.snapshot.friendlyId, "attempts/start")).body;
  assert.equal(second.run.attemptNumber, 2);
  const over = (await at(second.snapshot.friendlyId, "attempts/complete", { completion: failed })).body.result;
  assert.deepEqual([over.attemptStatus, over.run.status, over.snapshot.executionStatus], ["RUN_FINISHED", "COMPLETED_WITH_ERRORS", "FINISHED"]);
  assert.deepEqual((await at(second.snapshot.friendlyId, "attempts/complete", { completion: failed })).body, { error: "Run is already finished" });
  assert.equal((await ask(server, "GET", `/api/v1/runs/${id}/result`)).body.error.message, "boom");
});

test("batches that are wrong", async () => {
  const create = (body) => ask(server, "POST", "/api/v3/batches", body);
  assert.equal((await create({ runCount: 0 })).status, 400);
  assert.match((await create({ runCount: 1001 })).body.error, /exceeds maximum allowed of 1000/);
  assert.equal((await ask(server, "POST", "/api/v3/batches/batch_none/items", "{}")).status, 404);
  const { id } = (await create({ runCount: 2 })).body;
  const send = (text) => ask(server, "POST", `/api/v3/batches/${id}/items`, text, { "content-type": "application/x-ndjson" });
  assert.equal((await send('{"index":0}\n')).status, 400);
  assert.deepEqual((await send('{"index":0,"task":"b","payload":"{}"}\n')).body, { id, itemsAccepted: 1, itemsDeduplicated: 0, sealed: false, enqueuedCount: 1, expectedCount: 2, runCount: 2 });
  const both = '{"index":0,"task":"b","payload":"{}"}\n{"index":1,"task":"b","options":{"delay":"nonsense"}}';
  assert.equal((await send(both)).body.sealed, true);
  assert.equal((await send(both)).body.itemsDeduplicated, 2);
  const got = (await ask(server, "GET", `/api/v2/batches/${id}`)).body;
  assert.deepEqual([got.runs.length, got.processing.errors.length, got.processing.errors[0].index], [1, 1, 1]);
  const old = await ask(server, "POST", "/api/v1/tasks/batch", { items: [{ task: "b", payload: {} }, { task: "b", payload: {} }] });
  assert.deepEqual([old.status, old.body.runs.length], [202, 2]);
});

test("metadata operations, on names and on paths", async () => {
  const { id } = (await trigger("m")).body;
  const put = (operations) => ask(server, "PUT", `/api/v1/runs/${id}/metadata`, { operations });
  const r = await put([
    { type: "set", key: "$.a.b[1]", value: 1 }, { type: "append", key: "log", value: "x" }, { type: "append", key: "log", value: "y" }, { type: "remove", key: "log", value: "x" },
    { type: "increment", key: "n", value: 2 }, { type: "increment", key: "n", value: -1 }, { type: "set", key: "a.b", value: true }, { type: "delete", key: "none" },
  ]);
  assert.deepEqual(r.body.metadata, { a: { b: [null, 1] }, log: ["y"], n: 1, "a.b": true });
  for (const key of ["__proto__", "$.constructor.x", "$."]) assert.equal((await put([{ type: "set", key, value: 1 }])).status, 400);
});

test("what is not there, and what is not built", async () => {
  assert.deepEqual((await ask(server, "GET", "/api/v3/runs/run_nonsense")).body, { error: "Run not found" });
  assert.equal((await ask(server, "GET", "/api/v1/waitpoints/tokens/waitpoint_x")).status, 404);
  assert.equal((await ask(server, "GET", "/api/v1/query")).status, 404);
  assert.equal((await ask(server, "DELETE", "/api/v1/runs")).status, 405);
  assert.equal((await ask(server, "PUT", "/packets/x?expires=99999999999&sig=00", "x")).status, 403);
  await assert.rejects(sdk.runs.retrieve("run_nonsense"), (e) => e.status === 404);
});
