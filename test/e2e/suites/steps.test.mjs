// Runs and steps: protocol sections 9 to 13.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setup } from "../lib/inngest.mjs";
import { until } from "../lib/server.mjs";

test("steps run in order, once each, and their values come back", async (t) => {
  const ran = [];
  const { server, app } = await setup(t, (create) => [
    create({ id: "two-steps" }, { event: "test/go" }, async ({ event, step, runId, attempt }) => {
      const a = await step.run("first", () => { ran.push("first"); return { n: event.data.n, runId, attempt }; });
      const b = await step.run("second", () => { ran.push("second"); return [a.n + 1, null, "x"]; });
      const c = await step.run("nothing", () => { ran.push("nothing"); });
      return { a, b, c: c ?? null };
    }),
  ]);
  await app.send({ name: "test/go", data: { n: 41 } });
  const { run, steps } = await server.result("app-two-steps");
  assert.equal(run.status, "completed");
  assert.deepEqual(run.output, { a: { n: 41, runId: run.id, attempt: 0 }, b: [42, null, "x"], c: null });
  assert.deepEqual(ran, ["first", "second", "nothing"]);
  assert.deepEqual(steps.map((s) => [s.name, s.state, s.kind]), [["first", "done", "data"], ["second", "done", "data"], ["nothing", "done", "data"]]);
});

test("sleeps hold nothing and wake", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "sleeper" }, { event: "test/sleep" }, async ({ step }) => {
      const before = await step.run("before", () => Date.now());
      await step.sleep("nap", "1s");
      await step.sleepUntil("past", new Date(Date.now() - 1000));
      const after = await step.run("after", () => Date.now());
      return after - before;
    }),
  ]);
  await app.send({ name: "test/sleep", data: {} });
  const { run, steps } = await server.result("app-sleeper");
  assert.equal(run.status, "completed");
  assert.ok(run.output >= 990, `slept ${run.output} ms`);
  assert.deepEqual(steps.map((s) => s.name), ["before", "nap", "past", "after"]);
});

test("parallel steps are planned, run by id and joined", async (t) => {
  const ran = [];
  const { server, app } = await setup(t, (create) => [
    create({ id: "parallel" }, { event: "test/par" }, async ({ step }) => {
      const out = await Promise.all([
        step.run("a", () => { ran.push("a"); return 1; }),
        step.run("b", () => { ran.push("b"); return 2; }),
        step.sleep("s", "1s").then(() => 3),
        step.run("d", () => { ran.push("d"); return 4; }),
      ]);
      const last = await step.run("last", () => { ran.push("last"); return 5; });
      return [...out, last];
    }),
  ]);
  await app.send({ name: "test/par", data: {} });
  const { run } = await server.result("app-parallel");
  assert.equal(run.status, "completed", JSON.stringify(run));
  assert.deepEqual(run.output, [1, 2, 3, 4, 5]);
  assert.deepEqual([...ran].sort(), ["a", "b", "d", "last"]);
});

test("a race is decided by what was done first", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "race" }, { event: "test/race" }, async ({ step }) => {
      return Promise.race([
        step.run("fast", () => "fast"),
        step.sleep("slow", "2s").then(() => "slow"),
      ]);
    }),
  ]);
  await app.send({ name: "test/race", data: {} });
  const { run } = await server.result("app-race");
  assert.equal(run.output, "fast");
});

test("the same step id may be used again", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "loop" }, { event: "test/loop" }, async ({ step }) => {
      const out = [];
      for (let i = 0; i < 12; i++) out.push(await step.run("again", () => i * i));
      return out;
    }),
  ]);
  await app.send({ name: "test/loop", data: {} });
  const { run, steps } = await server.result("app-loop");
  assert.deepEqual(run.output, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100, 121]);
  assert.equal(steps.length, 12);
});

test("step.sendEvent starts other functions", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "parent" }, { event: "test/fan" }, async ({ step }) => {
      const { ids } = await step.sendEvent("fan", [{ name: "test/leaf", data: { i: 0 } }, { name: "test/leaf", data: { i: 1 } }]);
      return ids.length;
    }),
    create({ id: "leaf" }, { event: "test/leaf" }, async ({ event }) => event.data.i),
  ]);
  await app.send({ name: "test/fan", data: {} });
  const { run } = await server.result("app-parent");
  assert.equal(run.output, 2);
  const leaves = await server.ended("app-leaf", 2);
  const outputs = await Promise.all(leaves.map(async (r) => (await server.run(r.id)).run.output));
  assert.deepEqual(outputs.sort(), [0, 1]);
});

test("waitForEvent resumes with the whole event, or null at its timeout", async (t) => {
  const { server, app } = await setup(t, (create) => [
    create({ id: "waiter" }, { event: "test/wait" }, async ({ step }) => {
      const hit = await step.waitForEvent("hit", { event: "test/answer", timeout: "1h", match: "data.id" });
      const miss = await step.waitForEvent("miss", { event: "test/answer", timeout: "1s", if: "async.data.id == 'nobody'" });
      return { hit, miss };
    }),
  ]);
  await app.send({ name: "test/wait", data: { id: 7 } });
  const id = await until("the wait", async () => {
    const [r] = await server.runs("&function=app-waiter");
    return r && (await server.run(r.id)).steps.find((s) => s.state === "waiting") && r.id;
  });
  await app.send({ name: "test/answer", data: { id: 8, text: "other" } });
  await app.send({ name: "test/answer", data: { id: 7, text: "mine" } });
  await server.ended("app-waiter");
  const { run } = await server.run(id);
  assert.equal(run.status, "completed");
  assert.equal(run.output.hit.name, "test/answer");
  assert.deepEqual(run.output.hit.data, { id: 7, text: "mine" });
  assert.equal(run.output.miss, null);
});

test("invoke returns the other function's result, its failure, or a timeout", async (t) => {
  let child, failing, slow;
  const { server, app } = await setup(t, (create, { NonRetriableError }) => {
    child = create({ id: "child" }, { event: "test/never" }, async ({ event }) => ({ doubled: event.data.n * 2 }));
    failing = create({ id: "failing", retries: 0 }, { event: "test/never" }, async () => { throw new NonRetriableError("no way"); });
    slow = create({ id: "slow" }, { event: "test/never" }, async ({ step }) => { await step.sleep("long", "1h"); });
    return [child, failing, slow,
      create({ id: "caller" }, { event: "test/call" }, async ({ step }) => {
        const ok = await step.invoke("ok", { function: child, data: { n: 21 } });
        const bad = await step.invoke("bad", { function: failing, data: {} }).catch((e) => `caught ${e.message}`);
        const late = await step.invoke("late", { function: slow, data: {}, timeout: "1s" }).catch(() => "timed out");
        return { ok, bad, late };
      })];
  });
  await app.send({ name: "test/call", data: {} });
  const { run } = await server.result("app-caller");
  assert.equal(run.status, "completed", JSON.stringify(run));
  assert.deepEqual(run.output, { ok: { doubled: 42 }, bad: "caught no way", late: "timed out" });
});
