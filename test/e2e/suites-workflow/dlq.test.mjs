// Failed runs, their failure callbacks, and going on with them: protocol sections 29 to 31; and what a crash leaves.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../lib/server.mjs";
import { startServer } from "../lib/server.mjs";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectWorkflow, sdks, setup } from "../lib/workflow.mjs";

/** A workflow whose second step fails until it is mended. */
function broken(app, path = "/wf", options = {}) {
  const state = { broken: true, ran: [] };
  state.url = app.serve(path, async (context) => {
    const a = await context.run("a", () => (state.ran.push("a"), 1));
    const b = await context.run("b", () => {
      if (state.broken) throw new Error("broken");
      return state.ran.push("b"), 2;
    });
    return [a, b, context.requestPayload, context.headers.get("x-user")];
  }, options);
  return state;
}

for (const version of Object.keys(sdks)) {
  test(`${version}: a failed run is resumed where it failed, or restarted`, async (t) => {
    const { app, wf, failed, result, log } = await setup(t, version);
    const b = broken(app);
    const start = () => wf.trigger({ url: b.url, body: "p", headers: { "x-user": "u" }, retries: 0, ...(version === "0.2.x" ? { keepTriggerConfig: true } : {}) });
    const runs = [await start(), await start()].map((r) => r.workflowRunId);
    for (const id of runs) await failed(id);
    b.broken = false;
    const dlqIds = await Promise.all(runs.map(async (id) => (await log(id)).dlqId));
    const resumed = await wf.dlq.resume({ dlqId: dlqIds[0] });
    assert.notEqual(resumed.workflowRunId, runs[0]);
    assert.deepEqual(await result(resumed.workflowRunId), [1, 2, "p", "u"]);
    assert.deepEqual(b.ran, ["a", "a", "b"]);
    const [restarted] = await wf.dlq.restart({ dlqId: [dlqIds[1]] });
    assert.deepEqual(await result(restarted.workflowRunId), [1, 2, "p", "u"]);
    assert.deepEqual(b.ran, ["a", "a", "b", "a", "b"]);
    assert.equal((await wf.dlq.list()).messages.length, 0);
    const steps = (await log(resumed.workflowRunId)).steps.map((g) => g.steps[0].stepName);
    assert.deepEqual(steps, ["init", "a", "b"]);
  });
}

test("dead letters of runs are listed, filtered, paged and deleted, apart from those of messages", async (t) => {
  const { app, wf, failed, q } = await setup(t);
  const b = broken(app), other = broken(app, "/other");
  const ids = [];
  for (const [url, label] of [[b.url, "one"], [b.url, "two"], [other.url, "one"]]) {
    ids.push((await wf.trigger({ url, retries: 0, label })).workflowRunId);
    await failed(ids.at(-1));
  }
  const message = await q.client.publish({ url: app.url("/nothing"), retries: 0 });
  await q.dead(message.messageId);
  assert.equal((await q.client.dlq.listMessages()).messages.length, 1);
  const list = async (filter) => (await wf.dlq.list({ filter })).messages.map((m) => m.workflowRunId);
  assert.deepEqual(await list(), ids.toReversed());
  assert.deepEqual(await list({ label: "one" }), [ids[2], ids[0]]);
  assert.deepEqual(await list({ workflowUrl: other.url }), [ids[2]]);
  assert.deepEqual(await list({ workflowRunId: ids[1], responseStatus: 500 }), [ids[1]]);
  const page = await wf.dlq.list({ count: 2 });
  assert.deepEqual([page.messages.length, (await wf.dlq.list({ count: 2, cursor: page.cursor })).messages.map((m) => m.workflowRunId)], [2, [ids[0]]]);
  const { dlqId } = page.messages[0];
  const one = (await q.raw(`/v2/workflows/dlq/${dlqId}`)).body;
  assert.deepEqual([one.workflowRunId, one.workflowUrl, one.responseStatus, one.label], [ids[2], other.url, 500, "one"]);
  assert.equal((await q.raw(`/v2/workflows/dlq/${dlqId}`, { method: "DELETE" })).status, 200);
  assert.equal((await q.raw(`/v2/workflows/dlq/${dlqId}`, { method: "DELETE" })).status, 404);
  assert.equal((await q.post(`/v2/workflows/dlq/resume/${dlqId}`)).status, 404);
  b.broken = false;
  const resumed = await q.post(`/v2/workflows/dlq/restart?label=two`, undefined, { "Upstash-Label": "again", "Upstash-Retries": "5" });
  assert.deepEqual([resumed.status, resumed.body.workflowRuns.length], [200, 1]);
  const run = await until("the run", async () => (await wf.logs({ filter: { label: "again", state: "RUN_SUCCESS" } })).runs[0]);
  assert.deepEqual([run.workflowRunId, run.steps[0].steps[0].retries], [resumed.body.workflowRuns[0].workflowRunId, 5]);
  assert.deepEqual((await q.raw("/v2/workflows/dlq", { method: "DELETE" })).body, { deleted: 1 });
  assert.deepEqual((await q.post("/v2/workflows/dlq/resume?label=none")).body, { workflowRuns: [] });
  assert.equal((await q.post("/v2/workflows/dlq/resume?lable=none")).status, 400);
});

test("a failure callback that fails can be made again, and makes no dead letter of its own", async (t) => {
  const { app, wf, q, failed, log } = await setup(t);
  let well = false;
  app.on("/fail", () => new Response("down", { status: 500 }));
  app.on("/told", () => (well ? new Response("thanks") : new Response("no", { status: 500 })));
  const { workflowRunId } = await wf.trigger({ url: app.url("/fail"), failureUrl: app.url("/told"), retries: 0, body: "p" });
  const { dlqId } = await failed(workflowRunId);
  const state = (want) => until(`the callback to be ${want}`, async () => {
    const [m] = (await wf.dlq.list({ filter: { workflowRunId } })).messages;
    return m.failureCallbackInfo?.state === want && m;
  });
  const entry = await state("CALLBACK_FAIL");
  assert.deepEqual([entry.failureCallbackInfo.responseStatus, entry.failureCallbackInfo.responseBody], [500, "no"]);
  const told = JSON.parse(app.at("/told")[0].text);
  assert.deepEqual([told.status, told.workflowRunId, told.dlqId, told.sourceBody, told.url, told.retried, told.maxRetries],
    [500, workflowRunId, dlqId, Buffer.from("p").toString("base64"), app.url("/fail"), 0, 0]);
  assert.equal((await q.raw("/v2/dlq")).body.messages.length, 0);
  well = true;
  await wf.dlq.retryFailureFunction({ dlqId });
  await state("CALLBACK_SUCCESS");
  assert.equal((await q.post(`/v2/workflows/dlq/callback/${dlqId}`)).status, 400);
  const f = (await log(workflowRunId)).failureFunction;
  assert.deepEqual([f.state, f.responseBody, f.failResponse, f.failStatus], ["CALLBACK_SUCCESS", "thanks", "down", 500]);
});

test("runs are listed page by page, newest first", async (t) => {
  const { app, wf, q, result } = await setup(t);
  const url = app.serve("/wf", async (context) => context.run("a", () => 1));
  const ids = [];
  for (const n of [1, 2, 3]) {
    ids.unshift((await wf.trigger({ url, body: n, label: ["all", `n${n}`] })).workflowRunId);
    await result(ids[0]);
  }
  const page = await wf.logs({ count: 2 });
  assert.deepEqual(page.runs.map((r) => r.workflowRunId), ids.slice(0, 2));
  const rest = await wf.logs({ count: 2, cursor: page.cursor });
  assert.deepEqual([rest.runs.map((r) => r.workflowRunId), rest.cursor || ""], [ids.slice(2), ""]);
  assert.deepEqual((await wf.logs({ filter: { label: "n2" } })).runs.map((r) => r.labels), [["all", "n2"]]);
  assert.deepEqual((await q.raw(`/v2/workflows/logs?workflowUrl=${encodeURIComponent(url)}&state=RUN_SUCCESS&count=1`)).body.runs.length, 1);
  const [run] = page.runs;
  const ref = `${run.workflowRunId}@${run.workflowRunCreatedAt}`;
  assert.deepEqual((await q.raw(`/v2/workflows/logs?workflowRuns=${ref}`)).body.runs.map((r) => r.workflowRunId), [run.workflowRunId]);
});

test("sleeps, waits, notifications and deliveries under way outlive a kill", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "quartet-e2e-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const first = await setup(t, "1.x", { dir });
  const { app, wf, server } = first;
  let hold = true;
  const url = app.serve("/wf", async (context) => {
    await context.sleep("nap", 2);
    const { eventData } = await context.waitForEvent("w", "ev", { timeout: "1h" });
    const { eventData: kept } = await context.waitForEvent("n", "note", { timeout: "1h" });
    return [eventData, kept];
  });
  app.on("/slow", async (request) => {
    if (hold) await new Promise((r) => setTimeout(r, 30_000).unref());
    return app.serveSlow(request);
  });
  const { handler } = sdks["1.x"].serve(async (context) => context.run("a", () => "x"), { qstashClient: first.q.client, env: {}, receiver: undefined });
  app.serveSlow = handler;
  const a = await wf.trigger({ url });
  const b = await wf.trigger({ url: app.url("/slow") });
  await wf.notify({ eventId: "note", eventData: "kept", workflowRunId: a.workflowRunId });
  await until("a call that is out", () => app.at("/slow").length === 1);
  await server.stop("SIGKILL");
  hold = false;
  const again = await startServer({ dir, port: server.port });
  t.after(() => again.close());
  const w = connectWorkflow(again);
  assert.equal(await w.result(b.workflowRunId), "x");
  await until("it to wait", async () => (await w.wf.getWaiters({ eventId: "ev" })).length === 1);
  await again.stop("SIGKILL");
  const third = await startServer({ dir, port: server.port });
  t.after(() => third.close());
  const last = connectWorkflow(third);
  assert.equal((await last.wf.notify({ eventId: "ev", eventData: "came" })).length, 1);
  assert.deepEqual(await last.result(a.workflowRunId), ["came", "kept"]);
});
