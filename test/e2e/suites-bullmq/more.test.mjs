// Sandboxed processors, cancelled jobs, the Relay, large and odd payloads, and what a shared client of the application does besides.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { lines, onBoth, startRedis, toolkit, until } from "../lib/bullmq.mjs";

const processor = fileURLToPath(new URL("../lib/sandboxed.cjs", import.meta.url));

onBoth(test, "processors in processes and threads of their own", async ({ queue, worker, events }) => {
  for (const useWorkerThreads of [false, true]) {
    const name = `sandbox${useWorkerThreads}`;
    const q = queue(name);
    const qe = await events(name);
    worker(name, processor, { useWorkerThreads });
    const job = await q.add("n", { a: 1, b: 2 });
    const result = await job.waitUntilFinished(qe, 20_000);
    assert.equal(result.sum, 3);
    assert.equal(result.pid === process.pid, useWorkerThreads);
    assert.deepEqual((await q.getJobLogs(job.id)).logs, ["from the sandbox"]);
    const bad = await q.add("n", { fail: true });
    await assert.rejects(bad.waitUntilFinished(qe, 20_000), /sandbox says no/);
  }
});

onBoth(test, "payloads of every kind come back as they were", async ({ queue, worker, events }) => {
  const q = queue("payloads");
  const qe = await events("payloads");
  worker("payloads", async (job) => job.data);
  for (const data of [
    { text: "ü😀\u0000\u0007\"\\/\r\n\u2028", empty: "", nested: { a: [[], {}, [null]] }, numbers: [0, -1, 1.5, 1e21, 1e-7, 9007199254740991], yes: true, no: false, nothing: null },
    [1, 2, 3], "text", 42, null, {}, { big: "x".repeat(2_000_000) },
  ]) {
    const job = await q.add("n", data, { attempts: 2, backoff: { type: "fixed", delay: 1 } });
    assert.deepEqual(await job.waitUntilFinished(qe, 10_000), data);
    assert.deepEqual((await q.getJob(job.id)).data, data);
  }
});

test("the Relay: topics, patterns, retained messages and getters", async (t) => {
  const redis = await startRedis(t);
  const { mq, connection } = toolkit(redis, lines[0]);
  const open = (nodeId) => {
    const r = new mq.Relay({ connection, nodeId, leaseDuration: 3000 });
    r.on?.("error", () => {});
    redis.defer(() => r.close());
    return r;
  };
  const one = open("one");
  const two = open("two");
  const got = [];
  await one.subscribe("orders.*", (m) => void got.push(["one", m.topic ?? m]));
  await two.subscribe("orders.>", (m) => void got.push(["two", m.topic ?? m]));
  await two.publish("orders.eu", { n: 1 }, { retain: 60_000 });
  await two.publish("orders.eu.de", { n: 2 });
  await until("three deliveries", () => got.length === 3);
  assert.deepEqual(got.map(([who]) => who).sort(), ["one", "two", "two"]);
  assert.equal((await one.getNodes()).length, 2);
});

test("an application that keeps a cache, counters, locks and sessions on the same client", async (t) => {
  const redis = await startRedis(t);
  for (const line of lines) {
    const { client } = toolkit(redis, line);
    const c = client();
    await c.flushall();
    assert.equal(await c.set("lock", "me", "PX", 5000, "NX"), "OK");
    assert.equal(await c.set("lock", "you", "PX", 5000, "NX"), null);
    assert.equal(await c.eval("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0", 1, "lock", "me"), 1);
    assert.deepEqual(await c.multi().incr("hits").expire("hits", 60).ttl("hits").exec().then((r) => r.map(([, v]) => v)), [1, 1, 60]);
    await c.mset("a", 1, "b", 2);
    assert.deepEqual(await c.mget("a", "b", "none"), ["1", "2", null]);
    await c.setex("session", 60, JSON.stringify({ user: 1 }));
    assert.equal(JSON.parse(await c.getex("session", "EX", 120)).user, 1);
    assert.ok((await c.ttl("session")) > 60);
    await c.zadd("board", 3, "x", 1, "y", 2, "z");
    assert.deepEqual(await c.zrevrange("board", 0, 1), ["x", "z"]);
    assert.equal(await c.zrank("board", "z"), 1);
    for (let i = 0; i < 300; i++) await c.set(`scan:${i}`, i);
    const found = new Set();
    for await (const keys of c.scanStream({ match: "scan:*", count: 50 })) keys.forEach((k) => found.add(k));
    assert.equal(found.size, 300);
    assert.equal(await c.xgroup("CREATE", "jobs", "workers", "$", "MKSTREAM"), "OK");
    await c.xadd("jobs", "*", "n", "1");
    const [[, [[id]]]] = await c.xreadgroup("GROUP", "workers", "w1", "COUNT", 1, "STREAMS", "jobs", ">");
    assert.equal(await c.xack("jobs", "workers", id), 1);
    assert.equal(await c.dbsize(), 306);
  }
});

onBoth(test, "the context of a trace travels with a job", async ({ queue, worker, events }) => {
  const spans = [];
  const telemetry = {
    tracer: {
      startSpan: (name) => {
        spans.push(name);
        return { setSpanOnContext: (c) => c, setAttribute() {}, setAttributes() {}, addEvent() {}, recordException() {}, end() {} };
      },
    },
    contextManager: {
      with: (context, fn) => fn(context),
      active: () => ({ trace: "t1" }),
      getMetadata: (context) => JSON.stringify(context ?? {}),
      fromMetadata: (_, metadata) => JSON.parse(metadata || "{}"),
    },
  };
  const q = queue("traced", { telemetry });
  const qe = await events("traced");
  const job = await q.add("n", { a: 1 });
  assert.match((await q.getJob(job.id)).opts.telemetry.metadata, /"trace":"t1"/);
  worker("traced", async () => 1, { telemetry });
  assert.equal(await job.waitUntilFinished(qe, 10_000), 1);
  assert.ok(spans.some((s) => s.startsWith("add")) && spans.some((s) => s.startsWith("process")), spans.join());
});
