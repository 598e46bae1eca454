// What survives a server that is killed, and workers that must never go deaf: protocol section 10.
import assert from "node:assert/strict";
import { test } from "node:test";
import { onBoth, startRedis, lines, toolkit, until } from "../lib/bullmq.mjs";

onBoth(test, "a thousand jobs survive a kill in the middle", async ({ queue, worker, redis }) => {
  const q = queue("crash");
  const runs = new Map();
  const added = new Set();
  worker("crash", async (job) => {
    runs.set(job.id, (runs.get(job.id) ?? 0) + 1);
    await new Promise((r) => setTimeout(r, 5));
    return job.data.i;
  }, { concurrency: 50, stalledInterval: 1000, lockDuration: 2000, maxStalledCount: 10 });
  const adding = (async () => {
    for (let i = 0; i < 1000; i += 50) {
      const jobs = await q.addBulk(Array.from({ length: 50 }, (_, k) => ({ name: "n", data: { i: i + k }, opts: { jobId: `job-${i + k}` } })));
      for (const j of jobs) added.add(j.id);
    }
  })();
  await until("some to be done", () => runs.size > 150);
  await redis.kill();
  await redis.start();
  await adding;
  await until("all of them", async () => (await q.getJobCounts()).completed === 1000, 60_000);
  assert.equal(added.size, 1000);
  const twice = [...runs.values()].filter((n) => n > 1).length;
  assert.ok(twice <= 100, `${twice} jobs ran twice; only those that were active when the server died may`);
});

onBoth(test, "everything that was acknowledged is there after a kill", async ({ client, redis }) => {
  const c = client();
  await c.set("s", "v", "PX", 600_000);
  await c.hset("h", "b", 1, "a", 2);
  await c.hdel("h", "b");
  await c.hset("h", "b", 3);
  await c.rpush("l", ...Array.from({ length: 300 }, (_, i) => `e${i}`));
  await c.lrem("l", 1, "e5");
  await c.sadd("set", "x", "y");
  await c.zadd("z", 0.1, "m", 7354149632090112, "n");
  const ids = [await c.xadd("x", "*", "k", "v"), await c.xadd("x", "*", "k", "w")];
  await c.xdel("x", ids[1]);
  const sha = await c.script("LOAD", "return redis.call('GET', KEYS[1])");
  const ttl = await c.pttl("s");
  await redis.kill();
  await redis.start();
  assert.equal(await c.get("s"), "v");
  assert.ok((await c.pttl("s")) <= ttl && (await c.pttl("s")) > 500_000);
  assert.deepEqual(Object.keys(await c.hgetall("h")), ["a", "b"]);
  const l = await c.lrange("l", 0, -1);
  assert.deepEqual([l.length, l[4], l[5]], [299, "e4", "e6"]);
  assert.deepEqual((await c.smembers("set")).sort(), ["x", "y"]);
  assert.deepEqual(await c.zrange("z", 0, -1, "WITHSCORES"), ["m", "0.10000000000000001", "n", "7354149632090112"].map((s, i) => (i === 1 && lines[0].Redis === c.constructor ? s : s)));
  assert.equal(await c.xlen("x"), 1);
  assert.ok((await c.xadd("x", "*", "k", "z")) > ids[1]);
  assert.equal(await c.evalsha(sha, 1, "s"), "v", "scripts are remembered");
});

onBoth(test, "a worker goes on when its sockets are cut, the server is killed, stopped or paused", async ({ queue, worker, client, redis }) => {
  const q = queue("deaf");
  const done = [];
  const w = worker("deaf", async (job) => void done.push(job.name));
  await w.waitUntilReady();
  const works = async (name) => {
    await q.add(name, {});
    await until(`the job after ${name}`, () => done.includes(name), 30_000);
  };
  await works("the start");

  const c = client();
  await c.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  await works("its connections were closed");

  await redis.kill("SIGKILL");
  await redis.start();
  await works("the server was killed");

  await redis.kill("SIGTERM");
  await redis.start();
  await works("the server was stopped");

  redis.server.child.kill("SIGSTOP");
  await new Promise((r) => setTimeout(r, 8000)); // longer than the time after which the worker gives up a blocked read
  redis.server.child.kill("SIGCONT");
  await works("the server was paused");
});

test("a delayed job and a scheduler that were due while the server was away run once it is back", async (t) => {
  const redis = await startRedis(t);
  const { queue, worker } = toolkit(redis, lines[0]);
  const q = queue("away");
  const done = [];
  await q.add("late", {}, { delay: 300 });
  await q.upsertJobScheduler("every", { every: 250 }, { name: "tick" });
  await redis.kill();
  await new Promise((r) => setTimeout(r, 500));
  await redis.start();
  worker("away", async (job) => void done.push(job.name));
  await until("both", () => done.includes("late") && done.filter((n) => n === "tick").length >= 3);
});

test("everysec answers at once and keeps what a stop in good order finds", async (t) => {
  const redis = await startRedis(t, { args: ["--redis-durability=everysec"] });
  const { client } = toolkit(redis, lines[0]);
  const c = client();
  for (let i = 0; i < 100; i++) await c.set(`k${i}`, "v");
  assert.match(await c.info("persistence"), /quartet_durability:everysec/);
  await redis.kill("SIGTERM");
  await redis.start();
  assert.equal(await c.dbsize(), 100);
});
