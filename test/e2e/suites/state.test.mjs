// State that is large, shared with running calls, or has to survive: protocol sections 19, 20, 31, and reruns.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { sdk, setup, startApp } from "../lib/inngest.mjs";
import { freePort, startServer, until } from "../lib/server.mjs";

const pause = (ms) => new Promise((r) => setTimeout(r, ms));

test("state over four megabytes is fetched back by the SDK", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "big" }, { event: "test/big" }, async ({ event, step }) => {
      const parts = [];
      for (let i = 0; i < 3; i++) parts.push(await step.run(`part-${i}`, () => "x".repeat(1_800_000)));
      await step.sleep("s", "1s"); // the call after it needs everything
      return [event.data.text.length, ...parts.map((p) => p.length)];
    }),
  ]);
  const fetched = [];
  const real = globalThis.fetch;
  globalThis.fetch = (...a) => { fetched.push(String(a[0]?.url ?? a[0])); return real(...a); };
  t.after(() => { globalThis.fetch = real; });
  await app.send({ name: "test/big", data: { text: "y".repeat(500_000) } });
  const { run } = await server.result("app-big");
  assert.deepEqual(run.output, [500_000, 1_800_000, 1_800_000, 1_800_000]);
  const gone = await real(`${server.url}/v0/runs/${run.id}/actions`);
  assert.equal(gone.status, 410);
  assert.match((await gone.json()).error, /no longer available/);
  assert.equal((await real(`${server.url}/v0/runs/nonsense/batch`)).status, 400);
});

test("limits: too many steps, too long a sleep", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "long", retries: 5 }, { event: "test/limit" }, async ({ step }) => { await step.sleep("s", "400d"); }),
    create({ id: "many", retries: 5 }, { event: "test/limit" }, async ({ step }) => {
      await Promise.all(Array.from({ length: 1001 }, (_, i) => step.sleep(`s${i}`, "1s")));
    }),
  ]);
  await app.send({ name: "test/limit", data: {} });
  assert.equal((await server.result("app-long")).run.output.name, "InngestErrTimeoutTooLong");
  assert.equal((await server.result("app-many")).run.output.name, "InngestErrFunctionOverflowed");
});

test("checkpoints: steps are stored while the call runs, and a stale call is told to stop", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "cp" }, { event: "test/cp" }, async ({ step }) => {
      await step.run("one", () => 1);
      await step.run("two", () => 2);
      return "end";
    }),
  ], { client: sdk.name === "v3" ? { checkpointing: true } : {} });
  await app.send({ name: "test/cp", data: {} });
  const { run, steps } = await server.result("app-cp");
  assert.equal(run.output, "end");
  assert.deepEqual(steps.map((s) => s.name), ["one", "two"]);
  if (sdk.name === "v4") assert.equal(app.calls.length, 1, "one call for the whole function");
  for (const [path, body, status] of [
    [`/v1/checkpoint/${run.id}/async`, { qi_id: `${run.id}-1`, steps: [] }, 400],
    [`/v1/checkpoint/${run.id}/async`, "{", 400],
    [`/v1/checkpoint/${run.id}/async`, { qi_id: `${run.id}-1`, steps: [{ id: "x", op: "Sleep", name: "1s" }] }, 400],
    ["/v1/checkpoint/nonsense/async", { steps: [] }, 400],
  ]) {
    const r = await fetch(server.url + path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
    assert.equal(r.status, status, await r.text());
  }
});

test("a stale request gets 409, and the same checkpoint twice is harmless", async (t) => {
  let release, ctx;
  const { server, app } = await setup(t, (create) => [create({ id: "held", retries: 2 }, { event: "test/held" }, async ({ step }) => step.run("last", () => "mine"))]);
  app.intercept((req, res) => {
    if (req.method !== "POST" || ctx) return false;
    let body = "";
    req.on("data", (b) => (body += b));
    req.on("end", () => { ctx = JSON.parse(body).ctx; });
    release = () => res.writeHead(500, { "x-inngest-sdk": "js:v4" }).end('{"message":"died"}');
    return true;
  });
  await app.send({ name: "test/held", data: {} });
  await until("the call", () => ctx);
  const post = (extra = {}) => fetch(`${server.url}/v1/checkpoint/${ctx.run_id}/async`, {
    method: "POST",
    body: JSON.stringify({ run_id: ctx.run_id, fn_id: ctx.fn_id, qi_id: ctx.qi_id, request_id: ctx.request_id, generation_id: ctx.generation_id, ts: Date.now(),
      steps: [{ id: "a".repeat(40), op: "StepRun", displayName: "early", data: { kept: true } }], ...extra }),
  });
  assert.equal((await post()).status, 200);
  assert.equal((await post()).status, 200);
  assert.equal((await server.run(ctx.run_id)).steps[0].name, "early");
  release();
  const { run, steps } = await server.result("app-held");
  assert.equal(run.output, "mine");
  assert.deepEqual(steps.map((s) => [s.name, s.kind]), [["early", "data"], ["last", "data"]]);
  assert.equal((await post()).status, 400, "the run is over");
});

test("kill -9: sleeping, waiting, delayed, debounced, batched and throttled work goes on", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "quartet-e2e-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const port = await freePort();
  let server = await startServer({ dir, port });
  t.after(() => server.close());
  const ran = [];
  const app = await startApp(server, (create) => [
    create({ id: "sleeps" }, { event: "test/k" }, async ({ step }) => {
      await step.run("before", () => { ran.push("before"); });
      await step.sleep("nap", "2s");
      await step.run("after", () => { ran.push("after"); });
      return "slept";
    }),
    create({ id: "waits" }, { event: "test/k" }, async ({ step }) => (await step.waitForEvent("w", { event: "test/wake", timeout: "1h", match: "data.k" }))?.data),
    create({ id: "deb", debounce: { period: "2s" } }, { event: "test/k" }, async () => "debounced"),
    create({ id: "batch", batchEvents: { maxSize: 10, timeout: "2s" } }, { event: "test/k" }, async ({ events }) => events.length),
    create({ id: "thr", throttle: { limit: 1, period: "2s" } }, { event: "test/thr" }, async ({ event }) => event.data.i),
    create({ id: "cancelled", cancelOn: [{ event: "test/stop", match: "data.k" }] }, { event: "test/k" }, async ({ step }) => { await step.sleep("s", "1h"); }),
    create({ id: "slow", retries: 1 }, { event: "test/slow" }, async ({ step }) => step.run("s", async () => { ran.push("slow"); if (ran.filter((x) => x === "slow").length === 1) await pause(60_000); return "redone"; })),
  ]);
  t.after(() => app.close());
  await app.send([{ name: "test/k", data: { k: 1 } }, ...[0, 1, 2].map((i) => ({ name: "test/thr", data: { i } })), { name: "test/slow", data: {} }, { name: "test/k", data: { k: 1 }, ts: Date.now() + 3000 }]);
  await until("everything to be parked", async () => {
    const runs = await server.runs();
    const steps = await Promise.all(runs.filter((r) => /sleeps|waits|cancelled/.test(r.function) && r.startedAt).map(async (r) => (await server.run(r.id)).steps));
    return ran.includes("slow") && steps.length === 3 && steps.every((s) => s.some((x) => x.dueAt));
  });
  await server.stop("SIGKILL");
  server = await startServer({ dir, port });
  await app.send([{ name: "test/wake", data: { k: 1, hello: true } }, { name: "test/stop", data: { k: 1 } }]);
  const outputs = async (fn, n) => (await Promise.all((await server.ended(fn, n)).map(async (r) => (await server.run(r.id)).run))).map((r) => r.output ?? r.status);
  assert.deepEqual(await outputs("app-sleeps", 2), ["slept", "slept"]);
  assert.deepEqual((await outputs("app-deb", 1)), ["debounced"]);
  assert.deepEqual((await outputs("app-batch", 1)), [2]);
  assert.deepEqual((await outputs("app-thr", 3)).sort(), [0, 1, 2]);
  assert.deepEqual(await outputs("app-slow", 1), ["redone"]);
  assert.ok((await outputs("app-cancelled", 2)).includes("cancelled"));
  assert.deepEqual(ran.filter((x) => x === "before").length, 2, "a stored step is not run again");
  await app.send({ name: "test/wake", data: { k: 1, hello: true } });
  assert.deepEqual((await outputs("app-waits", 2)), [{ k: 1, hello: true }, { k: 1, hello: true }]);
});

test("SIGTERM lets calls finish and their answers be stored", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "quartet-e2e-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const port = await freePort();
  let server = await startServer({ dir, port });
  t.after(() => server.close());
  let started = 0;
  const app = await startApp(server, (create) => [create({ id: "fn" }, { event: "test/term" }, async ({ step }) => step.run("s", async () => { started++; await pause(700); return "kept"; }))]);
  t.after(() => app.close());
  await app.send({ name: "test/term", data: {} });
  await until("the call", () => started === 1);
  assert.deepEqual(await server.stop("SIGTERM"), { code: 0, signal: null });
  server = await startServer({ dir, port });
  const { run } = await server.result("app-fn");
  assert.equal(run.output, "kept");
  assert.equal(started, 1);
});

test("rerun, and rerun from a step with other input", async (t) => {
  const ran = [];
  const { server, app } = await setup(t, (create) => [
    create({ id: "re", idempotency: "event.data.x" }, { event: "test/re" }, async ({ event, step }) => {
      const a = await step.run("a", () => { ran.push("a"); return event.data.x; });
      const b = await step.run("b", (...args) => { ran.push("b"); return ["b", ...args]; }, a);
      const c = await step.run("c", () => { ran.push("c"); return "c"; });
      return [a, b, c];
    }),
  ]);
  await app.send({ name: "test/re", data: { x: 5 } });
  const { run, steps } = await server.result("app-re");
  assert.deepEqual(run.output, [5, ["b", 5], "c"]);
  ran.length = 0;
  const again = await server.post(`/runs/${run.id}/rerun`);
  await server.ended("app-re", 2);
  assert.deepEqual((await server.run(again.run)).run.output, [5, ["b", 5], "c"]);
  assert.equal((await server.run(again.run)).run.original, run.id);
  assert.deepEqual(ran, ["a", "b", "c"]);
  ran.length = 0;
  const b = steps.find((s) => s.name === "b");
  const from = await server.post(`/runs/${run.id}/rerun`, { fromStep: b.id, input: [99] });
  await server.ended("app-re", 3);
  const third = await server.run(from.run);
  assert.deepEqual(third.run.output, [5, ["b", 99], "c"], JSON.stringify(third));
  assert.deepEqual(ran, ["b", "c"], "what came before is not run again");
  await assert.rejects(server.post(`/runs/${run.id}/rerun`, { fromStep: "nonsense" }), /404/);
  await assert.rejects(server.post("/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV/rerun"), /404/);
});
