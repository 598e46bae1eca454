// The SDK of version 3 as a client: it triggers tasks that a newer CLI executes.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { key, startDev, startServer } from "../lib/trigger.mjs";

const installed = createRequire(new URL("../trigger-app/package.json", import.meta.url));
const { auth, batch, configure, runs, schedules, tasks } = await import(pathToFileURL(installed.resolve("trigger-sdk-3/v3")));

const run = promisify(execFile);
let server, dev;
before(async () => {
  server = await startServer();
  configure({ baseURL: server.url, secretKey: key });
  dev = await startDev(server);
}, { timeout: 170_000 });
after(async () => {
  await dev?.close();
  await server?.close();
});

const ended = (handle) => runs.poll(handle, { pollIntervalMs: 100 });

test("a run gives its output", async () => {
  const h = await tasks.trigger("hello", { name: "ann", when: new Date(0) }, { tags: ["old"], metadata: { a: 1 } });
  const r = await ended(h);
  assert.deepEqual([r.status, r.output.hi, r.output.date, r.tags, r.metadata, r.attempts], ["COMPLETED", "ann", true, ["old"], { a: 1 }, []]);
  assert.equal((await tasks.triggerAndPoll("hello", { name: "bob" }, {}, { pollIntervalMs: 100 })).output.hi, "bob");
});

test("a key starts one run; it is delayed, rescheduled, cancelled and replayed", async () => {
  const options = { delay: "1h", ttl: "2h", idempotencyKey: "once" };
  const h = await tasks.trigger("hello", { name: "later" }, options);
  assert.equal((await tasks.trigger("hello", { name: "other" }, options)).id, h.id);
  assert.equal((await runs.retrieve(h.id)).status, "DELAYED");
  const later = await runs.reschedule(h.id, { delay: "3h" });
  assert.ok(later.delayedUntil > new Date(Date.now() + 2.5 * 3600_000));
  await runs.cancel(h.id);
  assert.equal((await runs.retrieve(h.id)).status, "CANCELED");
  assert.notEqual((await runs.replay(h.id)).id, h.id);
});

test("batches start many runs", async () => {
  const b = await tasks.batchTrigger("hello", [{ payload: { name: "a" } }, { payload: { name: "b" } }]);
  assert.equal(b.runs.length, 2);
  assert.equal((await ended(b.runs[1])).output.hi, "b");
  const other = await batch.trigger([{ id: "hello", payload: { name: "c" } }]);
  assert.equal((await ended(other.runs[0])).output.hi, "c");
});

test("what waits for its version has a status that this client knows", async () => {
  const h = await tasks.trigger("nobody-has-it", {});
  assert.equal((await runs.retrieve(h.id)).status, "WAITING_FOR_DEPLOY");
  const listed = [];
  for await (const r of runs.list({ taskIdentifier: "nobody-has-it" })) listed.push([r.id, r.status]);
  assert.deepEqual(listed, [[h.id, "WAITING_FOR_DEPLOY"]]);
});

test("a run is followed, with a public token too", async () => {
  const h = await tasks.trigger("hello", { name: "watched" });
  const token = await auth.createPublicToken({ scopes: { read: { runs: [h.id] } } });
  // In a program of its own, since this client goes on asking for half a minute after the run has ended.
  const { stdout } = await run(process.execPath, [fileURLToPath(new URL("../lib/trigger-follow.mjs", import.meta.url)), server.url, token, h.id], { timeout: 60_000 });
  assert.deepEqual(JSON.parse(stdout), ["COMPLETED", "watched"]);
});

test("schedules are made, listed and deleted", async () => {
  const s = await schedules.create({ task: "cron", cron: "0 3 * * *", deduplicationKey: "v3" });
  assert.equal((await schedules.retrieve(s.id)).generator.expression, "0 3 * * *");
  assert.equal((await schedules.del(s.id)).id, s.id);
});
