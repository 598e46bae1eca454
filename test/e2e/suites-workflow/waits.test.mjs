// Waits, notifications, webhooks and invoked runs: protocol sections 26 and 27, with each version of the library.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../lib/server.mjs";
import { sdks, setup } from "../lib/workflow.mjs";

for (const version of Object.keys(sdks)) {
  test(`${version}: an event resumes all who wait for it, with its data`, async (t) => {
    const { app, wf, q, result, log } = await setup(t, version);
    const url = app.serve("/wf", async (context) => {
      const { eventData, timeout } = await context.waitForEvent("approval", "order/42 ok", { timeout: "1h" });
      return { eventData, timeout };
    });
    const runs = [await wf.trigger({ url }), await wf.trigger({ url })].map((r) => r.workflowRunId);
    const waiters = await until("two to wait", async () => {
      const list = await wf.getWaiters({ eventId: "order/42 ok" });
      return list.length === 2 && list;
    });
    assert.ok(runs.includes(waiters[0].headers["Upstash-Workflow-Runid"][0]));
    assert.ok(Math.abs(waiters[0].deadline - Date.now() / 1000 - 3600) < 60);
    const waiting = (await log(runs[0])).steps[1].steps[0];
    assert.deepEqual([waiting.stepName, waiting.stepType, waiting.state, waiting.waitEventId, waiting.waitTimeoutDuration], ["approval", "Wait", "STEP_PROGRESS", "order/42 ok", "3600s"]);
    const told = await wf.notify({ eventId: "order/42 ok", eventData: { by: "äb" } });
    assert.deepEqual(told.map((n) => n.workflowRunId).toSorted(), runs.toSorted());
    assert.ok(told.every((n) => n.messageId && !("error" in n) && n.workflowCreatedAt > 0));
    for (const id of runs) assert.deepEqual(await result(id), { eventData: { by: "äb" }, timeout: false });
    assert.deepEqual(await wf.notify({ eventId: "order/42 ok" }), []);
    assert.deepEqual((await q.raw("/v2/waiters/order%2F42%20ok")).body, []);
  });

  test(`${version}: a wait that nobody ends is over at its time, and not again by a late event`, async (t) => {
    const { app, wf, result, log } = await setup(t, version);
    let release;
    const held = new Promise((ok) => (release = ok));
    const url = app.serve("/wf", async (context) => {
      const { eventData, timeout } = await context.waitForEvent("w", "ev", { timeout: "1s" });
      await context.run("hold", () => held);
      return [eventData ?? null, timeout];
    });
    const { workflowRunId } = await wf.trigger({ url });
    await app.answered("/wf", 1);
    await until("the time-out", async () => (await log(workflowRunId)).steps[1]?.steps[0].waitTimeout === true);
    assert.deepEqual(await wf.notify({ eventId: "ev", eventData: "late" }), []);
    release();
    assert.deepEqual(await result(workflowRunId), [null, true]);
  });

  test(`${version}: a run can notify another and invoke another, whose result it gets`, async (t) => {
    const { app, wf, result, log, reached, sdk } = await setup(t, version);
    app.serve("/sleeper", async (context) => (await context.waitForEvent("w", "wake")).eventData);
    const sleeper = await wf.trigger({ url: app.url("/sleeper") });
    await until("one to wait", async () => (await wf.getWaiters({ eventId: "wake" })).length === 1);
    const base = app.serveMany("/many/", (createWorkflow) => {
      const child = createWorkflow(async (context) => {
        const n = await context.run("square", () => context.requestPayload.n ** 2);
        if (n > 100) throw new sdk.WorkflowNonRetryableError("too large");
        if (n === 0) await context.cancel();
        return { n, h: context.headers.get("x-h") };
      });
      const parent = createWorkflow(async (context) => {
        const good = await context.invoke("good", { workflow: child, body: { n: 3 }, headers: { "x-h": "v" } });
        const [bad, none] = await Promise.all([
          context.invoke("bad", { workflow: child, body: { n: 30 }, retries: 0 }),
          context.invoke("none", { workflow: child, body: { n: 0 } }),
        ]);
        const { notifyResponse } = await context.notify("tell", "wake", { from: "parent" });
        return { good, bad: [bad.isFailed, bad.isCanceled], none: [none.isFailed, none.isCanceled], told: notifyResponse.length };
      });
      return { parent, child };
    });
    const { workflowRunId } = await wf.trigger({ url: `${base}parent` });
    assert.deepEqual(await result(workflowRunId), {
      good: { body: { n: 9, h: "v" }, isFailed: false, isCanceled: false }, bad: [true, false], none: [false, true], told: 1,
    });
    assert.deepEqual(await result(sleeper.workflowRunId), { from: "parent" });
    const run = await log(workflowRunId);
    const [, good] = run.steps.map((g) => g.steps[0]);
    assert.deepEqual([good.stepType, good.state, good.invokedWorkflowUrl, good.invokedWorkflowRunBody], ["Invoke", "STEP_SUCCESS", `${base}child`, '{"n":3}']);
    const child = await reached(good.invokedWorkflowRunId, "RUN_SUCCESS");
    assert.deepEqual([child.invoker.workflowRunId, child.invoker.workflowUrl], [workflowRunId, `${base}parent`]);
    assert.equal(app.calls.find((c) => c.path === "/many/child").headers["upstash-workflow-invoke-count"], "1");
  });
}

test("a notification for one run waits until a step asks for it, first come first served", async (t) => {
  const { app, wf, q, result } = await setup(t);
  let release;
  const held = new Promise((ok) => (release = ok));
  const url = app.serve("/wf", async (context) => {
    await context.run("hold", () => held);
    const a = await context.waitForEvent("a", "ev", { timeout: 10 });
    const b = await context.waitForEvent("b", "ev", { timeout: 10 });
    const c = await context.waitForEvent("c", "ev", { timeout: 1 });
    return [a.eventData, b.eventData, c.timeout];
  });
  const { workflowRunId } = await wf.trigger({ url });
  assert.deepEqual(await wf.notify({ eventId: "ev", eventData: "one", workflowRunId }), []);
  assert.deepEqual(await wf.notify({ eventId: "ev", eventData: "two", workflowRunId }), []);
  release();
  assert.deepEqual(await result(workflowRunId), ["one", "two", true]);
  assert.equal((await q.post(`/v2/notify/${workflowRunId}/ev`, "three")).status, 404);
  assert.equal((await q.post("/v2/notify/wfr_unknown/ev", "three")).status, 404);
});

test("a webhook takes any call, also before a step waits for it", async (t) => {
  const { app, wf, result, server } = await setup(t);
  const hooks = [];
  const url = app.serve("/wf", async (context) => {
    const hook = await context.createWebhook("make");
    await context.run("tell", () => void hooks.push(hook));
    const first = await context.waitForWebhook("first", hook, "1h");
    const second = await context.waitForWebhook("second", hook, "1h");
    const late = await context.waitForWebhook("late", hook, "1s");
    const read = async ({ request: r, timeout }) => [timeout, r.method, new URL(r.url).search, r.headers.get("x-h"), await r.text()];
    return [await read(first), await read(second), late.timeout];
  });
  const { workflowRunId } = await wf.trigger({ url });
  const { webhookUrl } = await until("the webhook", () => hooks[0]);
  assert.ok(webhookUrl.startsWith(`${server.url}/v2/workflows/hooks/defaultUser/${workflowRunId}/evt_`), webhookUrl);
  assert.equal((await fetch(`${webhookUrl}?a=1`, { method: "PUT", body: "x\u0000y", headers: { "x-h": "1" } })).status, 200);
  assert.equal((await fetch(`${webhookUrl}?a=2`)).status, 200);
  assert.deepEqual(await result(workflowRunId), [[false, "PUT", "?a=1", "1", "x\u0000y"], [false, "GET", "?a=2", null, ""], true]);
  assert.equal((await fetch(webhookUrl)).status, 404);
  assert.equal((await fetch(`${server.url}/v2/workflows/hooks/u/wfr_unknown/evt_1`)).status, 404);
});

test("waiting in parallel with work: whoever is done first does not disturb the other", async (t) => {
  const { app, wf, result } = await setup(t);
  const url = app.serve("/wf", async (context) => {
    const [w, r, s] = await Promise.all([
      context.waitForEvent("w", "ev", { timeout: "1h" }),
      context.run("r", () => "ran"),
      context.call("c", { url: app.url("/third"), method: "GET" }),
    ]);
    return [w.eventData, r, s.body];
  });
  app.on("/third", () => new Response("3"));
  const { workflowRunId } = await wf.trigger({ url });
  await until("one to wait", async () => (await wf.getWaiters({ eventId: "ev" })).length === 1);
  await wf.notify({ eventId: "ev", eventData: "came" });
  assert.deepEqual(await result(workflowRunId), ["came", "ran", 3]);
});

test("bad input of waits, notifications and runs is refused and changes nothing", async (t) => {
  const { app, wf, q, log } = await setup(t);
  const url = app.serve("/wf", async (context) => context.waitForEvent("w", "ev", { timeout: "1h" }));
  const { workflowRunId } = await wf.trigger({ url });
  await until("one to wait", async () => (await wf.getWaiters({ eventId: "ev" })).length === 1);
  const before = JSON.stringify(await log(workflowRunId));
  const headers = { "upstash-workflow-init": "false", "upstash-workflow-runid": workflowRunId, "upstash-workflow-url": url };
  const step = { stepId: 1, stepName: "w", stepType: "Wait", concurrent: 1 };
  for (const [path, body, extra] of [
    ["/v2/wait/ev", "{", headers],
    ["/v2/wait/ev", { url, timeout: "1s" }, headers],
    ["/v2/wait/ev", { url, timeout: "soon", step }, headers],
    ["/v2/wait/", { url, timeout: "1s", step }, headers],
    ["/v2/wait/ev", { url, timeout: "1s", step }, {}],
    [`/v2/publish/${url}`, "no step", headers],
    [`/v2/publish/${url}`, { stepId: -1 }, headers],
    [`/v2/publish/${url}`, "{}", { ...headers, "upstash-workflow-init": "maybe" }],
    [`/v2/publish/${url}`, "{}", { "upstash-workflow-init": "true" }],
    [`/v2/publish/${url}`, "{}", { ...headers, "upstash-workflow-init": "true", "upstash-workflow-invoke": "true" }],
    [`/v2/publish/${url}`, "{}", { ...headers, "upstash-workflow-runid": "new", "upstash-workflow-init": "true", "upstash-forward-upstash-workflow-invoke-count": "101" }],
    [`/v2/publish/${url}`, "x", { ...headers, "upstash-workflow-calltype": "toCallback" }],
    ["/v2/trigger/group", "x", {}],
  ]) {
    const r = await q.post(path, body, extra);
    assert.deepEqual([r.status, typeof r.body.error], [400, "string"], `${path} ${JSON.stringify(body)}: ${r.status} ${r.text}`);
  }
  assert.equal((await q.raw("/v2/wait/ev")).status, 405);
  assert.equal((await q.raw("/v2/workflows/logs?colour=red")).status, 400);
  assert.equal((await q.raw("/v2/workflows/logs?cursor=x")).status, 400);
  assert.equal((await q.raw("/v2/workflows/runs?workflowUrl=", { method: "DELETE" })).status, 400);
  assert.equal((await q.raw("/v2/workflows/nothing")).status, 404);
  assert.deepEqual((await q.raw("/v2/waiters/none")).body, []);
  assert.deepEqual((await q.post("/v2/notify/none", "x")).body, []);
  // The same wait again is the one that there is.
  assert.equal((await q.post("/v2/wait/ev", { url, timeout: "1s", step }, headers)).status, 200);
  assert.equal((await wf.getWaiters({ eventId: "ev" })).length, 1);
  assert.equal(JSON.stringify(await log(workflowRunId)), before);
});
