// REST v1, signals and bulk cancellation: protocol sections 21 and 22, and cron: section 16.3.
import assert from "node:assert/strict";
import { test } from "node:test";
import { sdk, setup } from "../lib/inngest.mjs";
import { until } from "../lib/server.mjs";

async function json(url, init) {
  const r = await fetch(url, init);
  const text = await r.text();
  return { status: r.status, body: text ? JSON.parse(text) : undefined };
}

test("events and runs can be read, paged and cancelled", async (t) => {
  const { server: s, app } = await setup(t, (create) => [
    create({ id: "quick" }, { event: "test/q" }, async ({ event }) => ({ i: event.data.i })),
    create({ id: "long" }, { event: "test/l" }, async ({ step }) => { await step.sleep("s", "1h"); }),
  ]);
  const { ids } = await app.send([0, 1, 2].map((i) => ({ name: "test/q", data: { i }, user: { id: 1 } })));
  await s.ended("app-quick", 3);
  const page = await json(`${s.url}/v1/events?limit=2`);
  assert.deepEqual(page.body.data.map((e) => e.internal_id), [ids[2], ids[1]]);
  assert.ok(page.body.metadata.fetched_at);
  const rest = await json(`${s.url}/v1/events?cursor=${ids[1]}&name=test/q`);
  assert.deepEqual(rest.body.data.map((e) => e.internal_id), [ids[0]]);
  assert.equal((await json(`${s.url}/v1/events?cursor=bad`)).body.error, "Invalid cursor query parameter");
  const one = await json(`${s.url}/v1/events/${ids[0]}`);
  assert.deepEqual([one.body.data.name, one.body.data.data, one.body.data.user, one.body.data.id], ["test/q", { i: 0 }, { id: 1 }, ids[0]]);
  assert.deepEqual((await json(`${s.url}/v1/events/nope`)), { status: 400, body: { error: "Invalid event ID: nope", data: null, status: 400 } });
  assert.equal((await json(`${s.url}/v1/events/01ARZ3NDEKTSV4RRFFQ69G5FAV`)).status, 404);
  const runs = await json(`${s.url}/v1/events/${ids[0]}/runs`);
  assert.deepEqual(runs.body.data.map((r) => [r.status, r.output, r.event_id]), [["Completed", { i: 0 }, ids[0]]]);
  assert.deepEqual((await json(`${s.url}/v1/events/01ARZ3NDEKTSV4RRFFQ69G5FAV/runs`)).body.data, []);
  const run = runs.body.data[0].run_id;
  assert.equal((await json(`${s.url}/v1/runs/${run}`)).body.data.run_id, run);
  assert.equal((await json(`${s.url}/v1/runs/zzz`)).body.error, "Invalid run ID: zzz");

  await app.send({ name: "test/l", data: {} });
  const long = await until("the sleep", async () => {
    const [r] = await s.runs("&function=app-long");
    return r && (await s.run(r.id)).steps.length && r.id;
  });
  const jobs = await json(`${s.url}/v1/runs/${long}/jobs`);
  assert.equal(jobs.body.data[0].kind, "sleep");
  for (let i = 0; i < 2; i++) assert.equal((await fetch(`${s.url}/v1/runs/${long}`, { method: "DELETE" })).status, 200);
  assert.deepEqual((await json(`${s.url}/v1/runs/${long}`)).body.data.status, "Cancelled");
  assert.equal((await json(`${s.url}/v0/runs/${long}`, { method: "DELETE" })).status, 409);
  const unknown = await json(`${s.url}/v1/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV`, { method: "DELETE" });
  assert.equal(unknown.status, 404);
  assert.match(unknown.body.error, /Unable to load function run/);
  const fns = await json(`${s.url}/v1/apps/app/functions`);
  assert.deepEqual(fns.body.map((f) => f.id), ["app-long", "app-quick"]);
  assert.deepEqual((await json(`${s.url}/v1/apps/none/functions`)).body, []);
});

test("bulk cancellation by function, time and expression", async (t) => {
  const { server: s, app } = await setup(t, (create) => [create({ id: "long" }, { event: "test/bulk" }, async ({ step }) => { await step.sleep("s", "1h"); })]);
  await app.send([0, 1, 2, 3].map((i) => ({ name: "test/bulk", data: { i } })));
  await until("four runs", async () => (await s.runs("&status=running")).length === 4);
  const post = (body) => json(`${s.url}/v1/cancellations`, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
  const now = new Date(Date.now() + 1000).toISOString();
  assert.equal((await post("{")).status, 400);
  assert.match((await post({})).body.error, /app_id is required\nfunction_id is required\nstarted_before is required/);
  assert.match((await post({ app_id: "app", function_id: "long", started_before: "2090-01-01T00:00:00Z" })).body.error, /future/);
  assert.match((await post({ app_id: "app", function_id: "long", started_before: now, if: "event.data.i ===" })).body.error, /^if: /);
  assert.equal((await post({ app_id: "app", function_id: "none", started_before: now })).status, 404);
  const done = await post({ app_id: "app", function_id: "long", started_before: now, if: "event.data.i < 2" });
  assert.equal(done.status, 200);
  assert.equal((await s.runs("&status=cancelled")).length, 2);
  assert.equal((await s.runs("&status=running")).length, 2);
  const list = await json(`${s.url}/v1/cancellations`);
  assert.deepEqual(list.body.data.map((c) => c.id), [done.body.data.id]);
  assert.deepEqual((await json(`${s.url}/v1/cancellations/${done.body.data.id}`, { method: "DELETE" })).body.data, { ok: true });
  assert.equal((await json(`${s.url}/v1/cancellations/${done.body.data.id}`, { method: "DELETE" })).status, 404);
});

test("signals resume the one run that waits", { skip: sdk.name === "v3" && "not in this generation" }, async (t) => {
  const { server: s, app } = await setup(t, (create) => [
    create({ id: "sig" }, { event: "test/sig" }, async ({ step }) => step.waitForSignal("w", { signal: "approve/1", timeout: "1h", onConflict: "fail" })),
    create({ id: "sig-timeout" }, { event: "test/sig" }, async ({ step }) => step.waitForSignal("w", { signal: "approve/2", timeout: "1s", onConflict: "fail" })),
  ]);
  const send = (body) => json(`${s.url}/v1/signals`, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
  assert.equal((await send({ signal: "approve/1" })).status, 404);
  assert.equal((await send("{")).status, 400);
  assert.equal((await send({ signal: "" })).status, 400);
  await app.send({ name: "test/sig", data: {} });
  const got = await until("someone to wait", async () => {
    const r = await send({ signal: "approve/1", data: { by: "me" } });
    return r.status === 200 && r;
  });
  const { run } = await s.result("app-sig");
  assert.equal(got.body.data.run_id, run.id);
  assert.deepEqual(run.output, { signal: "approve/1", data: { by: "me" } });
  assert.equal((await s.result("app-sig-timeout")).run.output ?? null, null);
});

test("a cron starts one run a tick, with its event", async (t) => {
  const { server: s, app } = await setup(t, (create) => [create({ id: "cron" }, { cron: "TZ=Europe/Paris * * * * *" }, async ({ event }) => event)]);
  const { run } = await s.result("app-cron", 75_000);
  assert.equal(run.status, "completed");
  assert.equal(run.cron, "TZ=Europe/Paris * * * * *");
  assert.equal(run.output.name, "inngest/scheduled.timer");
  assert.equal(run.output.data.cron, "TZ=Europe/Paris * * * * *");
  assert.match(run.output.data.scheduledAt, /:00Z$/);
  assert.equal((await s.runs()).length, 1);
  assert.ok(app);
});
