// What bad input returns: protocol section 36, and who may ask: section 2.2.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, setup, signing } from "../lib/qstash.mjs";

test("bad input is refused with the status and a text that says what is wrong", async (t) => {
  const { client, sink, raw } = await setup(t);
  const to = `/v2/publish/${sink.url("/bad")}`;
  const json = { "content-type": "application/json" };
  const f = async (method, path, status, { headers = {}, body, text } = {}) => {
    const r = await raw(path, { method, headers, body });
    const what = `${method} ${path} ${JSON.stringify(headers)} ${body ?? ""}: ${r.status} ${r.text}`;
    assert.ok([status].flat().includes(r.status), what);
    assert.equal(typeof r.body?.error, "string", what);
    if (text) assert.ok(r.body.error.toLowerCase().includes(text.toLowerCase()), what);
  };
  await f("GET", "/v2/nothing", 404);
  await f("POST", "/v2/", 404);
  await f("DELETE", "/v2/keys", 405);
  await f("PUT", "/v2/queues", 405);
  await f("POST", "/v2/publish/", 400, { text: "a non-empty destination must be provided" });
  await f("POST", "/v2/publish", 400, { text: "a non-empty destination must be provided" });
  await f("POST", "/v2/enqueue/q/", 400, { text: "a non-empty destination must be provided" });
  await f("POST", "/v2/publish/nobody", 404, { text: "topic nobody not found" });
  await f("POST", "/v2/enqueue/q/nobody", 404, { text: "topic nobody not found" });
  for (const dest of ["ftp://files.example/x", "https://", "localhost:3000/x", "https://app.example:port/", "mailto:a@b.example"]) await f("POST", `/v2/publish/${dest}`, 400);
  for (const line of [
    "Upstash-Delay: soon", "Upstash-Delay: -1s", "Upstash-Delay: 1w", "Upstash-Not-Before: tomorrow", "Upstash-Retries: -1", "Upstash-Retries: many", "Upstash-Retries: 1.5",
    "Upstash-Method: BREW", "Upstash-Method: HEAD", "Upstash-Timeout: long", "Upstash-Retry-Delay: 1000 *", "Upstash-Retry-Delay: rm(1)", "Upstash-Label: a b",
    "Upstash-Redact-Fields: everything", "Upstash-Callback: not a url", "Upstash-Callback: ftp://files.example/", "Upstash-Failure-Callback: /relative",
    "Upstash-Callback-Retries: many", "Upstash-Failure-Callback-Method: BREW", "Upstash-Queue-Name: no good", "Upstash-Content-Based-Deduplication: perhaps",
    "Upstash-Cron: * * * *", "Upstash-Cron: 0 * * * * *", "Upstash-Cron: 99 * * * *", "Upstash-Cron: CRON_TZ=Mars/Olympus * * * * *",
  ]) {
    const [name, value] = line.split(": ");
    await f("POST", to, 400, { headers: { [name]: value }, text: name });
    await f("POST", `${to}?${name.toLowerCase()}=${encodeURIComponent(value)}`, 400, { text: name });
  }
  for (const [name, value] of [["Upstash-Retries", "1000000"], ["Upstash-Delay", "800d"], ["Upstash-Callback-Retries", "1000000"]]) {
    await f("POST", to, 412, { headers: { [name]: value }, text: name });
  }
  await f("POST", to, 412, { headers: { "Upstash-Not-Before": String(Math.floor(Date.now() / 1000) + 800 * 86_400) } });
  for (const [key, value] of [["k", undefined], [undefined, "rate=1"], ["k", "period=1s"], ["k", "rate=0"], ["k", "rate=x"], ["k", "parallelism=-1"], ["k", "rate=1, period=8d"], ["k", "burst=1"]]) {
    await f("POST", to, 400, { headers: { ...(key && { "Upstash-Flow-Control-Key": key }), ...(value && { "Upstash-Flow-Control-Value": value }) }, text: "flow" });
  }
  await f("POST", to, [413, 412], { body: "x".repeat((10 << 20) + 1) });
  await f("POST", `/v2/enqueue/no%20good/${sink.url("/bad")}`, 400, { text: "queue" });

  await f("POST", "/v2/schedules/", 400, { headers: { "Upstash-Cron": "* * * * *" }, text: "a non-empty destination must be provided" });
  await f("POST", `/v2/schedules/${sink.url("/bad")}`, 400, { text: "cron" });
  await f("POST", `/v2/schedules/${sink.url("/bad")}`, 400, { headers: { "Upstash-Cron": "* * * * *", "Upstash-Schedule-Id": "no/good" }, text: "schedule" });
  for (const bad of ["{", "[]", "1", '{"queueName":""}', '{"queueName":"no good"}', '{"queueName":"q","parallelism":0}', '{"queueName":"q","parallelism":"many"}']) {
    await f("POST", "/v2/queues", 400, { headers: json, body: bad });
  }
  for (const bad of ["{", '{"endpoints":[{"name":"x"}]}', '{"endpoints":[{"url":"ftp://x"}]}', '{"endpoints":[{"url":""}]}']) {
    await f("POST", "/v2/topics/g/endpoints", 400, { headers: json, body: bad });
  }
  await f("POST", "/v2/topics/no%20good/endpoints", 400, { headers: json, body: `{"endpoints":[{"url":"${sink.url("/x")}"}]}` });
  for (const bad of ["{", "1", '{"messageIds":1}']) await f("DELETE", "/v2/messages", 400, { headers: json, body: bad });
  for (const bad of ["labeel=x", "fromDate=yesterday", "count=many", "count=0"]) {
    await f("DELETE", `/v2/messages?${bad}`, 400);
    await f("DELETE", `/v2/dlq?${bad}`, 400);
    await f("POST", `/v2/dlq/retry?${bad}`, 400);
  }
  for (const bad of ["cursor=what", "count=many", "fromDate=x"]) await f("GET", `/v2/events?${bad}`, 400);
  await f("GET", "/v2/dlq?cursor=what", 400);
  await f("GET", "/v2/dlq?responseStatus=x", 400);

  for (const path of ["messages/msg_x", "queues/x", "schedules/x", "topics/x", "dlq/1-x", "flowControl/x"]) await f("GET", `/v2/${path}`, 404);
  for (const path of ["messages/msg_x", "dlq/1-x"]) await f("DELETE", `/v2/${path}`, 404);
  await f("POST", "/v2/dlq/retry/1-x", 404);
  for (const path of ["queues/x", "schedules/x", "topics/x"]) assert.equal((await raw(`/v2/${path}`, { method: "DELETE" })).status, 200);
  assert.deepEqual((await raw("/v2/messages?label=none", { method: "DELETE" })).body, { cancelled: 0 });
  assert.deepEqual((await raw("/v2/dlq?label=none", { method: "DELETE" })).body, { deleted: 0 });
  const retry = await raw("/v2/dlq/retry?label=none", { method: "POST" });
  assert.deepEqual([retry.status, retry.body], [201, { responses: [] }]);
  for (const path of ["/v2/messages?count=100000", "/v2/dlq?count=100000"]) assert.ok([200, 400].includes((await raw(path, { method: "DELETE" })).status));

  assert.equal(sink.requests.length, 0, "nothing of all this was delivered");
  assert.deepEqual((await client.logs()).logs, []);
  assert.deepEqual(await client.schedules.list(), []);
});

test("a time that is more than a year away is more than the server allows, as a delay is", async (t) => {
  const { sink, post } = await setup(t);
  const r = await post(`/v2/publish/${sink.url("/bad")}`, "", { "upstash-not-before": String(Math.floor(Date.now() / 1000) + 800 * 86_400) });
  assert.equal(r.status, 412, r.text);
  assert.match(r.body.error, /Upstash-Not-Before/i);
});

test("a filter without a value selects nothing, and certainly not everything", async (t) => {
  const { client, sink, raw, dead } = await setup(t);
  await client.publish({ url: sink.url("/later"), delay: "1h" });
  sink.on("/bad", 500);
  await dead((await client.publish({ url: sink.url("/bad"), retries: 0 })).messageId);
  for (const q of ["messageIds=", "messageIds=,", "label=", "url=", "flowControlKey=", "fromDate="]) {
    assert.equal((await raw(`/v2/messages?${q}`, { method: "DELETE" })).status, 400, q);
  }
  for (const body of ['{"messageIds":[]}', '{"messageIds":[""]}', '{"label":""}']) {
    assert.equal((await raw("/v2/messages", { method: "DELETE", body, headers: { "content-type": "application/json" } })).status, 400, body);
  }
  for (const q of ["dlqIds=", "label=", "responseStatus="]) {
    assert.equal((await raw(`/v2/dlq?${q}`, { method: "DELETE" })).status, 400, q);
    assert.equal((await raw(`/v2/dlq/retry?${q}`, { method: "POST" })).status, 400, q);
  }
  assert.deepEqual(await client.messages.cancel({ all: true }), { cancelled: 1 });
  assert.deepEqual(await client.dlq.delete({ all: true }), { deleted: 1 });
});

test("a server that is not for development asks for its token", async (t) => {
  const { server } = await setup(t, { mode: "serve" });
  for (const headers of [{}, { authorization: "Bearer wrong" }, { authorization: "Basic eDp5" }]) {
    for (const [method, path] of [["GET", "/v2/keys"], ["POST", "/v2/publish/http://127.0.0.1/"], ["DELETE", "/v2/messages"], ["GET", "/v2/keys?qstash_token=wrong"]]) {
      const r = await fetch(`${server.url}${path}`, { method, headers });
      assert.equal(r.status, 401, `${method} ${path}`);
      assert.equal(typeof (await r.json()).error, "string");
    }
  }
});

test("the client's development mode takes the server for its own", async (t) => {
  const { server, sink, raw, receiver } = await setup(t);
  // Were these not its keys, the client would look for a program to start instead.
  assert.deepEqual((await raw("/v2/keys")).body, { current: signing.currentSigningKey, next: signing.nextSigningKey });
  process.env.QSTASH_DEV_PORT = String(server.port);
  t.after(() => delete process.env.QSTASH_DEV_PORT);
  const client = new Client({ devMode: true });
  const { messageId } = await client.publishJSON({ url: sink.url("/a"), body: 1 });
  const [r] = await sink.got("/a");
  assert.equal(r.headers["upstash-message-id"], messageId);
  assert.equal(await receiver.verify({ signature: r.headers["upstash-signature"], body: "1", url: sink.url("/a") }), true);
});

test("browsers of other origins may ask a production server, which wants a token, and not a development server", async (t) => {
  const ask = async (opts) => {
    const { raw } = await setup(t, opts);
    return raw("/v2/messages/msg_x", {
      method: "OPTIONS", headers: { origin: "https://ui.example", "sec-fetch-site": "cross-site", "access-control-request-method": "DELETE", "access-control-request-headers": "authorization" },
    });
  };
  const r = await ask({ mode: "serve" });
  assert.equal(r.status, 204);
  assert.equal(r.headers.get("access-control-allow-origin"), "https://ui.example");
  assert.match(r.headers.get("access-control-allow-methods"), /DELETE/);
  assert.equal((await ask({})).headers.get("access-control-allow-origin"), null);
  const { raw, sink } = await setup(t);
  const page = await raw(`/v2/publish/${sink.url("/strange")}`, { method: "POST", headers: { origin: "https://strange.example", "sec-fetch-site": "cross-site" }, body: "x" });
  assert.equal(page.status, 403);
});
