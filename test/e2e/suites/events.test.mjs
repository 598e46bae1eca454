// The event API: protocol section 5, traps and bad input.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setup } from "../lib/inngest.mjs";
import { keys, startServer, until } from "../lib/server.mjs";

async function server(t, opts) {
  const s = await startServer(opts);
  t.after(() => s.close());
  s.raw = async (body, headers = {}, path = "/e/key") => {
    const r = await fetch(s.url + path, { method: "POST", body, headers });
    const text = await r.text();
    let json;
    try { json = JSON.parse(text); } catch { json = text; }
    return { status: r.status, body: json };
  };
  return s;
}

test("bad events are refused with a reason, and good ones before them are kept", async (t) => {
  const s = await server(t);
  const cases = [
    ["{", 400, /JSON/],
    ["{}", 400, /event name is empty/],
    ['"str"', 400, /event name is empty/],
    ['{"name":""}', 400, /event name is empty/],
    ['{"name":7}', 400, /name must be a string/],
    ['{"name":"inngest/x"}', 400, /reserved for internal use: inngest\/x/],
    ['{"name":"Inngest/x"}', 400, /reserved/],
    ['{"name":"a","data":[]}', 400, /data must be an object/],
    ['{"name":"a","data":"x"}', 400, /data must be an object/],
    ['{"name":"a","id":7}', 400, /id must be a string/],
    ['{"name":"a","ts":1.5}', 400, /ts must be an integer/],
    ['{"name":"a","ts":1}', 400, /before Jan 1, 1980/],
    ['{"name":"a","ts":99999999999999}', 400, /after Jan 1, 2100/],
    [JSON.stringify({ name: "a", data: { x: "y".repeat(3_200_000) } }), 413, /maximum is 3145728 bytes, the event has 32\d+/],
  ];
  for (const [body, status, error] of cases) {
    const r = await s.raw(body);
    assert.equal(r.status, status, body.slice(0, 80));
    assert.equal(r.body.status, status);
    assert.match(r.body.error, error);
    assert.deepEqual(r.body.ids, []);
  }
  assert.equal((await s.api("/events")).events.length, 0, "nothing of them was stored");

  const mixed = await s.raw('[{"name":"ok"},{"name":""},{"name":"never"}]');
  assert.equal(mixed.status, 400);
  assert.equal(mixed.body.ids.length, 1);
  const { events } = await s.api("/events");
  assert.deepEqual(events.map((e) => [e.name, e.id]), [["ok", mixed.body.ids[0]]]);

  const many = await s.raw(JSON.stringify(Array.from({ length: 5001 }, (_, i) => ({ name: "many", data: { i } }))));
  assert.equal(many.status, 413);
  assert.equal(many.body.ids.length, 5000);
  assert.match(many.body.error, /maximum is 5000/);
});

test("forms, empty bodies and other methods", async (t) => {
  const s = await server(t);
  for (const body of ["", "[]", "  "]) assert.deepEqual((await s.raw(body)).body, { ids: [], status: 200 });
  const form = await s.raw("name=x&a=1", { "content-type": "application/x-www-form-urlencoded" });
  assert.equal(form.status, 400); // a form's values are lists, so its name is none
  assert.equal((await fetch(`${s.url}/e/key`)).status, 405);
  const cors = await fetch(`${s.url}/e/key`, { method: "OPTIONS", headers: { origin: "https://shop.example", "access-control-request-method": "POST", "access-control-request-headers": "content-type" } });
  assert.equal(cors.status, 204);
  assert.equal(cors.headers.get("access-control-allow-origin"), "https://shop.example");
  assert.equal((await fetch(`${s.url}/health`)).headers.get("x-inngest-server-kind"), "dev");
});

test("a seed gives the same ids, and a repeated request starts nothing again", async (t) => {
  const ran = [];
  const { server: s, app } = await setup(t, (create) => [create({ id: "once" }, { event: "test/seed" }, async ({ event }) => { ran.push(event.data.i); })]);
  const body = JSON.stringify([0, 1, 2].map((i) => ({ name: "test/seed", data: { i } })));
  const send = async () => (await fetch(`${s.url}/e/key`, { method: "POST", body, headers: { "x-inngest-event-id-seed": "1767225600000,AQIDBAUGBwgJCg==" } })).json();
  const [a, b] = await Promise.all([send(), send()]);
  const c = await send();
  const want = ["01KDVDNA00041061050R3GG28B", "01KDVDNA00041061050R3GG28C", "01KDVDNA00041061050R3GG28D"];
  for (const r of [a, b, c]) assert.deepEqual(r, { ids: want, status: 200 });
  await s.ended("app-once", 3);
  assert.deepEqual(ran.sort(), [0, 1, 2]);
  assert.equal((await s.api("/events")).events.length, 3);
  assert.ok(app);
});

test("an event id starts each function once, and the event is stored all the same", async (t) => {
  const { server: s, app } = await setup(t, (create) => [
    create({ id: "one" }, { event: "test/idem" }, async () => 1),
    create({ id: "two" }, { event: "test/idem" }, async () => 2),
  ]);
  const first = await app.send({ id: "order-1", name: "test/idem", data: {} });
  const second = await app.send({ id: "order-1", name: "test/idem", data: {} });
  await app.send({ id: "order-2", name: "test/idem", data: {} });
  assert.notEqual(first.ids[0], second.ids[0]);
  await s.ended("app-one", 2);
  await s.ended("app-two", 2);
  const { events } = await s.api("/events");
  assert.equal(events.length, 3);
  assert.equal(events.find((e) => e.id === second.ids[0]).runs.length, 0);
});

test("an event in the future starts its run then", async (t) => {
  const { server: s, app } = await setup(t, (create) => [create({ id: "later" }, { event: "test/future" }, async () => Date.now())]);
  const ts = Date.now() + 1500;
  await app.send({ name: "test/future", data: {}, ts });
  const [queued] = await until("the run", async () => s.runs("&function=app-later").then((r) => r.length && r));
  assert.equal(queued.status, "queued");
  const { run } = await s.result("app-later");
  assert.ok(run.output >= ts, `ran ${ts - run.output} ms early`);
});

test("numbers and text reach the function byte for byte", async (t) => {
  const { server: s, app } = await setup(t, (create) => [create({ id: "exact" }, { event: "test/exact" }, async ({ event }) => event.data)]);
  const raw = '{"name":"test/exact","data":{"big":9007199254740993,"f":1.10,"e":1e3,"s":"\\u00e4 \\ud83d\\ude00 </script>"},"user":{"id":1}}';
  await fetch(`${s.url}/e/key`, { method: "POST", body: raw });
  await s.result("app-exact");
  const { events } = await s.api("/events");
  const text = await (await fetch(`${s.url}/v1/events/${events[0].id}`)).text();
  assert.ok(text.includes('"big":9007199254740993'), text);
  assert.ok(text.includes('"f":1.10'), text);
  assert.ok(app);
});

test("a production server wants keys", async (t) => {
  const s = await server(t, { mode: "serve" });
  const bad = await s.raw('{"name":"a"}', {}, "/e/wrong");
  assert.equal(bad.status, 401);
  assert.equal(bad.body.error, "Event key not found");
  assert.equal((await s.raw('{"name":"a"}', {}, `/e/${keys.event}`)).status, 200);
  for (const [method, path] of [["GET", "/v1/events"], ["POST", "/fn/register"], ["GET", "/dev"], ["GET", "/v0/runs/x/actions"], ["POST", "/invoke/x"]]) {
    const r = await fetch(s.url + path, { method, headers: { authorization: "Bearer wrong" }, body: method === "POST" ? "{}" : undefined });
    assert.equal(r.status, 401, path);
  }
  for (const path of ["/api/dashboard/events", "/metrics"]) assert.equal((await fetch(s.url + path)).status, 401, path);
  const plain = { authorization: `Bearer ${keys.signing}` };
  assert.equal((await fetch(`${s.url}/v1/events`, { headers: plain })).status, 200);
  assert.equal((await fetch(`${s.url}/dev`, { headers: plain })).status, 404);
  assert.equal((await fetch(`${s.url}/v1/events`, { headers: plain })).headers.get("x-inngest-server-kind"), "cloud");
});
