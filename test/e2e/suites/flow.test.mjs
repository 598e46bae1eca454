// Flow control: protocol section 18, and triggers: section 16.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setup } from "../lib/inngest.mjs";
import { until } from "../lib/server.mjs";

const pause = (ms) => new Promise((r) => setTimeout(r, ms));

/** Counts how many of something are in progress, overall and by key. */
function gauge() {
  const now = {}, most = {};
  return {
    most,
    async hold(key, ms = 80) {
      for (const k of ["all", key]) most[k] = Math.max(most[k] ?? 0, (now[k] = (now[k] ?? 0) + 1));
      await pause(ms);
      for (const k of ["all", key]) now[k]--;
    },
  };
}

const fan = (n, name, data = (i) => ({ i })) => Array.from({ length: n }, (_, i) => ({ name, data: data(i) }));

test("concurrency limits calls, by key, and no key blocks another", async (t) => {
  const all = gauge(), keyed = gauge();
  const { server, app } = await setup(t, (create) => [
    create({ id: "all", concurrency: 2 }, { event: "test/conc" }, async ({ step }) => { await step.run("w", () => all.hold("x")); }),
    create({ id: "keyed", concurrency: [{ limit: 1, key: "event.data.k" }, { limit: 3 }] }, { event: "test/conc" }, async ({ event, step }) => {
      await step.run("w", () => keyed.hold(event.data.k));
    }),
  ]);
  await app.send(fan(12, "test/conc", (i) => ({ k: `k${i % 4}` })));
  await server.ended("app-all", 12);
  await server.ended("app-keyed", 12);
  assert.equal(all.most.all, 2);
  assert.equal(keyed.most.all, 3);
  for (const k of ["k0", "k1", "k2", "k3"]) assert.equal(keyed.most[k], 1);
});

test("an env-wide key is shared between functions, and sleeping runs hold nothing", async (t) => {
  const g = gauge();
  const limit = { limit: 1, scope: "env", key: `"shared"` };
  const { server, app } = await setup(t, (create) => [
    create({ id: "a", concurrency: [limit] }, { event: "test/env" }, async ({ step }) => { await step.run("w", () => g.hold("x")); await step.sleep("s", "1s"); }),
    create({ id: "b", concurrency: [limit] }, { event: "test/env" }, async ({ step }) => { await step.run("w", () => g.hold("x")); await step.sleep("s", "1s"); }),
  ]);
  await app.send(fan(4, "test/env"));
  await server.ended("app-a", 4);
  await server.ended("app-b", 4);
  assert.equal(g.most.all, 1);
  const runs = [...(await server.runs("&function=app-a")), ...(await server.runs("&function=app-b"))];
  const at = (name) => runs.map((r) => Number(new Date(r[name])));
  assert.ok(Math.max(...at("startedAt")) - Math.min(...at("startedAt")) < 7000, "seven did not wait until the one before had slept its second");
});

test("a throttle delays starts and loses none", async (t) => {
  const starts = [];
  const { server, app } = await setup(t, (create) => [
    create({ id: "thr", throttle: { limit: 1, period: "1s", burst: 2 } }, { event: "test/thr" }, async ({ event }) => { starts.push(event.data.i); }),
  ]);
  await app.send(fan(5, "test/thr"));
  await server.ended("app-thr", 5);
  assert.deepEqual(starts.toSorted(), [0, 1, 2, 3, 4]);
  assert.deepEqual(starts.slice(3), [3, 4], "in order");
  // The server's own times: what a call takes to arrive is another matter.
  const [a, , c, d, e] = (await server.runs("&function=app-thr")).map((r) => Number(new Date(r.startedAt))).sort((x, y) => x - y);
  assert.ok(c - a < 1000, `the first three at once: ${c - a}`);
  assert.ok(d - a >= 1000 && e - a >= 2000, `then one a second: ${d - a}, ${e - a}`);
});

test("a rate limit drops, by key", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "rl", rateLimit: { limit: 1, period: "1h", key: "event.data.k" } }, { event: "test/rl" }, async ({ event }) => event.data.k),
    create({ id: "idem", idempotency: "event.data.k" }, { event: "test/rl" }, async ({ event }) => event.data.k),
    create({ id: "twenty", rateLimit: { limit: 20, period: "1h" } }, { event: "test/rl" }, async () => 1),
  ]);
  await app.send(fan(9, "test/rl", (i) => ({ k: `k${i % 3}` })));
  await server.ended("app-rl", 3);
  await server.ended("app-idem", 3);
  await server.ended("app-twenty", 3);
  assert.equal((await server.runs("&function=app-rl")).length, 3);
  assert.equal((await server.runs("&function=app-idem")).length, 3);
  assert.equal((await server.runs("&function=app-twenty")).length, 3, "1 + 20/10 at once");
});

test("a debounce runs once, with the newest event", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "deb", debounce: { period: "1s", key: "event.data.k" } }, { event: "test/deb" }, async ({ event }) => event.data),
    create({ id: "capped", debounce: { period: "5s", timeout: "1s" } }, { event: "test/deb" }, async ({ event }) => event.data),
  ]);
  const ts = Date.now() - 1000;
  await app.send([
    { name: "test/deb", data: { k: "a", n: 1 }, ts: ts + 1 }, { name: "test/deb", data: { k: "a", n: 3 }, ts: ts + 3 },
    { name: "test/deb", data: { k: "a", n: 2 }, ts: ts + 2 }, { name: "test/deb", data: { k: "b", n: 1 }, ts },
  ]);
  const runs = await server.ended("app-deb", 2);
  const out = await Promise.all(runs.map(async (r) => (await server.run(r.id)).run.output));
  assert.deepEqual(out.sort((x, y) => x.k.localeCompare(y.k)), [{ k: "a", n: 3 }, { k: "b", n: 1 }]);
  await server.ended("app-capped", 1);
});

test("a batch is full or due, by key, and its condition lets events pass alone", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "batch", batchEvents: { maxSize: 3, timeout: "1s", key: "event.data.k" } }, { event: "test/batch" }, async ({ events }) => events.map((e) => e.data.i)),
    create({ id: "some", batchEvents: { maxSize: 100, timeout: "1s", if: "event.data.i != 0" } }, { event: "test/batch" }, async ({ events }) => events.map((e) => e.data.i)),
  ]);
  await app.send(fan(8, "test/batch", (i) => ({ i, k: i % 2 })));
  const outputs = async (fn, n) => {
    const runs = await server.ended(fn, n);
    return (await Promise.all(runs.map(async (r) => (await server.run(r.id)).run.output))).sort((a, b) => a[0] - b[0]);
  };
  assert.deepEqual(await outputs("app-batch", 4), [[0, 2, 4], [1, 3, 5], [6], [7]]);
  assert.deepEqual(await outputs("app-some", 2), [[0], [1, 2, 3, 4, 5, 6, 7]]);
});

test("a singleton skips, or cancels the older run", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "skip", singleton: { mode: "skip", key: "event.data.k" } }, { event: "test/single" }, async ({ step }) => { await step.sleep("s", "2s"); }),
    create({ id: "cancel", singleton: { mode: "cancel", key: "event.data.k" } }, { event: "test/single" }, async ({ step }) => { await step.sleep("s", "2s"); }),
  ]);
  await app.send({ name: "test/single", data: { k: 1 } });
  await app.send({ name: "test/single", data: { k: 1 } });
  await app.send({ name: "test/single", data: { k: 2 } });
  const skip = await server.ended("app-skip", 3);
  assert.deepEqual(skip.map((r) => r.status).sort(), ["completed", "completed", "skipped"]);
  const skipped = skip.find((r) => r.status === "skipped");
  assert.ok(skip.some((r) => r.id === skipped.existing && r.status === "completed"));
  assert.deepEqual((await server.ended("app-cancel", 3)).map((r) => r.status).sort(), ["cancelled", "completed", "completed"]);
});

test("priority reorders what waits", async (t) => {
  const order = [];
  const { server, app } = await setup(t, (create) => [
    create({ id: "prio", concurrency: 1, priority: { run: "event.data.p" } }, { event: "test/prio" }, async ({ event }) => { order.push(event.data.n); await pause(event.data.n === "first" ? 400 : 10); }),
  ]);
  await app.send({ name: "test/prio", data: { p: 0, n: "first" } });
  await until("the first to run", () => order.length === 1);
  await app.send([{ name: "test/prio", data: { p: -60, n: "low" } }, { name: "test/prio", data: { p: 0, n: "normal" } }, { name: "test/prio", data: { p: 120, n: "high" } }]);
  await server.ended("app-prio", 4);
  assert.deepEqual(order, ["first", "high", "normal", "low"]);
});

test("start and finish timeouts cancel", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "start", concurrency: 1, timeouts: { start: "1s" } }, { event: "test/to" }, async () => { await pause(2500); }),
    create({ id: "finish", timeouts: { finish: "1s" } }, { event: "test/to" }, async ({ step }) => { await step.sleep("s", "1h"); }),
  ]);
  await app.send(fan(2, "test/to"));
  assert.deepEqual((await server.ended("app-start", 2)).map((r) => r.status).sort(), ["cancelled", "completed"]);
  const finish = await server.ended("app-finish", 2);
  assert.deepEqual(finish.map((r) => [r.status, r.reason]), Array(2).fill(["cancelled", "not ended within its finish timeout"]));
});

test("cancelOn ends sleeping, waiting and delayed runs that match", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "co", cancelOn: [{ event: "test/deleted", match: "data.userId" }] }, { event: "test/created" }, async ({ event, step }) => {
      if (event.data.wait) await step.waitForEvent("w", { event: "test/nothing", timeout: "1h" });
      await step.sleep("s", "2s");
      return "lived";
    }),
  ]);
  await app.send({ name: "test/deleted", data: { userId: 1 } }); // before: does not count
  await app.send([
    { name: "test/created", data: { userId: 1 } }, { name: "test/created", data: { userId: 1, wait: true } },
    { name: "test/created", data: { userId: 1 }, ts: Date.now() + 3_600_000 }, { name: "test/created", data: { userId: 2 } },
  ]);
  await until("all to be parked", async () => {
    const runs = await server.runs("&function=app-co");
    const parked = await Promise.all(runs.map(async (r) => r.status === "queued" || (await server.run(r.id)).steps.some((s) => s.dueAt)));
    return runs.length === 4 && parked.every(Boolean);
  });
  await app.send({ name: "test/deleted", data: { userId: 1 } });
  const runs = await server.ended("app-co", 4);
  assert.deepEqual(runs.map((r) => r.status).sort(), ["cancelled", "cancelled", "cancelled", "completed"]);
});

test("triggers: several, wildcards and conditions", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "many" }, [{ event: "test/a" }, { event: "test/b", if: "event.data.n > 1" }], async ({ event }) => event.name),
    create({ id: "wild" }, { event: "shop/*" }, async ({ event }) => event.name),
    create({ id: "dot" }, { event: "shop/order.*" }, async ({ event }) => event.name),
    create({ id: "cond" }, { event: "test/b", if: "event.data.missing == null && event.data.name != 'x'" }, async () => 1),
  ]);
  await app.send([
    { name: "test/a", data: {} }, { name: "test/b", data: { n: 1 } }, { name: "test/b", data: { n: 2, name: "x" } },
    { name: "shop/order.created", data: {} }, { name: "shop/cart", data: {} }, { name: "shopping", data: {} },
  ]);
  await server.ended("app-many", 2);
  await server.ended("app-wild", 2);
  await server.ended("app-dot", 1);
  await server.ended("app-cond", 1);
  assert.equal((await server.runs()).length, 6);
});

test("why a run is not running can be asked", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "busy", concurrency: { limit: 1, key: "event.data.k" } }, { event: "test/why" }, async () => { await pause(1500); }),
  ]);
  await app.send(fan(2, "test/why", () => ({ k: "acme" })));
  const text = await until("an explanation", async () => {
    const queued = (await server.runs("&function=app-busy&status=queued"))[0];
    return queued && (await server.run(queued.id)).waiting.reasons?.[0]?.text;
  });
  assert.equal(text, 'the concurrency key "acme" is at its limit of 1');
  await server.ended("app-busy", 2);
});
