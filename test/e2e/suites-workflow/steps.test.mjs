// Runs and their steps: protocol sections 21 to 24 and 28, with each version of the library.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../lib/server.mjs";
import { sdks, setup } from "../lib/workflow.mjs";

const steps = (run) => run.steps.map((g) => [g.type, ...g.steps.map((s) => s.stepName ?? s.state)]);

for (const version of Object.keys(sdks)) {
  test(`${version}: steps run once, in order, and the run ends with the result`, async (t) => {
    const { app, wf, result, log } = await setup(t, version);
    const ran = [];
    const url = app.serve("/wf", async (context) => {
      const { n } = context.requestPayload;
      const a = await context.run("double", () => (ran.push("double"), n * 2));
      await context.sleep("pause", 1);
      const b = await context.run("describe", () => (ran.push("describe"), { text: `${a}!` }));
      return { b, header: context.headers.get("x-user") };
    });
    const { workflowRunId } = await wf.trigger({ url, body: { n: 4 }, headers: { "x-user": "u1" }, workflowRunId: "mine", label: "demo" });
    assert.equal(workflowRunId, "wfr_mine");
    assert.deepEqual(await result(workflowRunId), { b: { text: "8!" }, header: "u1" });
    assert.deepEqual(ran, ["double", "describe"]);
    assert.equal(app.at("/wf").length, 4);
    const run = await log(workflowRunId);
    assert.deepEqual(steps(run), [["sequential", "init"], ["sequential", "double"], ["sequential", "pause"], ["sequential", "describe"]]);
    assert.ok(run.steps.flatMap((g) => g.steps).every((s) => s.state === "STEP_SUCCESS"), JSON.stringify(run.steps));
    assert.deepEqual([run.label, run.workflowUrl, run.steps[0].steps[0].out, run.steps[1].steps[0].out, run.steps[2].steps[0].sleepFor], ["demo", url, '{"n":4}', "8", 1]);
    const [first, second, third] = app.at("/wf");
    assert.deepEqual(JSON.parse(first.text).map((s) => Buffer.from(s.body, "base64").toString()), ['{"n":4}']);
    assert.equal(JSON.parse(second.text).at(-1).messageId, second.headers["upstash-message-id"]);
    assert.deepEqual([second.headers["x-user"], second.headers["upstash-workflow-runid"], second.headers["upstash-workflow-sdk-version"]], ["u1", "wfr_mine", "1"]);
    assert.match(first.headers["upstash-workflow-createdat"], /^\d{13}$/);
    assert.ok(third.at - second.at >= 950, `the pause took ${third.at - second.at} ms`);
  });

  test(`${version}: parallel steps are planned, run and joined`, async (t) => {
    const { app, wf, result, log } = await setup(t, version);
    const ran = [];
    const url = app.serve("/wf", async (context) => {
      const [a, , c] = await Promise.all([
        context.run("a", () => (ran.push("a"), 1)),
        context.sleep("nap", 1),
        context.run("c", () => (ran.push("c"), 3)),
      ]);
      return context.run("sum", () => a + c);
    });
    const { workflowRunId } = await wf.trigger({ url });
    assert.equal(await result(workflowRunId), 4);
    assert.deepEqual(ran.toSorted(), ["a", "c"]);
    assert.equal(app.at("/wf").length, 1 + 3 + 3 + 1);
    assert.deepEqual(steps(await log(workflowRunId)), [["sequential", "init"], ["parallel", "a", "nap", "c"], ["sequential", "sum"]]);
    for (const call of app.at("/wf")) assert.equal(JSON.parse(call.text).at(-1).messageId, call.headers["upstash-message-id"]);
  });

  test(`${version}: a third party is called with its own retries, and its answer is the step's result`, async (t) => {
    const { app, wf, result, log } = await setup(t, version);
    let tries = 0;
    app.on("/third", async (request, call) => ++tries < 3 ? new Response("busy", { status: 503 }) : Response.json({ got: await request.json(), ua: call.headers["x-key"] ?? null }, { headers: { "x-r": "1" } }));
    app.on("/missing", () => new Response("nothing", { status: 404 }));
    const url = app.serve("/wf", async (context) => {
      const ok = await context.call("ask", { url: app.url("/third"), method: "POST", body: { q: 1 }, headers: { "x-key": "k" }, retries: 2, retryDelay: "50" });
      const no = await context.call("miss", { url: app.url("/missing"), method: "GET" });
      return { status: ok.status, body: ok.body, r: ok.header["X-R"] ?? ok.header["x-r"], miss: [no.status, no.body] };
    });
    const { workflowRunId } = await wf.trigger({ url, headers: { "x-user": "u" } });
    assert.deepEqual(await result(workflowRunId), { status: 200, body: { got: { q: 1 }, ua: "k" }, r: ["1"], miss: [404, "nothing"] });
    const asked = app.at("/third");
    assert.equal(asked.length, 3);
    assert.deepEqual(Object.keys(asked[0].headers).filter((k) => k.startsWith("upstash-workflow")), []);
    const back = app.at("/wf").filter((c) => c.headers["upstash-workflow-callback"] === "true");
    assert.equal(back.length, 2);
    assert.deepEqual([back[0].headers["upstash-workflow-sdk-version"], back[0].headers["x-user"], back[0].headers["upstash-workflow-stepid"]], [undefined, "u", "1"]);
    const run = await log(workflowRunId);
    const [, ask, miss] = run.steps.map((g) => g.steps[0]);
    assert.deepEqual([ask.stepType, ask.callUrl, ask.callMethod, ask.callResponseStatus, miss.callResponseStatus, miss.state], ["Call", app.url("/third"), "POST", 200, 404, "STEP_SUCCESS"]);
  });

  test(`${version}: a step that fails is retried, and in the end the run fails and tells of it`, async (t) => {
    const { app, wf, failed, log, q } = await setup(t, version);
    const told = [];
    const url = app.serve("/wf", async (context) => {
      await context.run("fine", () => 1);
      await context.run("boom", () => { throw new Error("no luck"); });
    }, {
      retries: 1, retryDelay: "50",
      failureFunction: ({ context, failStatus, failResponse }) => (told.push([context.requestPayload, failStatus, failResponse]), "noted"),
    });
    const { workflowRunId } = await wf.trigger({ url, body: { n: 1 }, retries: 1, retryDelay: "50", ...(version === "0.2.x" ? { failureUrl: url } : {}) });
    await failed(workflowRunId);
    await app.answered("/wf", 4);
    assert.deepEqual(told, [[{ n: 1 }, 500, "no luck"]]);
    const run = await log(workflowRunId);
    assert.deepEqual(run.steps.map((g) => [g.type, g.steps[0].state]), [["sequential", "STEP_SUCCESS"], ["sequential", "STEP_SUCCESS"], ["next", "STEP_FAILED"]]);
    assert.equal(run.steps[2].steps[0].errors.length, 2);
    if (version === "1.x") assert.equal(run.steps[2].steps[0].stepName, "boom");
    assert.equal(JSON.parse(run.steps[2].steps[0].errors[0].body).message, "no luck");
    const done = await until("the failure function", async () => {
      const f = (await log(workflowRunId)).failureFunction;
      return f.state === "CALLBACK_SUCCESS" && f;
    });
    assert.deepEqual([done.failStatus, done.url, JSON.parse(done.failResponse).message], [500, url, "no luck"]);
    const { messages } = (await q.raw("/v2/dlq?source=workflow")).body;
    assert.deepEqual([messages.length, messages[0].workflowRunId, messages[0].responseStatus, messages[0].body, messages[0].dlqId, messages[0].failureCallbackInfo.state],
      [1, workflowRunId, 500, '{"n":1}', run.dlqId, "CALLBACK_SUCCESS"]);
    assert.equal((await q.raw("/v2/dlq")).body.messages.length, 0);
  });

  test(`${version}: an error that is not to be retried fails the run at once`, async (t) => {
    const { app, wf, failed, sdk } = await setup(t, version);
    const url = app.serve("/wf", async (context) => {
      await context.run("never", () => { throw new sdk.WorkflowNonRetryableError("give up"); });
    });
    const { workflowRunId } = await wf.trigger({ url });
    const run = await failed(workflowRunId);
    assert.deepEqual(run.steps.map((g) => [g.type, g.steps[0].state]), [["sequential", "STEP_SUCCESS"], ["next", "STEP_FAILED"]]);
    assert.equal(run.steps[1].steps[0].errors.length, 1);
  });
}

test("a run is there once, and its id can be used again when it has ended", async (t) => {
  const { app, wf, result, q } = await setup(t);
  let release;
  const held = new Promise((ok) => (release = ok));
  const url = app.serve("/wf", async (context) => {
    await context.run("hold", () => held);
    return context.requestPayload;
  });
  await wf.trigger({ url, body: 1, workflowRunId: "one" });
  const again = await q.post("/v2/batch", [{ destination: url, headers: { "upstash-workflow-init": "true", "upstash-workflow-runid": "wfr_one", "upstash-workflow-url": url }, body: "2" }]);
  assert.deepEqual([again.status, again.body[0].deduplicated, again.body[0].workflowRunId], [200, true, "wfr_one"]);
  const publish = await q.post(`/v2/publish/${url}`, "2", { "upstash-workflow-init": "true", "upstash-workflow-runid": "wfr_one", "upstash-workflow-url": url });
  assert.equal(publish.status, 202);
  release();
  assert.equal(await result("wfr_one"), 1);
  await wf.trigger({ url, body: 3, workflowRunId: "one" });
  assert.equal(await result("wfr_one"), 3);
  assert.equal((await wf.logs({ filter: { workflowRunId: "wfr_one" } })).runs.length, 2);
});

test("a run that is over takes no more steps, can be ended twice and has no steps to fetch", async (t) => {
  const { app, wf, result, q } = await setup(t);
  const url = app.serve("/wf", async (context) => context.run("a", () => "x"));
  const { workflowRunId } = await wf.trigger({ url });
  assert.equal(await result(workflowRunId), "x");
  const headers = { "upstash-workflow-init": "false", "upstash-workflow-runid": workflowRunId, "upstash-workflow-url": url };
  const step = { stepId: 2, stepName: "late", stepType: "Run", out: "1", concurrent: 1 };
  const answers = await Promise.all([
    q.post("/v2/batch", [{ destination: url, headers, body: JSON.stringify(step) }]),
    q.post(`/v2/publish/${url}`, step, headers),
    q.post("/v2/wait/ev", { url, step, timeout: "1s" }, headers),
    q.post("/v2/batch", [{ destination: url, headers: { ...headers, "upstash-workflow-runid": "wfr_unknown" }, body: JSON.stringify(step) }]),
  ]);
  assert.deepEqual(answers.map((r) => r.status), [400, 400, 400, 400]);
  assert.ok(answers.every((r) => typeof r.body.error === "string"));
  assert.equal((await q.raw(`/v2/workflows/runs/${workflowRunId}`)).status, 404);
  assert.equal((await q.raw(`/v2/workflows/runs/${workflowRunId}?cancel=false`, { method: "DELETE" })).status, 200);
  assert.equal((await q.raw("/v2/workflows/runs/wfr_unknown", { method: "DELETE" })).status, 404);
});

test("runs are cancelled from inside and from outside, and then their steps go nowhere", async (t) => {
  const { app, wf, reached } = await setup(t);
  const url = app.serve("/wf", async (context) => {
    await context.run("a", () => 1);
    if (context.requestPayload === "inside") await context.cancel();
    await context.sleep("long", 3600);
  });
  const inside = await wf.trigger({ url, body: "inside" });
  await reached(inside.workflowRunId, "RUN_CANCELED");
  const a = await wf.trigger({ url, label: "x" }), b = await wf.trigger({ url }), c = await wf.trigger({ url });
  await app.answered("/wf", 8);
  assert.deepEqual(await wf.cancel({ ids: a.workflowRunId }), { cancelled: 1 });
  assert.deepEqual(await wf.cancel({ ids: [a.workflowRunId, "wfr_unknown"] }), { cancelled: 0 });
  await reached(a.workflowRunId, "RUN_CANCELED");
  assert.deepEqual(await wf.cancel({ urlStartingWith: app.url("/w") }), { cancelled: 2 });
  for (const r of [b, c]) await reached(r.workflowRunId, "RUN_CANCELED");
});

test("what is no workflow is found out by the first answer", async (t) => {
  const { app, wf, failed } = await setup(t);
  app.on("/plain", () => new Response("hello"));
  const { workflowRunId } = await wf.trigger({ url: app.url("/plain"), failureUrl: app.url("/failed") });
  const run = await failed(workflowRunId);
  assert.equal(run.steps[1].steps[0].errors[0].error, "detected a non-workflow destination for trigger/invoke. make sure you are sending the request to the correct endpoint");
  assert.equal(run.steps[1].steps[0].errors[0].body, "hello");
  const [f] = await app.answered("/failed");
  assert.equal(f.headers["upstash-workflow-is-failure"], "true");
});

test("a run that was started without the library is taken over by it", async (t) => {
  const { app, q, result, failed } = await setup(t);
  const url = app.serve("/wf", async (context) => {
    await context.run("a", () => 1);
    return [context.requestPayload, context.headers.get("x-a")];
  });
  const { status, body } = await q.post(`/v2/trigger/${url}`, { n: 1 }, { "upstash-forward-x-a": "1", "content-type": "application/json" });
  assert.equal(status, 200);
  assert.match(body.workflowRunId, /^wfr_/);
  assert.ok(body.workflowCreatedAt > 0);
  assert.deepEqual(await result(body.workflowRunId), [{ n: 1 }, "1"]);
  assert.equal(app.at("/wf").length, 3);
  assert.deepEqual(app.at("/wf").map((c) => c.headers["upstash-workflow-unknown-sdk"]), ["true", undefined, undefined]);
  app.on("/plain", () => new Response("hello"));
  const batch = await q.post("/v2/batch/trigger", [{ destination: url, body: "{}" }, { destination: app.url("/plain"), headers: { "upstash-workflow-runid": "own" } }]);
  assert.deepEqual([batch.status, batch.body.length, batch.body[1].workflowRunId], [201, 2, "own"]);
  const run = await failed("own");
  assert.equal(run.steps[1].steps[0].errors[0].error, "trigger rest api is only usable with sdk versions after v1.0.0 major version");
});

test("a message, a schedule's too, starts a run where it is delivered", async (t) => {
  const { app, q, wf } = await setup(t);
  const url = app.serve("/wf", async (context) => context.run("a", () => context.requestPayload));
  await q.client.publishJSON({ url, body: { from: "publish" } });
  const run = await until("the run", async () => (await wf.logs({ filter: { state: "RUN_SUCCESS" } })).runs[0]);
  assert.equal(run.workflowRunResponse, '{"from":"publish"}');
});

test("an answer can say when to come again", async (t) => {
  const { app, wf, result, sdk } = await setup(t);
  let tries = 0;
  const url = app.serve("/wf", async (context) => context.run("a", () => {
    if (++tries === 1) throw new sdk.WorkflowRetryAfterError("later", "1s");
    return tries;
  }));
  const { workflowRunId } = await wf.trigger({ url });
  assert.equal(await result(workflowRunId), 2);
  const [a, b] = app.at("/wf");
  assert.equal(a.status, 429);
  assert.ok(b.at - a.at >= 950, `it came after ${b.at - a.at} ms`);
  assert.equal(b.headers["upstash-retried"], "1");
});

test("the steps of a run can be fetched, up to now", async (t) => {
  const { app, wf, q, result } = await setup(t);
  let release;
  const held = new Promise((ok) => (release = ok));
  const url = app.serve("/wf", async (context) => {
    await context.run("a", () => 1);
    await context.run("hold", () => held);
    return "done";
  });
  const { workflowRunId } = await wf.trigger({ url, body: "p" });
  await until("the second call", () => app.at("/wf").length === 2);
  const { body } = await q.raw(`/v2/workflows/runs/${workflowRunId}`);
  assert.deepEqual(body, JSON.parse(app.at("/wf")[1].text));
  release();
  await result(workflowRunId);
});

test("a delay, a flow-control key and redaction hold for the whole run", async (t) => {
  const { app, wf, q, result, log } = await setup(t);
  const url = app.serve("/wf", async (context) => {
    await Promise.all([context.run("a", () => 1), context.run("b", () => 2)]);
  });
  const began = Date.now();
  const { workflowRunId } = await wf.trigger({ url, body: { secret: 1 }, delay: "1s", flowControl: { key: "wf", parallelism: 1 }, redact: { body: true } });
  await result(workflowRunId);
  assert.ok(app.at("/wf")[0].at - began >= 950);
  const { body } = await q.raw("/v2/flowControl/wf");
  assert.equal(body.parallelism ?? body.parallelismMax, 1);
  const run = await log(workflowRunId);
  assert.match(run.steps[0].steps[0].out, /^REDACTED:/);
  assert.equal(run.flowControlKey, "wf");
});
