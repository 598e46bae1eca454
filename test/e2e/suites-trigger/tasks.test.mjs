// Tasks as their authors write them, executed by the published CLI.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, client, ended, reach, sdk, startDev, startServer, until, use } from "../lib/trigger.mjs";

const { auth, batch, concurrencyLimits, idempotencyKeys, queues, runs, schedules, tasks, wait } = sdk;
const project = "proj_quartettests";
let server, dev;
before(async () => {
  server = await startServer();
  use(server);
  dev = await startDev(server);
}, { timeout: 170_000 });
after(async () => {
  await dev?.close();
  await server?.close();
});

/** The id under which the server's own pages know a run. */
const engineID = (handle) => handle.id.slice("run_".length).toUpperCase();

test("a run gives its output, with its payload, tags and metadata", async () => {
  const h = await tasks.trigger("hello", { name: "ann", when: new Date(0) }, { tags: ["b", "a"], metadata: { a: 1 } });
  const r = await ended(h);
  assert.equal(r.status, "COMPLETED");
  assert.deepEqual(r.output, { hi: "ann", date: true, attempt: 1, run: h.id, tags: ["b", "a"] });
  assert.deepEqual([r.tags, r.metadata, r.attemptCount, r.taskIdentifier], [["a", "b"], { a: 1 }, 1, "hello"]);
  assert.equal(r.payload.name, "ann");
  assert.match(r.version, /^\d{8}\.1$/);
  assert.ok(r.isSuccess && r.isCompleted && !r.isFailed);
});

test("text and nothing are payloads too", async () => {
  for (const payload of ["just text", undefined, 7]) {
    const r = await ended(await tasks.trigger("hello", payload));
    assert.equal(r.status, "COMPLETED");
    assert.deepEqual(r.payload, payload);
  }
});

test("a run is on the run page like any other", async () => {
  const h = await tasks.trigger("parent", { name: "page" });
  await ended(h);
  const page = await server.run(engineID(h));
  assert.equal(page.run?.status ?? page.status, "completed");
  assert.match(JSON.stringify(page), /"page"/);
  assert.match(JSON.stringify(page), /triggerAndWait: hello/);
});

test("a failed attempt is repeated, and the last failure is final", async () => {
  const [good, bad] = await Promise.all([tasks.trigger("flaky", { fails: 2 }), tasks.trigger("flaky", { fails: 9 })]);
  const r = await ended(good);
  assert.deepEqual([r.status, r.output, r.attemptCount], ["COMPLETED", 3, 3]);
  const f = await ended(bad);
  assert.deepEqual([f.status, f.error.message, f.error.name, f.attemptCount], ["FAILED", "boom 3", "Error", 3]);
  assert.match(f.error.stackTrace, /tasks\.ts/);
  assert.equal((await ended(await tasks.trigger("flaky", { fails: 9 }, { maxAttempts: 1 }))).attemptCount, 1);
});

test("a task waits for others, for one and for many, also when they fail", async () => {
  const h = await tasks.trigger("parent", { name: "kid" });
  const r = await ended(h);
  assert.deepEqual(r.output, { one: "kid", bad: "boom 1", many: ["a", "b", "c"] });
  const { relatedRuns } = await runs.retrieve(h.id);
  assert.equal(relatedRuns.children.length, 5);
  const child = await runs.retrieve(relatedRuns.children[0].id);
  assert.deepEqual([child.relatedRuns.parent.id, child.relatedRuns.root.id, child.depth], [h.id, h.id, 1]);
});

test("a task waits for a time", async () => {
  const h = await tasks.trigger("sleeper", { seconds: 6 });
  await reach(h, "WAITING");
  assert.ok((await ended(h)).output >= 5900);
});

test("a task waits for a token", async () => {
  const token = await wait.createToken({ timeout: "1h", tags: ["t"] });
  const h = await tasks.trigger("approval", { token: token.id });
  await reach(h, "WAITING");
  assert.equal((await wait.retrieveToken(token.id)).status, "WAITING");
  await wait.completeToken(token.id, { by: "eve" });
  await wait.completeToken(token.id, { by: "mallory" });
  assert.deepEqual((await ended(h)).output, { by: "eve" });
  assert.equal((await wait.retrieveToken(token.id)).status, "COMPLETED");
  // One that is completed already does not hold anybody up, however it was completed.
  const other = await wait.createToken();
  const told = await fetch(other.url, { method: "POST", body: JSON.stringify({ by: "url" }) });
  assert.equal(told.status, 200);
  assert.equal((await fetch(other.url.slice(0, -1) + "x", { method: "POST", body: "{}" })).status, 401);
  assert.deepEqual((await ended(await tasks.trigger("approval", { token: other.id }))).output, { by: "url" });
});

test("a token times out", async () => {
  const token = await wait.createToken({ timeout: "2s" });
  const r = await ended(await tasks.trigger("approval", { token: token.id }));
  assert.match(r.output.error, /Waitpoint timed out/);
  assert.equal((await wait.retrieveToken(token.id)).status, "TIMED_OUT");
});

test("metadata and tags change from inside", async () => {
  const r = await ended(await tasks.trigger("meta", {}));
  assert.deepEqual(r.metadata, { step: 2, log: ["a"], n: 2 });
  assert.deepEqual(r.tags, ["added"]);
});

test("a run is cancelled, executing or not", async () => {
  const h = await tasks.trigger("slow", { ms: 60_000 });
  await reach(h, "EXECUTING");
  await runs.cancel(h.id);
  const r = await runs.retrieve(h.id);
  assert.deepEqual([r.status, r.isCancelled, r.isCompleted], ["CANCELED", true, true]);
  const waiting = await tasks.trigger("slow", { ms: 1 }, { delay: "1h" });
  await runs.cancel(waiting.id);
  assert.equal((await runs.retrieve(waiting.id)).status, "CANCELED");
  await runs.cancel(waiting.id);
});

test("a run is delayed, rescheduled, or expires", async () => {
  const h = await tasks.trigger("hello", {}, { delay: "1h" });
  assert.equal((await runs.retrieve(h.id)).status, "DELAYED");
  const moved = await runs.reschedule(h.id, { delay: "1s" });
  assert.ok(new Date(moved.delayedUntil) - Date.now() < 5000);
  assert.equal((await ended(h)).status, "COMPLETED");
  await assert.rejects(runs.reschedule(h.id, { delay: "1s" }), /not delayed/);
  const late = await tasks.trigger("nobody-has-this-task", {}, { ttl: 1 });
  const r = await ended(late);
  assert.deepEqual([r.status, r.isCompleted], ["EXPIRED", true]);
  assert.match(r.error.message, /TTL/);
});

test("a key starts one run, until it is reset or the run failed", async () => {
  const k = await idempotencyKeys.create("order-1", { scope: "global" });
  const both = await Promise.all([tasks.trigger("hello", {}, { idempotencyKey: k }), tasks.trigger("hello", {}, { idempotencyKey: k })]);
  assert.equal(both[0].id, both[1].id);
  assert.deepEqual(both.map((h) => h.isCached).sort(), [false, true]);
  assert.equal((await runs.retrieve(both[0].id)).idempotencyKey, "order-1");
  assert.notEqual((await tasks.trigger("slow", { ms: 1 }, { idempotencyKey: k })).id, both[0].id);
  await idempotencyKeys.reset("hello", k);
  assert.notEqual((await tasks.trigger("hello", {}, { idempotencyKey: k })).id, both[0].id);
  const fails = { idempotencyKey: await idempotencyKeys.create("fails", { scope: "global" }), maxAttempts: 1 };
  const first = await tasks.trigger("flaky", { fails: 9 }, fails);
  await ended(first);
  assert.notEqual((await tasks.trigger("flaky", { fails: 9 }, fails)).id, first.id);
});

test("a queue lets one run go at a time, and can be paused", async () => {
  const list = await Promise.all([1, 2].map(() => tasks.trigger("queued", { ms: 300 })));
  const [a, b] = (await Promise.all(list.map(ended))).map((r) => r.output).sort((x, y) => x.from - y.from);
  assert.ok(a.to <= b.from);
  const q = await queues.retrieve({ type: "custom", name: "one" });
  assert.equal(q.concurrencyLimit, 1);
  await queues.pause({ type: "custom", name: "one" });
  const h = await tasks.trigger("queued", { ms: 1 });
  assert.equal((await queues.retrieve(q.id)).paused, true);
  assert.equal((await runs.retrieve(h.id)).status, "QUEUED");
  await queues.resume(q.id);
  assert.equal((await ended(h)).status, "COMPLETED");
});

test("every concurrency key has the limit of its queue for itself", async () => {
  const list = await Promise.all(["a", "b", "a"].map((concurrencyKey) => tasks.trigger("queued", { ms: 2500 }, { concurrencyKey })));
  const [a, b, again] = (await Promise.all(list.map(ended))).map((r) => r.output);
  assert.ok(a.from < b.to && b.from < a.to, "two keys at the same time");
  assert.ok(a.to <= again.from || again.to <= a.from, "one key after the other");
});

test("a concurrency limit holds for all keys together and for each, can be overridden, also for one key, and paused", async (t) => {
  const started = [];
  t.after(() => Promise.all(started.map((h) => runs.cancel(h.id))));
  const start = async (concurrencyKey, options) => {
    const h = await tasks.trigger("limited", { ms: 200_000 }, { concurrencyKey, ...options });
    started.push(h);
    return h;
  };
  const held = (h, text) =>
    until(`a run to be held back: ${text}`, async () => {
      const { waiting: why } = await server.run(engineID(h));
      return why?.state === "blocked" && why.reasons[0].text === text;
    });
  const [a, again, b, c] = [await start("a"), await start("a"), await start("b"), await start("c")];
  await Promise.all([reach(a, "EXECUTING"), reach(b, "EXECUTING")]);
  await held(again, 'the concurrency key "a" of the concurrency limit model is at its limit of 1');
  await held(c, "the concurrency limit model is at its limit of 2");

  const item = await concurrencyLimits.retrieve("model");
  assert.deepEqual([item.total.current, item.total.base, item.perKey.current, item.total.override, item.paused, item.running, item.queued], [2, 2, 1, null, false, 2, 2]);
  assert.match(item.id, /^climit_/);
  assert.equal((await concurrencyLimits.retrieve("task/limited")).total.current, 5);
  const names = [];
  for await (const l of await concurrencyLimits.list({ perPage: 1 })) names.push(l.name);
  assert.deepEqual(names, ["model", "task/limited"]);

  const raised = await concurrencyLimits.override("model", { total: 3 });
  assert.deepEqual([raised.total.current, raised.total.base, raised.total.override, raised.perKey.override], [3, 2, 3, null]);
  await reach(c, "EXECUTING");
  const key = await concurrencyLimits.override("model", { concurrencyKey: "a", perKey: 2, ttl: "1h" });
  assert.deepEqual([key.concurrencyKey, key.perKey.current, key.perKey.base, key.running], ["a", 2, 1, 1]);
  assert.ok(key.perKey.expiresAt > new Date());
  await held(again, "the concurrency limit model is at its limit of 3");
  await reach(await start("a", { concurrency: [] }), "EXECUTING"); // it holds none
  await concurrencyLimits.override("model", { total: 4 });
  await reach(again, "EXECUTING");
  await held(await start("d"), "the concurrency limit of the task limited is at its limit of 5");
  assert.equal((await concurrencyLimits.reset("model", { concurrencyKey: "a" })).perKey.override, null);
  assert.equal((await concurrencyLimits.reset("model")).total.current, 2);
  await Promise.all(started.map((h) => runs.cancel(h.id)));

  assert.equal((await concurrencyLimits.pause("model")).paused, true);
  const h = await tasks.trigger("limited", { ms: 1 });
  await held(h, "the concurrency limit model is paused");
  assert.equal((await concurrencyLimits.resume("model")).paused, false);
  assert.equal((await ended(h)).status, "COMPLETED");
  await assert.rejects(concurrencyLimits.retrieve("nobody"), { status: 404 });
  await assert.rejects(tasks.trigger("hello", {}, { concurrency: "nobody" }), { status: 422 });
  const line = await queues.retrieve({ type: "task", name: "limited" });
  assert.deepEqual([line.version, line.concurrencyLimit, line.concurrency], ["V2", null, undefined]);
});

test("a run that waits leaves its slot to others, and needs one again to go on; a short wait keeps it", async () => {
  const token = await wait.createToken({ timeout: "10m" });
  const waiter = await tasks.trigger("queued-waiter", { token: token.id });
  await reach(waiter, "WAITING");
  const other = await tasks.trigger("queued", { ms: 2500 });
  await reach(other, "EXECUTING");
  await wait.completeToken(token, {});
  const third = await tasks.trigger("queued", { ms: 1 }, { priority: 3600 });
  const why = await until("the waiter to be held back", async () => {
    const { waiting: why } = await server.run(engineID(waiter));
    return why?.state === "blocked" && why;
  });
  assert.equal(why.reasons[0].text, "the queue one is at its limit of 1");
  const [w, o, t] = (await Promise.all([waiter, other, third].map(ended))).map((r) => r.output);
  assert.ok(o.to <= w.to && w.to <= t.from, JSON.stringify({ o, w, t }));

  const brief = await tasks.trigger("queued-waiter", { seconds: 6 });
  await reach(brief, "WAITING");
  const [b, n] = (await Promise.all([brief, await tasks.trigger("queued", { ms: 1 })].map(ended))).map((r) => r.output);
  assert.ok(b.to <= n.from, JSON.stringify({ b, n }));
});

test("a queue with a limit of 0 stands still, and so does an environment that is paused or full", async () => {
  const one = { type: "custom", name: "one" };
  const limit = (body) => ask(server, "POST", "/api/dashboard/trigger/inside/limit", body);
  const held = async (text) => {
    const h = await tasks.trigger("queued", { ms: 1 });
    const why = await until("the run to be held back", async () => {
      const { waiting: why } = await server.run(engineID(h));
      return why?.state === "blocked" && why;
    });
    assert.equal(why.reasons[0].text, text);
    return h;
  };
  await queues.overrideConcurrencyLimit(one, 0);
  const a = await held("the queue one is at its limit of 0");
  assert.equal((await queues.retrieve(one)).paused, false);
  await queues.resetConcurrencyLimit(one);
  assert.equal((await ended(a)).status, "COMPLETED");

  assert.equal((await limit({ paused: true })).body.paused, true);
  const b = await held("the environment is paused");
  await limit({ paused: false });
  assert.equal((await ended(b)).status, "COMPLETED");

  assert.deepEqual((await limit({ limit: 1 })).body, { limit: 1, byHand: true, default: 25, running: 0, queued: 0, paused: false });
  const long = await tasks.trigger("slow", { ms: 2500 });
  await reach(long, "EXECUTING");
  const c = await held("the environment is at its limit of 1");
  assert.equal((await ended(c)).status, "COMPLETED");
  assert.equal((await runs.retrieve(long.id)).status, "COMPLETED");
  assert.equal((await ended(await tasks.trigger("told", { trigger: true }))).status, "COMPLETED", "a parent that waits does not keep its child out");
  assert.equal((await limit({ reset: true })).body.limit, 25);
});

test("a batch starts many runs", async () => {
  const b = await tasks.batchTrigger("hello", ["p", "q", "r"].map((name) => ({ payload: { name }, options: { tags: [name] } })));
  const r = await until("the batch to be done", async () => {
    const v = await batch.retrieve(b.batchId);
    return v.status === "COMPLETED" ? v : undefined;
  });
  assert.equal(r.runCount, 3);
  const outputs = await Promise.all(r.runs.map(async (id) => (await runs.retrieve(id)).output.hi));
  assert.deepEqual(outputs, ["p", "q", "r"]);
  const found = await runs.list({ batch: b.batchId });
  assert.equal(found.data.length, 3);
  const results = await client(server).getBatchResults(b.batchId);
  assert.deepEqual(results.items.map((r) => [r.ok, r.id, r.outputType, JSON.parse(r.output).json.hi]), r.runs.map((id, i) => [true, id, "application/super+json", outputs[i]]));
});

test("large payloads and outputs take the way round", async () => {
  const text = "x".repeat(700_000);
  const r = await ended(await tasks.trigger("big", { text }));
  assert.deepEqual([r.status, r.output.text.length, r.payload.text.length], ["COMPLETED", 700_001, 700_000]);

  // A page that may read the run may have its packets, too.
  const packet = async (token, field) => {
    const { status, body } = await ask(server, "GET", `/api/v1/runs/${r.id}/packets/${field}`, undefined, { authorization: `Bearer ${token}` });
    return status === 200 ? (await (await fetch(body.presignedUrl)).text()).length : status;
  };
  const token = await auth.createPublicToken({ scopes: { read: { runs: [r.id] } } });
  assert.ok((await packet(token, "payload")) > 700_000 && (await packet(token, "output")) > 700_001);
  assert.equal(await packet(token, "else"), 404);
  assert.equal(await packet(await auth.createPublicToken({ scopes: { read: { runs: ["run_another"] } } }), "payload"), 403);
});

test("runs are listed, by pages and by filters", async () => {
  for (let i = 0; i < 3; i++) await tasks.trigger("hello", {}, { tags: ["listed"] });
  const page = await runs.list({ limit: 2, tag: "listed" });
  assert.equal(page.data.length, 2);
  const next = await page.getNextPage();
  assert.equal(next.data.length, 1);
  assert.ok(!next.hasNextPage());
  let n = 0;
  for await (const r of runs.list({ limit: 2, taskIdentifier: ["hello"], tag: "listed" })) n += r.taskIdentifier === "hello" ? 1 : 100;
  assert.equal(n, 3);
  await assert.rejects(runs.list({ status: "NONSENSE" }), (e) => e.status === 400);

  // Whoever has an access token sees the runs of a whole project.
  const asPerson = (f) => auth.withAuth({ baseURL: server.url, accessToken: "tr_pat_quartet" }, f);
  const all = await asPerson(() => runs.list(project, { tag: "listed", env: ["dev", "prod"] }));
  assert.deepEqual(all.data.map((r) => [r.taskIdentifier, r.env.name]), Array(3).fill(["hello", "dev"]));
  assert.equal((await asPerson(() => runs.list(project, { tag: "listed", env: "prod" }))).data.length, 0);
  await assert.rejects(asPerson(() => runs.list("proj_nobody", {})), { status: 404 });
});

test("a run is replayed", async () => {
  const h = await tasks.trigger("hello", { name: "again", when: new Date(1) }, { tags: ["r"] });
  await ended(h);
  const again = await runs.replay(h.id);
  assert.notEqual(again.id, h.id);
  const r = await ended(again);
  assert.deepEqual([r.output.hi, r.output.date, r.tags], ["again", true, ["r"]]);
});

test("public tokens may do what they say and nothing else", async () => {
  const [h, other] = [await tasks.trigger("hello", {}), await tasks.trigger("hello", {})];
  const as = (accessToken, f) => auth.withAuth({ baseURL: server.url, accessToken }, f);
  assert.equal((await as(h.publicAccessToken, () => runs.retrieve(h.id))).id, h.id);
  await assert.rejects(as(h.publicAccessToken, () => runs.retrieve(other.id)), (e) => e.status === 403);
  await assert.rejects(as(h.publicAccessToken, () => tasks.trigger("hello", {})), (e) => e.status === 403);
  const made = await auth.createPublicToken({ scopes: { read: { tasks: ["hello"] } } });
  assert.equal((await as(made, () => runs.retrieve(other.id))).id, other.id);
  const once = await auth.createTriggerPublicToken("hello");
  await as(once, () => tasks.trigger("hello", {}));
  await assert.rejects(as(once, () => tasks.trigger("hello", {})), (e) => e.status === 422);
  await assert.rejects(as(made.slice(0, -4) + "AAAA", () => runs.retrieve(h.id)), (e) => e.status === 401);
});

test("schedules are made, changed and removed", async () => {
  const s = await schedules.create({ task: "cron", cron: "0 3 * * *", timezone: "Europe/Berlin", deduplicationKey: "k", externalId: "u1" });
  assert.deepEqual([s.type, s.active, s.timezone], ["IMPERATIVE", true, "Europe/Berlin"]);
  const same = await schedules.create({ task: "cron", cron: "0 4 * * *", deduplicationKey: "k" });
  assert.equal(same.id, s.id);
  assert.equal((await schedules.deactivate(s.id)).active, false);
  assert.equal((await schedules.activate(s.id)).active, true);
  await assert.rejects(schedules.create({ task: "cron", cron: "* * * * * *", deduplicationKey: "x" }), /seconds are not allowed/);
  await assert.rejects(schedules.create({ task: "hello", cron: "* * * * *", deduplicationKey: "x" }), /not a scheduled task/);
  await assert.rejects(schedules.create({ task: "cron", cron: "* * * * *", timezone: "Mars/Base", deduplicationKey: "x" }), /Invalid IANA timezone/);
  const last = await schedules.update(s.id, { task: "cron", cron: "0 18 L * *", timezone: "Asia/Tokyo" });
  const [day, next] = [last.nextRun, new Date(last.nextRun.getTime() + 24 * 3600_000)]; // 18:00 there is 9:00 of the same day in UTC
  assert.deepEqual([day.getUTCHours(), next.getUTCDate()], [9, 1]);
  const friday = await schedules.update(s.id, { task: "cron", cron: "0 12 * * 5L" });
  assert.deepEqual([friday.nextRun.getUTCDay(), friday.generator.description], [5, "At 12:00 on the last Friday of the month"]);
  const spread = await schedules.update(s.id, { task: "cron", cron: "0 12 * * *", window: "2h" });
  const late = spread.nextRunEffectiveAt - spread.nextRun;
  assert.ok(late >= 0 && late < 2 * 3600_000, `${late}`);
  assert.equal((await schedules.retrieve(s.id)).nextRunEffectiveAt.getTime(), spread.nextRunEffectiveAt.getTime());
  for (const window of ["25h", "101%", "1d", "-1m", "soon"]) await assert.rejects(schedules.update(s.id, { task: "cron", cron: "* * * * *", window }), /Invalid window/);
  const { timezones } = await schedules.timezones();
  assert.ok(timezones.includes("UTC") && timezones.includes("Europe/Berlin"));
  assert.ok(!(await schedules.timezones({ excludeUtc: true })).timezones.includes("UTC"));
  const declared = (await schedules.list()).data.find((x) => x.type === "DECLARATIVE");
  assert.equal(declared.task, "every-minute");
  await assert.rejects(schedules.update(declared.id, { task: "cron", cron: "* * * * *" }), /Cannot update a declarative schedule/);
  await schedules.del(s.id);
  await assert.rejects(schedules.retrieve(s.id), (e) => e.status === 404);
});

test("a declared schedule fires, with dates that are dates", async () => {
  const r = await until("a run of the schedule", async () => (await runs.list({ taskIdentifier: ["every-minute"], status: "COMPLETED" })).data[0], 150_000);
  const { output, schedule } = await runs.retrieve(r.id);
  assert.match(output.ts, /:00\.000Z$/);
  assert.equal(output.n, 10);
  assert.deepEqual(schedule.generator, { type: "CRON", expression: "* * * * *", description: "Every minute" });
  assert.equal((await runs.list({ schedule: schedule.id, limit: 1 })).data.length, 1);
});

test("a run can be followed, alone, by its tag and in its batch", async () => {
  const seen = [];
  const h = await tasks.trigger("sleeper", { seconds: 6 }, { tags: ["followed"], metadata: { a: 1 } });
  const byTag = (async () => {
    for await (const r of runs.subscribeToRunsWithTag("followed")) if (r.isCompleted) return r;
  })();
  for await (const r of runs.subscribeToRun(h.id)) seen.push(r);
  const last = seen.at(-1);
  assert.deepEqual([last.id, last.status, last.tags, last.metadata], [h.id, "COMPLETED", ["followed"], { a: 1 }]);
  assert.ok(last.output >= 5900 && last.finishedAt instanceof Date && !isNaN(last.finishedAt));
  assert.ok(seen.some((r) => r.status === "WAITING"), seen.map((r) => r.status).join());
  assert.equal((await byTag).id, h.id);
  const b = await tasks.batchTrigger("hello", [{ payload: { name: "p" } }, { payload: { name: "q" } }]);
  const done = new Set();
  for await (const r of runs.subscribeToBatch(b.batchId)) {
    if (r.isCompleted) done.add(r.output.hi);
    if (done.size === 2) break;
  }
  assert.deepEqual([...done].sort(), ["p", "q"]);
  const token = await auth.createPublicToken({ scopes: { read: { runs: ["run_other"] } } });
  const refused = await fetch(`${server.url}/realtime/v1/runs/${h.id}?offset=-1`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(refused.status, 403);
});

test("a worker that lies changes nothing", async () => {
  const h = await tasks.trigger("slow", { ms: 4000 });
  await reach(h, "EXECUTING");
  const path = `/engine/v1/dev/runs/${h.id}/snapshots/snapshot_01m8an7cw7fg59yyf7v3hdzb00`;
  const completion = { ok: true, id: h.id, output: '"stolen"', outputType: "application/json" };
  assert.equal((await ask(server, "POST", `${path}/attempts/complete`, { completion })).status, 400);
  assert.equal((await ask(server, "POST", `${path}/attempts/start`, {})).status, 409);
  assert.equal((await ask(server, "POST", `${path}/heartbeat`, {})).status, 200);
  const r = await ended(h);
  assert.deepEqual([r.status, r.output], ["COMPLETED", "slept"]);
  const late = await ask(server, "POST", `${path}/attempts/complete`, { completion });
  assert.deepEqual([late.status, late.body.error], [400, "Run is already finished"]);
});
