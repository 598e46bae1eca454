// Errors, attempts, retries and lifecycle events: protocol sections 14 and 15, and an app that misbehaves.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setup } from "../lib/inngest.mjs";
import { until } from "../lib/server.mjs";

test("a failing step is retried alone, and its attempts are its own", async (t) => {
  const tries = { ok: 0, flaky: 0 };
  const { server, app } = await setup(t, (create) => [
    create({ id: "flaky", retries: 3 }, { event: "test/flaky" }, async ({ step, attempt, maxAttempts }) => {
      await step.run("ok", () => { tries.ok++; });
      const n = await step.run("flaky", () => {
        if (++tries.flaky < 3) throw new Error(`try ${tries.flaky}`);
        return tries.flaky;
      });
      return { n, attempt, maxAttempts };
    }),
  ]);
  await app.send({ name: "test/flaky", data: {} });
  const { run, steps, attempts } = await server.result("app-flaky");
  assert.equal(run.status, "completed", JSON.stringify(run));
  assert.deepEqual(tries, { ok: 1, flaky: 3 });
  assert.equal(run.output.n, 3);
  assert.equal(run.output.attempt, 0);
  assert.deepEqual(attempts.map((a) => [a.name, a.attempt, a.error.message]), [["flaky", 0, "try 1"], ["flaky", 1, "try 2"]]);
  assert.equal(steps.find((s) => s.name === "flaky").attempt, 2);
});

test("a step that fails for good can be caught", async (t) => {
  let tries = 0;
  const { server, app } = await setup(t, (create, { NonRetriableError }) => [
    create({ id: "caught", retries: 1 }, { event: "test/caught" }, async ({ step }) => {
      const a = await step.run("exhausted", () => { tries++; throw new TypeError("always"); }).catch((e) => `${e.name}: ${e.message}`);
      const b = await step.run("final", () => { tries++; throw new NonRetriableError("stop"); }).catch((e) => e.message);
      return { a, b };
    }),
  ]);
  await app.send({ name: "test/caught", data: {} });
  const { run, steps } = await server.result("app-caught");
  assert.equal(run.status, "completed", JSON.stringify(run));
  assert.deepEqual(run.output, { a: "TypeError: always", b: "stop" });
  assert.equal(tries, 3);
  assert.deepEqual(steps.map((s) => [s.name, s.state, s.kind]), [["exhausted", "failed", "error"], ["final", "failed", "error"]]);
});

test("onFailure hears of the failure once, with the event and the error", async (t) => {
  const heard = [];
  const { server, app } = await setup(t, (create) => [
    create({ id: "doomed", retries: 0, onFailure: async ({ event, error }) => { heard.push({ event, message: error.message }); return "handled"; } },
      { event: "test/doomed" }, async ({ step }) => { await step.run("boom", () => { throw new Error("kaboom"); }); }),
  ]);
  await app.send({ name: "test/doomed", data: { who: "me" } });
  const { run } = await server.result("app-doomed");
  assert.equal(run.status, "failed");
  assert.equal(run.output.message, "kaboom");
  assert.ok(run.output.stack.includes("kaboom"));
  const { run: handler } = await server.result("app-doomed-failure");
  assert.equal(handler.status, "completed", JSON.stringify(handler));
  assert.equal(handler.output, "handled");
  assert.equal(heard.length, 1);
  assert.equal(heard[0].message, "kaboom");
  assert.equal(heard[0].event.data.run_id, run.id);
  assert.equal(heard[0].event.data.function_id, "app-doomed");
  assert.deepEqual(heard[0].event.data.event.data, { who: "me" });
  const { events } = await server.api("/events?internal=1");
  const names = events.map((e) => e.name);
  assert.equal(names.filter((n) => n === "inngest/function.failed").length, 1);
  assert.equal(names.filter((n) => n === "inngest/function.finished").length, 1, "none for the handler's own run");
});

test("inngest/function.finished and cancelled can be listened to", async (t) => {
  const seen = [];
  const { server, app } = await setup(t, (create) => [
    create({ id: "quick" }, { event: "test/quick" }, async () => ({ answer: 42 })),
    create({ id: "long" }, { event: "test/long" }, async ({ step }) => { await step.sleep("s", "1h"); }),
    create({ id: "on-finished" }, { event: "inngest/function.finished" }, async ({ event }) => { seen.push(event); }),
    create({ id: "on-cancelled" }, { event: "inngest/function.cancelled" }, async ({ event }) => { seen.push(event); }),
  ]);
  await app.send([{ name: "test/quick", data: {} }, { name: "test/long", data: {} }]);
  const id = await until("the sleep", async () => (await server.runs("&function=app-long&status=running"))[0]?.id);
  await until("sleeping", async () => (await server.run(id)).steps.some((s) => s.state === "sleeping"));
  await server.post(`/runs/${id}/cancel`);
  await until("four events", () => seen.length >= 3);
  const quick = seen.find((e) => e.data.function_id === "app-quick");
  assert.deepEqual(quick.data.result, { answer: 42 });
  assert.equal(quick.data._inngest.status, "Completed");
  const cancelled = seen.find((e) => e.name === "inngest/function.cancelled");
  assert.equal(cancelled.data.run_id, id);
});

test("RetryAfterError says when to come back", async (t) => {
  const at = [];
  const { server, app } = await setup(t, (create, { RetryAfterError }) => [
    create({ id: "later", retries: 1 }, { event: "test/later" }, async ({ step }) =>
      step.run("rate-limited", () => {
        at.push(Date.now());
        if (at.length === 1) throw new RetryAfterError("slow down", "2s");
        return "ok";
      })),
  ], { server: { args: ["--retry=0s"] } });
  await app.send({ name: "test/later", data: {} });
  const { run } = await server.result("app-later");
  assert.equal(run.output, "ok");
  assert.ok(at[1] - at[0] >= 1900, `came back after ${at[1] - at[0]} ms`);
});

/** An app whose first answers are broken in some way and whose later ones are the SDK's own. */
async function broken(t, first) {
  let n = 0;
  const ctx = await setup(t, (create) => [create({ id: "fn", retries: 3 }, { event: "test/broken" }, async ({ step }) => step.run("work", () => "done"))]);
  ctx.app.intercept((req, res) => {
    if (req.method !== "POST" || n++ > 0) return false;
    first(req, res);
    return true;
  });
  await ctx.app.send({ name: "test/broken", data: {} });
  return ctx.server.result("app-fn");
}

for (const [what, answer, expected] of [
  ["HTML with 200", (_, res) => res.writeHead(200, { "content-type": "text/html" }).end("<h1>Log in</h1>"), /did not come from an Inngest SDK/],
  ["a 500 page", (_, res) => res.writeHead(500).end("nginx says no"), /fatal error/],
  ["a 502 with nothing", (_, res) => res.writeHead(502).end(), /fatal error/],
  ["206 with something that is no list", (_, res) => res.writeHead(206, { "x-inngest-sdk": "js:v4", "content-type": "application/json" }).end("{oops"), /no list of ops/],
  ["a body over the limit", (_, res) => res.writeHead(200, { "x-inngest-sdk": "js:v4" }).end(Buffer.alloc(9 << 20, "x")), /larger than/],
  ["a connection that breaks before the answer", (req) => req.socket.destroy(), /could not be reached/],
  ["a connection that breaks in the middle", (_, res) => { res.writeHead(206, { "x-inngest-sdk": "js:v4", "content-length": "1000" }); res.write("[{"); setTimeout(() => res.destroy(), 20); }, /could not be reached/],
]) {
  test(`an app that answers ${what} is asked again, and the run shows what came`, async (t) => {
    const { run, attempts } = await broken(t, answer);
    assert.equal(run.status, "completed", JSON.stringify(run));
    assert.equal(run.output, "done");
    assert.equal(attempts.length, 1);
    assert.match(attempts[0].error.message, expected);
  });
}

test("an op that nobody knows fails the run and is named", async (t) => {
  const { server, app } = await setup(t, (create) => [create({ id: "fn", retries: 3 }, { event: "test/unknown" }, async () => 1)]);
  app.intercept((req, res) => {
    if (req.method !== "POST") return false;
    res.writeHead(206, { "x-inngest-sdk": "js:v9", "content-type": "application/json" }).end('[{"id":"a","op":"Teleport"}]');
    return true;
  });
  await app.send({ name: "test/unknown", data: {} });
  const { run } = await server.result("app-fn");
  assert.equal(run.status, "failed");
  assert.match(run.output.message, /Teleport/);
});

test("a streamed answer is unwrapped", async (t) => {
  const { server, app } = await setup(t, (create) => [create({ id: "fn", retries: 0 }, { event: "test/stream" }, async () => 1)]);
  app.intercept((req, res) => {
    if (req.method !== "POST") return false;
    res.writeHead(201, { "x-inngest-sdk": "js:v4" });
    res.write("   ");
    res.end(JSON.stringify({ status: 200, headers: {}, body: JSON.stringify({ streamed: true }) }));
    return true;
  });
  await app.send({ name: "test/stream", data: {} });
  const { run } = await server.result("app-fn");
  assert.deepEqual(run.output, { streamed: true });
});
