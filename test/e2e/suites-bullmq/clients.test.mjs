// Every client that the protocol page names, connecting and doing what clients do: sections 1 and 9.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRequire } from "node:module";
import { Redis as Redis5 } from "ioredis5";
import { Redis as Redis6 } from "ioredis";
import * as node5 from "redis5";
import * as node6 from "redis";
import { startRedis, toolkit, lines, until } from "../lib/bullmq.mjs";

const require = createRequire(import.meta.url);

for (const [name, Redis] of [["ioredis 6", Redis6], ["ioredis 5", Redis5]]) {
  test(`${name}: connects, pipelines, transacts, subscribes and blocks`, async (t) => {
    const redis = await startRedis(t);
    const open = [];
    redis.defer(() => open.forEach((c) => c.disconnect()));
    const make = (o = {}) => {
      const c = new Redis(redis.port, "127.0.0.1", o);
      open.push(c);
      return c;
    };
    const c = make({ connectionName: "me", db: 3 });
    assert.equal(await c.client("GETNAME"), "me");
    assert.match(await c.client("INFO"), / db=3 /);
    assert.deepEqual(await c.pipeline().set("a", "1").incr("a").get("a").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
    assert.deepEqual(await c.multi().set("b", "x").incr("b").get("b").exec().then((r) => r.map(([e, v]) => e?.message ?? v)), ["OK", "ERR value is not an integer or out of range", "x"]);
    await c.zadd("z", 1.5, "m", 7354149632090112, "big");
    assert.deepEqual(await c.zrange("z", 0, -1, "WITHSCORES"), ["m", "1.5", "big", "7354149632090112"]);
    assert.deepEqual(await c.zpopmin("z"), ["m", "1.5"]);
    await c.hset("h", { b: 1, a: 2, "": Buffer.from([0, 255]) });
    assert.deepEqual(Object.keys(await c.hgetall("h")), ["b", "a", ""]);
    assert.deepEqual((await c.hgetallBuffer("h"))[""], Buffer.from([0, 255]));
    assert.deepEqual(await c.xread("STREAMS", "s", "0"), null);
    await c.xadd("s", "1-1", "k", "v");
    assert.deepEqual(await c.xread("STREAMS", "s", "0"), [["s", [["1-1", ["k", "v"]]]]]);
    assert.deepEqual(await make({ db: 0 }).get("a"), null);

    const w = make({ db: 3 });
    await w.watch("a");
    await c.set("a", "other");
    assert.equal(await w.multi().set("a", "mine").exec(), null);

    const sub = make();
    const got = [];
    sub.on("message", (ch, m) => got.push([ch, m]));
    sub.on("pmessage", (p, ch, m) => got.push([p, ch, m]));
    await sub.subscribe("news");
    await sub.psubscribe("n*");
    assert.equal(await c.publish("news", "hi"), 2);
    await until("both messages", () => got.length === 2);
    assert.deepEqual(got, [["news", "hi"], ["n*", "news", "hi"]]);

    const b = make({ db: 3 });
    const popped = b.bzpopmin("queue", 5);
    await until("it to block", async () => /flags=b/.test(await c.client("LIST", "ID", await c.client("LIST").then((l) => l.split("\n").find((x) => x.includes("cmd=bzpopmin")).match(/id=(\d+)/)[1]))));
    await c.zadd("queue", 0, "0");
    assert.deepEqual(await popped, ["queue", "0", "0"]);
    const began = Date.now();
    assert.equal(await b.bzpopmin("queue", 0.2), null);
    assert.ok(Date.now() - began >= 199);
    const copy = c.duplicate();
    open.push(copy);
    assert.equal(await copy.get("b"), "x");
    c.defineCommand("twice", { numberOfKeys: 1, lua: "return {KEYS[1], ARGV[1] * 2, redis.call('GET', KEYS[1])}" });
    assert.deepEqual(await c.twice("b", 21), ["b", 42, "x"]);
    assert.deepEqual(await c.twice("b", 21), ["b", 42, "x"]);
    await c.script("FLUSH");
    assert.deepEqual(await c.twice("b", 4), ["b", 8, "x"], "after the server has forgotten the script");
    assert.equal(await c.quit(), "OK");
  });
}

for (const [name, node, options] of [["node-redis 6", node6, {}], ["node-redis 6 on RESP2", node6, { RESP: 2 }], ["node-redis 5", node5, {}], ["node-redis 5 on RESP3", node5, { RESP: 3 }]]) {
  test(`${name}: connects, transacts, subscribes and blocks`, async (t) => {
    const redis = await startRedis(t);
    const c = await node.createClient({ url: `${redis.url}/2`, name: "me", ...options }).on("error", () => {}).connect();
    redis.defer(() => c.destroy());
    assert.equal(await c.clientGetName(), "me");
    assert.equal((await c.clientInfo()).db, 2);
    assert.deepEqual(await c.multi().set("a", "1").incr("a").get("a").exec(), ["OK", 2, "2"]);
    await c.zAdd("z", [{ score: 1.5, value: "m" }, { score: 7354149632090112, value: "big" }]);
    assert.deepEqual(await c.zRangeWithScores("z", 0, -1), [{ value: "m", score: 1.5 }, { value: "big", score: 7354149632090112 }]);
    assert.deepEqual(await c.zPopMin("z"), { value: "m", score: 1.5 });
    await c.hSet("h", { b: "1", a: "2" });
    assert.deepEqual({ ...(await c.hGetAll("h")) }, { b: "1", a: "2" });
    await c.sAdd("set", ["x", "y"]);
    assert.deepEqual([...(await c.sMembers("set"))].sort(), ["x", "y"]);
    const sub = await c.duplicate().on("error", () => {}).connect();
    redis.defer(() => sub.destroy());
    const got = [];
    await sub.subscribe("news", (m, ch) => got.push([ch, m]));
    assert.equal(await c.publish("news", "hi"), 1);
    await until("the message", () => got.length === 1);
    const blocked = await c.duplicate().on("error", () => {}).connect();
    redis.defer(() => blocked.destroy());
    const popped = blocked.bzPopMin("queue", 5);
    await c.zAdd("queue", { score: 0.5, value: "0" });
    assert.deepEqual(await popped, { key: "queue", value: "0", score: 0.5 });
    const sha = await c.scriptLoad("return ARGV[1]");
    assert.equal(await c.evalSha(sha, { arguments: ["x"] }), "x");
    await assert.rejects(c.evalSha("0".repeat(40), {}), /NOSCRIPT/);
    await assert.rejects(c.sendCommand(["NOPE", "a"]), /unknown command 'NOPE', with args beginning with: 'a' /);
  });
}

test("bullmq 6 and 5 over node-redis", async (t) => {
  const redis = await startRedis(t);
  for (const line of lines) {
    const c = await node6.createClient({ url: redis.url }).on("error", () => {}).connect();
    redis.defer(() => c.destroy());
    const wrap = line.mq.createNodeRedisClient ?? ((x) => x);
    const connection = line.name === "bullmq 6" ? c : wrap(c);
    if (line.name !== "bullmq 6" && !line.mq.createNodeRedisClient) continue;
    const prefix = `p${line.name.at(-1)}`;
    const q = new line.mq.Queue("n", { connection, prefix });
    const w = new line.mq.Worker("n", async (job) => job.data.x * 2, { connection, prefix });
    const flow = new line.mq.FlowProducer({ connection, prefix });
    redis.defer(async () => {
      await w.close();
      await q.close();
      await flow.close();
    });
    const jobs = await q.addBulk([1, 2, 3].map((x) => ({ name: "n", data: { x } })));
    await until(`${line.name} to do its jobs`, async () => (await q.getJobCounts()).completed === 3);
    assert.deepEqual(await Promise.all(jobs.map(async (j) => (await q.getJob(j.id)).returnvalue)), [2, 4, 6]);
    const tree = await flow.add({ name: "p", queueName: "n", data: { x: 5 }, children: [{ name: "a", queueName: "n", data: { x: 1 } }, { name: "b", queueName: "n", data: { x: 1 } }] });
    await until(`${line.name} to do its flow`, async () => (await tree.job.getState()) === "completed");
  }
});

test("bullmq 5: repeatable jobs of old", async (t) => {
  const redis = await startRedis(t);
  const { queue } = toolkit(redis, lines[1]);
  const q = queue("digest");
  const first = await q.add("daily-digest", {}, { repeat: { pattern: "0 8 * * *" }, jobId: "daily-digest" });
  const second = await q.add("daily-digest", {}, { repeat: { pattern: "0 8 * * *" }, jobId: "daily-digest" });
  assert.equal(first.id, second.id);
  assert.match(first.id, /^repeat:[0-9a-f]{32}:\d+$/);
  const rows = await q.getRepeatableJobs();
  assert.equal(rows.length, 1);
  assert.equal(await q.removeRepeatableByKey(rows[0].key), true);
});

test("bullmq 4", async (t) => {
  const redis = await startRedis(t);
  const mq = await import("bullmq4");
  const connection = { host: "127.0.0.1", port: redis.port };
  const q = new mq.Queue("old", { connection });
  const done = [];
  const w = new mq.Worker("old", async (job) => void done.push(job.name), { connection });
  redis.defer(async () => {
    await w.close();
    await q.close();
  });
  await q.add("now", {});
  await q.add("later", {}, { delay: 100 });
  await q.add("first", {}, { priority: 1 });
  await until("all three", () => done.length === 3);
});

test("bull 4: jobs, delays, repeats, pause and events", async (t) => {
  const redis = await startRedis(t);
  const Bull = require("bull");
  const q = new Bull("classic", { redis: { port: redis.port, host: "127.0.0.1" } });
  redis.defer(() => q.close(true));
  const done = [];
  let tries = 0;
  q.process("*", 5, async (job) => {
    if (job.name === "flaky" && tries++ < 1) throw new Error("again");
    done.push(job.name);
    return job.data;
  });
  const completed = [];
  q.on("global:completed", (id) => completed.push(id));
  await q.isReady();
  const job = await q.add("now", { x: 1 });
  await q.add("later", {}, { delay: 100 });
  await q.add("flaky", {}, { attempts: 2, backoff: 50 });
  assert.deepEqual(await job.finished(), { x: 1 });
  await until("all of them", () => done.length === 3);
  await until("the events", () => completed.length === 3);
  assert.equal((await q.getJobCounts()).completed, 3);
  await q.pause();
  await q.add("paused", {});
  assert.equal((await q.getJobCounts()).paused, 1);
  await q.resume();
  await until("the paused one", () => done.includes("paused"));
});

test("passwords, users and TLS", async (t) => {
  const redis = await startRedis(t, { mode: "serve", args: ["--redis-password=s3cret", "--redis-user=app:other"] });
  await assert.rejects(node6.createClient({ url: redis.url, socket: { reconnectStrategy: false } }).connect(), /NOAUTH/);
  await assert.rejects(node6.createClient({ url: redis.url, password: "wrong", socket: { reconnectStrategy: false } }).connect(), /WRONGPASS/);
  for (const credentials of [{ password: "s3cret" }, { username: "default", password: "s3cret" }, { username: "app", password: "other" }]) {
    for (const make of [(o) => new Redis6(redis.port, "127.0.0.1", o), (o) => new Redis5(redis.port, "127.0.0.1", o)]) {
      const c = make(credentials);
      assert.equal(await c.call("ACL", "WHOAMI"), credentials.username ?? "default");
      c.disconnect();
    }
    const n = await node6.createClient({ url: redis.url, ...credentials }).connect();
    assert.equal(await n.ping(), "PONG");
    n.destroy();
  }
});
