// Registration, discovery, signatures and keys: protocol sections 4, 6 and 7.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { sdk, setup, startApp } from "../lib/inngest.mjs";
import { freePort, keys, startServer, until } from "../lib/server.mjs";

const fn = (create) => [create({ id: "fn" }, { event: "test/go" }, async ({ step }) => step.run("s", () => "ok"))];

async function server(t, opts) {
  const s = await startServer(opts);
  t.after(() => s.close());
  return s;
}

async function appOn(t, s, define = fn, opts) {
  const app = await startApp(s, define, opts);
  t.after(() => app.close());
  return app;
}

test("a registration changes things once, and functions that are left out stop", async (t) => {
  const { server: s, app } = await setup(t, (create) => [...fn(create), create({ id: "gone" }, [{ event: "test/gone" }, { cron: "0 0 1 1 *" }], async () => 1)], { register: false });
  assert.deepEqual((await app.register()).body, { message: "Successfully registered", modified: true });
  assert.deepEqual((await app.register()).body, { message: "Successfully registered", modified: false });
  assert.deepEqual((await s.api("/functions")).functions.map((f) => f.slug), ["app-fn", "app-gone"]);
  await app.close();
  const next = await appOn(t, s);
  assert.deepEqual((await s.api("/functions")).functions.map((f) => [f.slug, f.version]), [["app-fn", 2]]);
  await next.send([{ name: "test/gone", data: {} }, { name: "test/go", data: {} }]);
  const { run } = await s.result("app-fn");
  assert.equal(run.output, "ok", "called at its new address");
  assert.equal((await s.runs()).length, 1);
});

test("an app that is known under another name of this machine has not changed", async (t) => {
  const { server: s, app } = await setup(t, fn);
  const again = async (host) => (await (await fetch(app.url.replace("127.0.0.1", host), { method: "PUT" })).json()).modified;
  assert.equal(await again("localhost"), false);
  assert.equal(await again("127.0.0.1"), false);
  await app.send({ name: "test/go", data: {} });
  assert.equal((await s.result("app-fn")).run.output, "ok");
  assert.deepEqual((await s.api("/functions")).functions.map((f) => f.version), [1]);
});

test("registrations that make no sense are refused, name function and field, and change nothing", async (t) => {
  const { server: s } = await setup(t, fn);
  const base = { id: "app-fn", name: "fn", triggers: [{ event: "test/go" }], steps: { step: { id: "step", name: "step", runtime: { type: "http", url: "http://localhost:1/api/inngest?fnId=app-fn&stepId=step" } } } };
  const register = async (functions, extra = {}) => {
    const r = await fetch(`${s.url}/fn/register`, { method: "POST", body: typeof functions === "string" ? functions : JSON.stringify({ url: "http://localhost:1/api/inngest", appName: "app", functions, sdk: "js:v4.0.0", v: "0.1", ...extra }), headers: extra.headers });
    return { status: r.status, body: await r.json() };
  };
  const f = (extra) => [{ ...base, ...extra }];
  for (const [what, functions, error] of [
    ["no JSON", "{", /Invalid request/],
    ["no app", "{}", /App ID required/],
    ["cron", f({ triggers: [{ cron: "61 * * * *" }] }), /app-fn.*triggers\.cron/s],
    ["a cron that never comes", f({ triggers: [{ cron: "0 0 30 2 *" }] }), /triggers\.cron/],
    ["expression", f({ triggers: [{ event: "a", expression: "event.data.n === 1" }] }), /app-fn.*triggers\.expression/s],
    ["cancel if", f({ cancel: [{ event: "x", if: "event.data.list.exists(x, x == 1)" }] }), /cancel\.if/],
    ["batch of one", f({ batchEvents: { maxSize: 1, timeout: "1s" } }), /batchEvents\.maxSize/],
    ["batch and cancel", f({ batchEvents: { maxSize: 2, timeout: "1s" }, cancel: [{ event: "x" }] }), /batchEvents cannot be combined with cancel/],
    ["env concurrency without key", f({ concurrency: [{ limit: 1, scope: "env" }] }), /scope env needs a key/],
    ["rate limit 0", f({ rateLimit: { limit: 0, period: "1h" } }), /rateLimit\.limit/],
    ["rate limit of two days", f({ rateLimit: { limit: 1, period: "48h" } }), /rateLimit\.period/],
    ["debounce of eight days", f({ debounce: { period: "8d" } }), /debounce\.period/],
    ["no steps", f({ steps: {} }), /exactly one step/],
    ["retries", f({ steps: { step: { ...base.steps.step, retries: { attempts: 21 } } } }), /retries: 21/],
    ["duration", f({ throttle: { limit: 1, period: "soon" } }), /Invalid request.*throttle\.period.*soon/s],
    ["singleton mode", f({ singleton: { mode: "maybe" } }), /Invalid request.*singleton\.mode/s],
    ["eleven triggers", f({ triggers: Array.from({ length: 11 }, (_, i) => ({ event: `e${i}` })) }), /11 are more than 10/],
    ["the same function twice", [base, base], /listed twice/],
  ]) {
    const r = await register(functions);
    assert.equal(r.status, 400, what);
    assert.match(r.body.error, error, what);
    if (Array.isArray(functions) && !/Invalid request/.test(r.body.error)) assert.match(r.body.error, /At least one function is invalid/);
  }
  assert.deepEqual((await s.api("/functions")).functions.map((x) => [x.slug, x.version]), [["app-fn", 1]], "the old registration stays");
  assert.match((await s.api("/apps")).apps[0].meta.error, /listed twice/, "and the app shows why");
  const wrong = await register([base], { headers: { "x-inngest-expected-server-kind": "cloud" } });
  assert.equal(wrong.status, 400);
  assert.match(wrong.body.error, /Expected server kind cloud, got dev/);
  assert.equal((await register([], {})).status, 200, "an app without functions is fine");
});

test("given URLs are synced as soon as they answer, and polled", async (t) => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/api/inngest`;
  const s = await server(t, { args: [`--app=${url}`, "--poll=300ms"] });
  assert.equal((await s.api("/apps")).apps.length, 0);
  const app = await startApp(s, fn, { port, register: false });
  await until("the sync", async () => (await s.api("/functions")).functions.length === 1);
  await app.close();
  await until("the app's silence to be noticed", async () => (await s.api("/apps")).apps[0].error === "unreachable");
  assert.equal((await s.api("/functions")).functions.length, 1, "its functions stay");
  const more = await startApp(s, (create) => [...fn(create), create({ id: "new" }, { event: "test/new" }, async () => 1)], { port, register: false });
  t.after(() => more.close());
  await until("the new function", async () => (await s.api("/functions")).functions.length === 2);
  await until("the app to be well", async () => !(await s.api("/apps")).apps[0].error);
});

test("apps on this machine are found", async (t) => {
  const port = await freePort();
  const s = await server(t, { args: ["--no-discovery=false", "--poll=500ms"], env: { PORT: String(port) } });
  const app = await startApp(s, fn, { port, register: false });
  t.after(() => app.close());
  const found = await until("discovery", async () => (await s.api("/apps")).apps[0]);
  assert.equal(found.name, "app");
  assert.equal(found.url, `http://localhost:${port}/api/inngest`);
});

test("GET /dev is there in development", async (t) => {
  const s = await server(t);
  const r = await fetch(`${s.url}/dev`);
  assert.equal(r.status, 200);
  assert.equal(typeof (await r.json()).version, "string");
});

test("an app can be removed", async (t) => {
  const { server: s, app } = await setup(t, fn);
  const gone = await fetch(`${s.url}/fn/remove?url=${encodeURIComponent(app.url)}`, { method: "DELETE" });
  assert.equal(gone.status, 200);
  assert.equal((await s.api("/functions")).functions.length, 0);
  const none = await fetch(`${s.url}/fn/remove?url=http://nowhere`, { method: "DELETE" });
  assert.equal(none.status, 404);
  assert.match((await none.json()).error, /App not found/);
});

test("production: signed calls, both ways of syncing, and a fallback key", async (t) => {
  const s = await server(t, { mode: "serve" });
  const app = await appOn(t, s);
  await app.send({ name: "test/go", data: { big: 1e21, text: "ä\u2028" } });
  const { run } = await s.result("app-fn");
  assert.equal(run.output, "ok");
  assert.match(app.calls[0].headers["x-inngest-signature"], /^t=\d+&s=[0-9a-f]{64}$/);
  assert.equal(app.calls[0].headers["x-inngest-server-kind"], "cloud");

  const inBand = await appOn(t, s, (create) => [create({ id: "other" }, { event: "test/other" }, async () => "in band")], { id: "second", register: false });
  await s.post("/apps", { url: inBand.url });
  await inBand.send({ name: "test/other", data: {} });
  assert.equal((await s.result("second-other")).run.output, "in band");

  const wrongKey = "signkey-test-00000000000000000000000000000000";
  const stranger = await appOn(t, s, fn, { id: "stranger", register: false, client: { signingKey: wrongKey }, serve: sdk.name === "v3" ? { signingKey: wrongKey } : {} });
  assert.notEqual((await stranger.register()).status, 200, "a wrong key cannot register");
  await assert.rejects(s.post("/apps", { url: stranger.url }), /unauthorized/);

  const rotated = await appOn(t, s, fn, { id: "rotated", register: false, client: { signingKey: wrongKey, signingKeyFallback: keys.signing }, serve: sdk.name === "v3" ? { signingKey: wrongKey, signingKeyFallback: keys.signing } : {} });
  assert.equal((await rotated.register()).status, 200, "the fallback key can");
  await rotated.send({ name: "test/go", data: {} });
  assert.equal((await s.result("rotated-fn")).run.output, "ok");
});

test("a call goes on to where the app redirects it", async (t) => {
  const { server: s, app } = await setup(t, fn);
  const front = createServer((req, res) => res.writeHead(301, { location: app.url + req.url.replace(/^[^?]*/, "") }).end());
  await new Promise((ok) => front.listen(0, "127.0.0.1", ok));
  t.after(() => front.close());
  const url = `http://127.0.0.1:${front.address().port}/moved`;
  const r = await fetch(`${s.url}/fn/register`, {
    method: "POST",
    body: JSON.stringify({ url, appName: "app", sdk: "js:v4", v: "0.1", functions: [{ id: "app-fn", name: "fn", triggers: [{ event: "test/go" }], steps: { step: { id: "step", name: "step", runtime: { type: "http", url: `${url}?fnId=app-fn&stepId=step&token=kept` } } } }] }),
  });
  assert.equal(r.status, 200);
  await app.send({ name: "test/go", data: {} });
  assert.equal((await s.result("app-fn")).run.output, "ok");
  assert.ok(app.calls.every((c) => c.url.includes("token=kept")), "other parameters stay");
});
