// Adding, running, retrying and removing jobs: protocol sections 6.2 to 6.12 and the traces of section 11.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventsOf, onBoth, until } from "../lib/bullmq.mjs";

onBoth(test, "the smoke program of the documentation", async ({ queue, worker, events, client }) => {
  const connection = client();
  const q = queue("email", {
    connection,
    defaultJobOptions: { attempts: 5, backoff: { type: "exponential", delay: 200 }, removeOnComplete: { age: 86400, count: 1000 }, removeOnFail: { age: 604800, count: 5000 } },
  });
  const qe = await events("email", { connection });
  let tries = 0;
  worker("email", async (job) => {
    if (tries++ < 2) throw new Error("smtp down");
    return { to: job.data.to };
  }, { connection, concurrency: 10, limiter: { max: 100, duration: 60000 } });
  const job = await q.add("welcome", { to: "ann" }, { priority: 1 });
  assert.deepEqual(await job.waitUntilFinished(qe, 10000), { to: "ann" });
  assert.equal((await q.getJob(job.id)).attemptsMade, 3);
});

onBoth(test, "what an add writes, in order", async ({ queue, client }) => {
  const q = queue("q");
  const redis = client();
  const job = await q.add("n", { a: 1 });
  assert.equal(job.id, "1");
  assert.deepEqual(await eventsOf(redis, "q", "jobId", "name"), ["added 1 n", "waiting 1"]);
  const hash = await redis.hgetall("bull:q:1");
  assert.deepEqual(Object.keys(hash), ["name", "data", "opts", "timestamp", "delay", "priority"]);
  assert.deepEqual([hash.name, hash.data, JSON.parse(hash.opts), hash.delay, hash.priority], ["n", '{"a":1}', { attempts: 0 }, "0", "0"]);
  assert.deepEqual(await redis.lrange("bull:q:wait", 0, -1), ["1"]);
  assert.deepEqual(await redis.zrange("bull:q:marker", 0, -1, "WITHSCORES"), ["0", "0"]);

  await q.add("n", {}, { priority: 3 });
  assert.equal(await redis.zscore("bull:q:prioritized", "2"), "12884901889");
  const delayed = await q.add("n", {}, { delay: 60000 });
  assert.equal(await redis.zscore("bull:q:delayed", "3"), String((delayed.timestamp + 60000) * 4096));
  assert.deepEqual(await redis.zrange("bull:q:marker", 0, -1, "WITHSCORES"), ["0", "0", "1", String(delayed.timestamp + 60000)]);
  await q.add("n", {}, { jobId: "my-id" });
  assert.equal((await q.add("n", {}, { jobId: "my-id" })).id, "my-id");
  assert.equal((await eventsOf(redis, "q", "jobId")).at(-1), "duplicated my-id");
  assert.equal(await redis.get("bull:q:id"), "5");
  await q.add("n", {}, { lifo: true });
  assert.deepEqual(await redis.lrange("bull:q:wait", 0, -1), ["my-id", "1", "6"]);
});

onBoth(test, "what fetching and finishing write, in order", async ({ queue, worker, client }) => {
  const q = queue("q");
  const redis = client();
  await q.add("n", { a: 1 });
  const w = worker("q", async () => ({ r: 1 }), { name: "alpha" });
  await until("the job to be done", async () => (await q.getJobCounts()).completed === 1);
  await until("drained", async () => (await eventsOf(redis, "q")).includes("drained"));
  await w.close();
  assert.deepEqual(await eventsOf(redis, "q", "jobId", "returnvalue", "prev"), ["added 1", "waiting 1", "active 1 waiting", 'completed 1 {"r":1} active', "drained"]);
  const job = await redis.hgetall("bull:q:1");
  assert.deepEqual([job.returnvalue, job.atm, job.ats, job.pb], ['{"r":1}', "1", "1", "alpha"]);
  assert.equal(await redis.zscore("bull:q:completed", "1"), job.finishedOn);
  assert.deepEqual([await redis.llen("bull:q:active"), await redis.exists("bull:q:1:lock"), await redis.scard("bull:q:stalled")], [0, 0, 0]);
});

onBoth(test, "a thousand jobs at once, each done once", async ({ queue, worker }) => {
  const q = queue("bulk");
  const jobs = await q.addBulk(Array.from({ length: 1000 }, (_, i) => ({ name: "n", data: { i } })));
  assert.deepEqual(jobs.map((j) => j.id), Array.from({ length: 1000 }, (_, i) => String(i + 1)));
  const seen = [];
  worker("bulk", async (job) => void seen.push(job.data.i), { concurrency: 50 });
  await until("all of them", async () => (await q.getJobCounts()).completed === 1000);
  assert.deepEqual(seen.toSorted((a, b) => a - b), Array.from({ length: 1000 }, (_, i) => i));
});

onBoth(test, "the order of waiting, prioritized and last-in jobs", async ({ queue, worker }) => {
  const q = queue("order");
  for (const [name, opts] of [["p3", { priority: 3 }], ["a", {}], ["p1", { priority: 1 }], ["b", {}], ["p1b", { priority: 1 }], ["last-in", { lifo: true }]]) await q.add(name, {}, opts);
  const seen = [];
  worker("order", async (job) => void seen.push(job.name));
  await until("all of them", () => seen.length === 6);
  assert.deepEqual(seen, ["last-in", "a", "b", "p1", "p1b", "p3"]);
});

onBoth(test, "delays, promotion and changes of delay and priority", async ({ queue, worker, events }) => {
  const q = queue("delays");
  const qe = await events("delays");
  const done = new Map();
  worker("delays", async (job) => void done.set(job.name, Date.now()));
  const began = Date.now();
  const soon = await q.add("soon", {}, { delay: 150 });
  await soon.waitUntilFinished(qe, 5000);
  assert.ok(done.get("soon") - began >= 150, "not before its time");
  const far = await q.add("far", {}, { delay: 3600000 });
  assert.equal(await far.getState(), "delayed");
  await far.promote();
  await far.waitUntilFinished(qe, 5000);
  const moved = await q.add("moved", {}, { delay: 3600000 });
  await moved.changeDelay(100);
  await moved.waitUntilFinished(qe, 5000);
  await q.pause();
  const one = await q.add("one", {}, { delay: 3600000 });
  const two = await q.add("two", {}, { delay: 3600000 });
  await q.promoteJobs();
  assert.deepEqual([await one.getState(), await two.getState()].map((s) => (s === "paused" ? "waiting" : s)), ["waiting", "waiting"]);
  await two.changePriority({ priority: 5 });
  assert.equal(await two.getState(), "prioritized");
  assert.deepEqual(await q.getCountsPerPriority([0, 5]), { 0: 1, 5: 1 });
  await assert.rejects(one.promote(), /is not in the delayed state/);
});

onBoth(test, "attempts, back-off and final failure", async ({ queue, worker, events, client, mq }) => {
  const q = queue("fail");
  const qe = await events("fail");
  const at = [];
  worker("fail", async (job) => {
    at.push(Date.now());
    if (job.name === "fatal") throw new mq.UnrecoverableError("no use");
    throw new Error("boom");
  });
  const job = await q.add("n", {}, { attempts: 3, backoff: { type: "fixed", delay: 100 } });
  await assert.rejects(job.waitUntilFinished(qe, 5000), /boom/);
  assert.equal(at.length, 3);
  assert.ok(at[1] - at[0] >= 100 && at[2] - at[1] >= 100);
  const stored = await q.getJob(job.id);
  assert.deepEqual([stored.attemptsMade, stored.failedReason, stored.stacktrace.length], [3, "boom", 3]);
  const seen = (await eventsOf(client(), "fail", "jobId", "attemptsMade")).filter((e) => !e.startsWith("drained"));
  assert.deepEqual(seen.slice(-2), ["failed 1", "retries-exhausted 1 3"]);
  const fatal = await q.add("fatal", {}, { attempts: 10 });
  await assert.rejects(fatal.waitUntilFinished(qe, 5000), /no use/);
  assert.equal((await q.getJob(fatal.id)).attemptsMade, 1);
});

onBoth(test, "what is kept of jobs that ended", async ({ queue, worker, client }) => {
  const q = queue("keep");
  const redis = client();
  worker("keep", async (job) => {
    if (job.name === "bad") throw new Error("x");
  });
  await q.add("n", {}, { removeOnComplete: true });
  await q.add("bad", {}, { removeOnFail: true });
  for (let i = 0; i < 5; i++) await q.add("n", {}, { removeOnComplete: { count: 2 } });
  await until("all of them", async () => (await q.getJobCounts("waiting", "active")).waiting === 0 && (await redis.get("bull:keep:id")) === "7" && (await redis.llen("bull:keep:active")) === 0);
  assert.deepEqual(await redis.zrange("bull:keep:completed", 0, -1), ["6", "7"]);
  assert.equal(await redis.zcard("bull:keep:failed"), 0);
  assert.equal(await redis.exists("bull:keep:1", "bull:keep:2", "bull:keep:3"), 0);
});

onBoth(test, "deduplication", async ({ queue, worker, client }) => {
  const q = queue("dedup");
  const redis = client();
  const first = await q.add("n", { v: 1 }, { deduplication: { id: "d1" } });
  assert.equal((await q.add("n", { v: 2 }, { deduplication: { id: "d1" } })).id, first.id);
  assert.equal(await q.getDeduplicationJobId("d1"), first.id);
  const ttl = await q.add("n", {}, { deduplication: { id: "d2", ttl: 5000 } });
  assert.equal((await q.add("n", {}, { deduplication: { id: "d2", ttl: 5000 } })).id, ttl.id);
  assert.ok((await redis.pttl("bull:dedup:de:d2")) > 4000);
  const old = await q.add("n", { v: "old" }, { delay: 5000, deduplication: { id: "d3", ttl: 5000, extend: true, replace: true } });
  const replaced = await q.add("n", { v: "new" }, { delay: 5000, deduplication: { id: "d3", ttl: 5000, extend: true, replace: true } });
  assert.notEqual(replaced.id, old.id);
  assert.equal(await q.getJob(old.id), undefined);
  assert.equal(await redis.get("bull:dedup:de:d3"), replaced.id);
  await q.removeDeduplicationKey("d3");
  assert.equal(await q.getDeduplicationJobId("d3"), null);
  worker("dedup", async () => {});
  await until("the first to be done", async () => (await first.getState()) === "completed");
  assert.notEqual((await q.add("n", {}, { deduplication: { id: "d1" } })).id, first.id);
});

onBoth(test, "pause, drain, clean and obliterate", async ({ queue, worker }) => {
  const q = queue("admin");
  await q.pause();
  assert.equal(await q.isPaused(), true);
  const seen = [];
  const w = worker("admin", async (job) => {
    if (job.name === "bad") throw new Error("x");
    seen.push(job.name);
  });
  await q.add("a", {});
  await q.add("bad", {});
  await w.waitUntilReady();
  assert.equal(seen.length, 0);
  await q.resume();
  await until("both to end", async () => {
    const c = await q.getJobCounts();
    return c.completed === 1 && c.failed === 1;
  });
  await q.retryJobs({ state: "failed" });
  await until("the failed one to fail again", async () => (await q.getJobCounts("failed")).failed === 1);
  const [failed] = await q.getFailed();
  assert.deepEqual(await q.clean(0, 100, "failed"), [failed.id]);
  await w.close();
  for (let i = 0; i < 10; i++) await q.add("n", {}, i % 2 ? { delay: 60000 } : {});
  await q.drain(true);
  assert.equal(await q.count(), 0);
  await q.add("n", {});
  await q.obliterate();
  assert.deepEqual(await q.getJobs(["waiting", "completed", "failed"]), []);
});

onBoth(test, "rate limits and concurrency", async ({ queue, worker, mq }) => {
  const q = queue("limits");
  const at = [];
  worker("limits", async () => void at.push(Date.now()), { limiter: { max: 2, duration: 300 }, concurrency: 10 });
  for (let i = 0; i < 5; i++) await q.add("n", {});
  await until("all of them", () => at.length === 5);
  assert.ok(at[2] - at[0] >= 240 && at[4] - at[2] >= 240, at.map((x) => x - at[0]).join(" ")); // clocks of two processes, in whole ms

  const g = queue("global");
  await g.setGlobalConcurrency(1);
  let running = 0;
  let most = 0;
  let done = 0;
  const work = async () => {
    most = Math.max(most, ++running);
    await new Promise((r) => setTimeout(r, 30));
    running--;
    done++;
  };
  worker("global", work, { concurrency: 5 });
  worker("global", work, { concurrency: 5 });
  for (let i = 0; i < 6; i++) await g.add("n", {});
  await until("all of them", () => done === 6);
  assert.equal(most, 1);

  const m = queue("manual");
  let limited = false;
  const w = worker("manual", async () => {
    if (limited) return "ok";
    limited = true;
    await w.rateLimit(200);
    throw mq.Worker.RateLimitError();
  }, { limiter: { max: 1, duration: 100 } });
  const job = await m.add("n", {});
  await until("it to be done", async () => (await job.getState()) === "completed");
  assert.equal((await m.getJob(job.id)).attemptsMade, 1);
});

onBoth(test, "progress, logs, metrics and getters", async ({ queue, worker, events, mq }) => {
  const q = queue("info");
  const qe = await events("info");
  const progress = new Promise((r) => qe.on("progress", (e) => r(e.data)));
  worker("info", async (job) => {
    await job.updateProgress({ half: 50 });
    await job.log("row 1");
    await job.log("row 2");
    await job.updateData({ ...job.data, more: "ü" });
    return { deep: [1, { x: null }], big: "y".repeat(100_000) };
  }, { metrics: { maxDataPoints: mq.MetricsTime.ONE_HOUR } });
  const job = await q.add("n", { a: 1 });
  assert.equal((await job.waitUntilFinished(qe, 5000)).big.length, 100_000);
  assert.deepEqual(await progress, { half: 50 });
  assert.deepEqual(await q.getJobLogs(job.id), { logs: ["row 1", "row 2"], count: 2 });
  const stored = await q.getJob(job.id);
  assert.deepEqual([stored.data, stored.progress], [{ a: 1, more: "ü" }, { half: 50 }]);
  assert.deepEqual((await q.getMetrics("completed")).meta.count, 1);
  assert.equal((await q.getWorkers()).length, 1);
  assert.equal((await q.getWorkers())[0].name, "info");
  assert.ok((await q.exportPrometheusMetrics()).includes('bullmq_job_count{queue="info", state="completed"} 1'));
  assert.equal(await job.remove(), undefined);
  assert.equal(await q.getJob(job.id), undefined);
});

onBoth(test, "a job whose worker died is taken up again", async ({ queue, worker, client, mq, connection }) => {
  const q = queue("stalled");
  const job = await q.add("n", {});
  const dead = new mq.Worker("stalled", null, { connection });
  const taken = await dead.getNextJob("token");
  assert.equal(taken.id, job.id);
  await dead.close(true);
  const stalled = [];
  const w = worker("stalled", async () => "rescued", { stalledInterval: 300 });
  w.on("stalled", (id) => stalled.push(id));
  assert.equal(await client().del(`bull:stalled:${job.id}:lock`), 1); // it would last for 30 s
  await until("the job to be done", async () => (await job.getState()) === "completed");
  assert.deepEqual(stalled, [job.id]);
});
