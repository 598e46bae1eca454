// Publishing, reading and cancelling messages: protocol sections 2.3, 5.1, 5.5 and 6.
import assert from "node:assert/strict";
import { test } from "node:test";
import { failure, gate, setup, soon } from "../lib/qstash.mjs";

/** What a delivery has that its sender did not ask for. */
const transport = ["host", "user-agent", "content-length", "transfer-encoding", "accept-encoding", "connection"];
const ours = ["upstash-message-id", "upstash-retried", "upstash-signature", "upstash-caller-ip"];

test("what is published arrives as it was sent", async (t) => {
  const { client, sink, delivered } = await setup(t);
  const { messageId, ...rest } = await client.publish({
    url: sink.url("/text?x=1&y=%20"), body: "hällo", headers: { "x-one": "1", "X-Two": "a, b", authorization: "Bearer theirs" },
  });
  assert.match(messageId, /^msg_\w+$/);
  assert.deepEqual(rest, {});
  const [r] = await sink.got("/text");
  assert.deepEqual([r.method, r.url, r.text], ["POST", "/text?x=1&y=%20", "hällo"]);
  const { headers: h } = r;
  assert.deepEqual(
    [h["content-type"], h["user-agent"], h["upstash-message-id"], h["upstash-retried"], h["x-one"], h["x-two"], h.authorization],
    ["text/plain;charset=UTF-8", "Upstash-QStash", messageId, "0", "1", "a, b", "Bearer theirs"]);
  assert.deepEqual(Object.keys(h).filter((k) => ![...transport, ...ours, "content-type", "x-one", "x-two", "authorization"].includes(k)), []);
  assert.deepEqual(await delivered(messageId), ["CREATED", "ACTIVE", "DELIVERED"]);

  const json = await client.publishJSON({ url: sink.url("/json"), body: { a: [1, "ü"] }, headers: { "user-agent": "mine" } });
  const [j] = await sink.got("/json");
  assert.deepEqual([j.headers["content-type"], j.text, j.headers["user-agent"], j.headers["upstash-message-id"]],
    ["application/json", '{"a":[1,"ü"]}', "mine", json.messageId]);
});

test("methods and bodies are kept, whatever they are", async (t) => {
  const { client, sink, raw, post } = await setup(t);
  for (const method of ["GET", "PUT", "PATCH", "DELETE", "POST"]) {
    await client.publish({ url: sink.url(`/${method}`), method, body: `body of ${method}` });
    const [r] = await sink.got(`/${method}`);
    assert.deepEqual([r.method, r.text], [method, `body of ${method}`]);
  }
  const bytes = Buffer.from([0, 255, 254, 10, 13, 128, 0, 195, 40]);
  const { messageId } = await client.publish({ url: sink.url("/bytes"), body: bytes });
  const [r] = await sink.got("/bytes");
  assert.deepEqual(r.body, bytes);
  assert.equal(r.headers["content-type"], undefined, "no content type was sent");
  const m = (await raw(`/v2/messages/${messageId}`)).body;
  assert.deepEqual([m.bodyBase64, "body" in m, "header" in m], [bytes.toString("base64"), false, false]);

  const large = Buffer.alloc(3 << 20, "0123456789");
  await client.publish({ url: sink.url("/large"), body: large });
  assert.ok((await sink.got("/large"))[0].body.equals(large));
  const empty = await post(`/v2/publish/${sink.url("/empty")}`);
  assert.equal(empty.status, 200);
  const [e] = await sink.got("/empty");
  assert.equal(e.body.length, 0);
  assert.equal("body" in (await raw(`/v2/messages/${empty.body.messageId}`)).body, false);
});

test("forwarded headers: the prefix goes once, and what the server owns stays its own", async (t) => {
  const { sink, post, raw } = await setup(t);
  const sent = await post(`/v2/publish/${sink.url("/h")}`, "x", {
    "content-type": "application/cloudevents+json; charset=utf-8", "Upstash-Forward-Content-Type": "text/html", "Upstash-Forward-Upstash-Message-Id": "msg_theirs",
    "Upstash-Forward-Upstash-Signature": "theirs", "Upstash-Forward-Upstash-Retried": "9", "upstash-forward-upstash-workflow-runid": "wfr_1",
    "Upstash-Forward-Upstash-Forward-X": "twice", "Upstash-Telemetry-Sdk": "x", "x-not-forwarded": "1",
  });
  const [{ headers: h, rawHeaders }] = await sink.got("/h");
  assert.deepEqual(
    [h["content-type"], h["upstash-message-id"], h["upstash-retried"], h["upstash-workflow-runid"], h["upstash-forward-x"], h["x-not-forwarded"]],
    ["application/cloudevents+json; charset=utf-8", sent.body.messageId, "0", "wfr_1", "twice", undefined]);
  assert.equal(rawHeaders.filter((k) => /^upstash-(signature|message-id|retried)$/i.test(k)).length, 3);
  assert.equal(Object.keys(h).some((k) => k.startsWith("upstash-telemetry")), false);
  assert.deepEqual((await raw(`/v2/messages/${sent.body.messageId}`)).body.header, {
    "Content-Type": ["application/cloudevents+json; charset=utf-8"], "Upstash-Workflow-Runid": ["wfr_1"], "Upstash-Forward-X": ["twice"],
  });
});

test("values of headers need not be ASCII", async (t) => {
  const { sink, post, raw } = await setup(t);
  // fetch sends a character as one byte, and a receiver in Node reads a byte as one character.
  const utf8 = Buffer.from("hällo €").toString("latin1");
  const sent = await post(`/v2/publish/${sink.url("/a")}`, "b", { "upstash-forward-x-utf8": utf8, "upstash-forward-x-latin": "h\u00e4llo" });
  const [r] = await sink.got("/a");
  const read = (name) => Buffer.from(r.headers[name], "latin1").toString();
  assert.deepEqual([read("x-utf8"), read("x-latin")], ["hällo €", "hällo"]);
  assert.deepEqual((await raw(`/v2/messages/${sent.body.messageId}`)).body.header, { "Content-Type": ["text/plain;charset=UTF-8"], "X-Utf8": ["hällo €"], "X-Latin": ["hällo"] });
});

test("many messages at once are each delivered once", async (t) => {
  const { client, sink, delivered } = await setup(t);
  const n = 300;
  const single = Promise.all(Array.from({ length: n }, (_, i) => client.publish({ url: sink.url("/a"), body: `${i}` })));
  const batch = client.batch(Array.from({ length: n }, (_, i) => ({ url: sink.url("/a"), body: `${n + i}` })));
  const ids = [...(await single), ...(await batch)].map((m) => m.messageId);
  assert.equal(new Set(ids).size, 2 * n);
  await sink.got("/a", 2 * n);
  await delivered(ids.at(-1));
  const got = sink.at("/a");
  assert.deepEqual(new Set(got.map((r) => r.headers["upstash-message-id"])), new Set(ids));
  assert.deepEqual(got.map((r) => Number(r.text)).sort((a, b) => a - b), Array.from({ length: 2 * n }, (_, i) => i));
});

test("a message can be read with all that was said about it", async (t) => {
  const { client, sink, raw } = await setup(t);
  const before = Date.now();
  const { messageId } = await client.publishJSON({
    url: sink.url("/later"), body: { a: 1 }, method: "PUT", headers: { "x-a": "1" }, delay: "1h", retries: 0, retryDelay: "1000 * (1 + retried)", timeout: "30s",
    callback: sink.url("/cb"), failureCallback: sink.url("/fail"), label: ["l1", "l2"], flowControl: { key: "k/1", parallelism: 2, rate: 10, period: "1m" },
  });
  const { createdAt, notBefore, ...m } = (await raw(`/v2/messages/${messageId}`)).body;
  assert.deepEqual(m, {
    messageId, url: sink.url("/later"), method: "PUT", header: { "Content-Type": ["application/json"], "X-A": ["1"] }, body: '{"a":1}', maxRetries: 0,
    callback: sink.url("/cb"), failureCallback: sink.url("/fail"), callerIP: "127.0.0.1", label: "l1", labels: ["l1", "l2"], flowControlKey: "k/1", parallelism: 2,
    rate: 10, period: 60, retryDelayExpression: "1000 * (1 + retried)", timeout: 30,
  });
  assert.ok(createdAt >= before && createdAt <= Date.now());
  assert.equal(notBefore, createdAt + 3_600_000);
  assert.equal((await client.messages.get(messageId)).ratePerSecond, 10);

  // Right after an instant delivery it can still be read: many tests of applications do.
  const quick = await client.publish({ url: sink.url("/now") });
  await sink.got("/now");
  const now = await client.messages.get(quick.messageId);
  assert.deepEqual([now.method, now.maxRetries, now.notBefore], ["POST", 3, now.createdAt]);
});

test("a delay, a time and a time that has passed", async (t) => {
  const { client, sink, raw, post, log } = await setup(t);
  const due = async (m) => (await client.messages.get(m.messageId)).notBefore;
  const delayed = await client.publish({ url: sink.url("/delayed"), delay: 1 });
  const dueAt = await due(delayed);
  const at = Math.ceil(Date.now() / 1000) + 1;
  const timed = await client.publish({ url: sink.url("/timed"), notBefore: at, delay: "5d" });
  assert.equal(await due(timed), at * 1000);
  await client.publish({ url: sink.url("/past"), notBefore: 1_600_000_000 });
  const float = await post(`/v2/publish/${sink.url("/float")}`, "", { "upstash-not-before": "1700000001.25" });
  assert.equal(float.status, 200);
  await sink.got("/past");
  await sink.got("/float");
  assert.equal(sink.at("/timed").length, 0);
  assert.ok((await sink.got("/delayed"))[0].at >= dueAt);
  assert.ok((await sink.got("/timed"))[0].at >= at * 1000);
  assert.ok(sink.at("/timed")[0].at < at * 1000 + 1000, "within a second");
  const [created] = await log(delayed.messageId);
  assert.equal(created.nextDeliveryTime, dueAt);
  for (const [delay, seconds] of [["1d2h3m4s", 93784], ["20", 20], ["0s", 0]]) {
    const r = await post(`/v2/publish/${sink.url("/d")}`, "", { "upstash-delay": delay });
    const m = (await raw(`/v2/messages/${r.body.messageId}`)).body;
    assert.equal(m.notBefore - m.createdAt, seconds * 1000, delay);
  }
});

test("destinations are taken as they are written", async (t) => {
  const { server, sink, post, raw } = await setup(t);
  const to = async (dest, want, headers) => {
    const r = await post(`/v2/publish/${dest}`, "", headers);
    assert.equal(r.status, 200, r.text);
    const m = (await raw(`/v2/messages/${r.body.messageId}`)).body;
    assert.equal(m.url, want);
    return m;
  };
  await to(sink.url("/a//b%2Fc?u=http://x/y&e=%zz"), sink.url("/a//b%2Fc?u=http://x/y&e=%zz"));
  await to(encodeURIComponent(sink.url("/enc?x=1")), sink.url("/enc?x=1"));
  await to(sink.url("/slash").replace("//", "/"), sink.url("/slash"));
  const m = await to(sink.url("/q?x=1&upstash-retries=7&Upstash-Forward-X-A=b%20c&y=2&upstash-delay=1h"), sink.url("/q?x=1&y=2"), { "upstash-retries": "5" });
  assert.deepEqual([m.maxRetries, m.header["X-A"], m.notBefore - m.createdAt], [5, ["b c"], 3_600_000]);
  assert.equal((await sink.got("/a//b%2Fc"))[0].url, "/a//b%2Fc?u=http://x/y&e=%zz");
  assert.equal((await sink.got("/enc"))[0].url, "/enc?x=1");
  await sink.got("/slash");
  const hook = await fetch(`${server.url}/v2/publish/${sink.url("/hook")}?qstash_token=t&x=1`, { method: "POST", body: "b" });
  assert.equal(hook.status, 200);
  assert.equal((await sink.got("/hook"))[0].url, "/hook?x=1");
});

test("headers of the request are forwarded when that is asked for", async (t) => {
  const { sink, post } = await setup(t);
  await post(`/v2/publish/${sink.url("/all")}`, "b", { "x-own": "1", "x-both": "plain", "upstash-forward-x-both": "forwarded", "upstash-header-forward": "true" });
  const [{ headers: h }] = await sink.got("/all");
  assert.deepEqual([h["x-own"], h["x-both"], h.authorization, h["upstash-header-forward"]], ["1", "forwarded", undefined, undefined]);
});

test("one message is cancelled once", async (t) => {
  const { client, sink, reached, raw, delivered } = await setup(t);
  const { messageId } = await client.publish({ url: sink.url("/a"), delay: "1h", failureCallback: sink.url("/fail") });
  assert.deepEqual(await client.messages.cancel(messageId), { cancelled: 1 });
  await assert.rejects(client.messages.cancel(messageId), failure(404));
  assert.deepEqual(await reached(messageId, "CANCELED"), ["CREATED", "CANCEL_REQUESTED", "CANCELED"]);
  assert.deepEqual((await client.dlq.listMessages()).messages, []);
  const done = await client.publish({ url: sink.url("/b") });
  await delivered(done.messageId);
  await assert.rejects(client.messages.delete(done.messageId), failure(404));
  for (const id of ["msg_unknown", "unknown", "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV"]) {
    const r = await raw(`/v2/messages/${id}`);
    assert.equal(r.status, 404);
    assert.equal(typeof r.body.error, "string");
    await assert.rejects(client.messages.cancel(id), failure(404));
  }
  assert.equal(sink.at("/a").length + sink.at("/fail").length, 0);
});

test("a message in flight can be cancelled: it is not tried again", async (t) => {
  const { client, sink, reached } = await setup(t);
  const answer = gate(500);
  sink.on("/a", answer.promise);
  const { messageId } = await client.publish({ url: sink.url("/a"), retries: 5, ...soon });
  await sink.got("/a");
  assert.deepEqual(await client.messages.cancel(messageId), { cancelled: 1 });
  answer.release();
  assert.ok((await reached(messageId, "CANCELED")).includes("CANCEL_REQUESTED"));
  assert.equal(sink.at("/a").length, 1);
  assert.deepEqual((await client.dlq.listMessages()).messages, []);
});

test("a message that is cancelled in flight and succeeds is delivered", async (t) => {
  const { client, sink, reached } = await setup(t);
  const answer = gate(200);
  sink.on("/a", answer.promise);
  const { messageId } = await client.publish({ url: sink.url("/a") });
  await sink.got("/a");
  assert.deepEqual(await client.messages.cancel(messageId), { cancelled: 1 });
  answer.release();
  assert.ok((await reached(messageId, "DELIVERED")).includes("CANCEL_REQUESTED"));
});

test("a message that waits for its retry can be cancelled", async (t) => {
  const { client, sink, reached } = await setup(t);
  sink.on("/a", 500);
  const { messageId } = await client.publish({ url: sink.url("/a"), retryDelay: "3600000" });
  await reached(messageId, "RETRY");
  assert.deepEqual(await client.messages.cancel(messageId), { cancelled: 1 });
  await reached(messageId, "CANCELED");
});

test("many messages are cancelled by id, by filter and all together, and counted exactly", async (t) => {
  const { client, sink, raw } = await setup(t);
  await client.urlGroups.addEndpoints({ name: "grp", endpoints: [{ url: sink.url("/g1") }, { url: sink.url("/g2") }] });
  const later = (path, more = {}) => client.publish({ url: sink.url(path), delay: "1h", ...more }).then((m) => m.messageId);
  const [a, b, c, d] = [await later("/a"), await later("/a"), await later("/b"), await later("/c?x=1")];
  assert.deepEqual(await client.messages.cancel([a, b, "msg_unknown"]), { cancelled: 2 });
  assert.deepEqual(await client.messages.cancel([a, b, c]), { cancelled: 1 });
  assert.deepEqual(await client.messages.cancel([]), { cancelled: 0 });
  assert.deepEqual(await client.messages.cancel({ messageIds: [d] }), { cancelled: 1 });

  const by = async (filter, n) => assert.deepEqual(await client.messages.cancel({ filter }), { cancelled: n }, JSON.stringify(filter));
  await later("/l", { label: ["x", "y"] });
  await later("/l", { label: "y" });
  await later("/l", { label: "z" });
  await by({ label: "none" }, 0);
  await by({ label: ["x", "z"] }, 2);
  await by({ label: "y", url: sink.url("/other") }, 0);
  await by({ label: "y", url: [sink.url("/l"), sink.url("/other")] }, 1);
  await later("/f", { flowControl: { key: "f", parallelism: 1 } });
  await by({ flowControlKey: "f" }, 1);
  await later("/p?q=1");
  await by({ path: "/p?q=1" }, 0);
  await by({ path: "/p", host: `127.0.0.1:${sink.port}` }, 1);
  await client.publish({ urlGroup: "grp", delay: "1h" });
  await by({ urlGroup: "grp" }, 2);
  await client.queue({ queueName: "q" }).upsert({ paused: true, parallelism: 1 });
  await client.queue({ queueName: "q" }).enqueue({ url: sink.url("/q") });
  await by({ queueName: "q" }, 1);
  const early = Date.now();
  await later("/d");
  await by({ toDate: early - 1000 }, 0);
  await by({ fromDate: new Date(early - 1000), callerIp: "127.0.0.1" }, 1);

  for (let i = 0; i < 3; i++) await later("/rest");
  const typo = await raw("/v2/messages?labeel=x", { method: "DELETE" });
  assert.equal(typo.status, 400, "a misspelt filter must not cancel everything");
  assert.deepEqual(await client.messages.cancel({ all: true }), { cancelled: 3 });
  assert.deepEqual(await client.messages.cancel({ all: true }), { cancelled: 0 });

  const [e, f] = [await later("/e"), await later("/f")];
  const del = (body) => raw("/v2/messages", { method: "DELETE", body, headers: { "content-type": "application/json" } });
  assert.deepEqual((await del(JSON.stringify({ messageIds: [e] }))).body, { cancelled: 1 });
  assert.deepEqual((await del("{}")).body, { cancelled: 1 });
  assert.equal((await raw(`/v2/messages?messageIds=${e},${f}`, { method: "DELETE" })).body.cancelled, 0);
});

test("what has the same deduplication id is delivered once", async (t) => {
  const { client, sink, post, delivered } = await setup(t);
  const first = await client.publish({ url: sink.url("/a"), deduplicationId: "id-1", body: "1" });
  const again = await post(`/v2/publish/${sink.url("/other")}`, "2", { "upstash-deduplication-id": "id-1" });
  assert.equal(again.status, 202);
  assert.deepEqual(again.body, { messageId: first.messageId, deduplicated: true });
  await delivered(first.messageId);
  assert.equal((await client.publish({ url: sink.url("/a"), deduplicationId: "id-1" })).deduplicated, true, "also when it was delivered");
  const other = await client.publish({ url: sink.url("/a"), deduplicationId: "id-2", body: "3" });
  assert.notEqual(other.messageId, first.messageId);
  await delivered(other.messageId);
  assert.deepEqual(sink.at("/a").map((r) => r.text), ["1", "3"]);
  assert.equal(sink.at("/other").length, 0);
  const cancelled = await client.publish({ url: sink.url("/c"), deduplicationId: "id-3", delay: "1h" });
  await client.messages.cancel(cancelled.messageId);
  assert.equal((await client.publish({ url: sink.url("/c"), deduplicationId: "id-3" })).messageId, cancelled.messageId);
});

test("what has the same content is delivered once", async (t) => {
  const { client, sink } = await setup(t);
  const send = (more = {}) => client.publishJSON({ url: sink.url("/a"), body: { a: 1 }, headers: { "x-a": "1" }, contentBasedDeduplication: true, ...more });
  const first = await send();
  assert.deepEqual(await send(), { messageId: first.messageId, deduplicated: true });
  assert.equal((await send({ retries: 1, label: "other" })).deduplicated, true, "configuration is no content");
  for (const more of [{ body: { a: 2 } }, { headers: { "x-a": "2" } }, { headers: {} }, { url: sink.url("/b") }]) {
    assert.equal((await send(more)).deduplicated, undefined, JSON.stringify(more));
  }
  assert.equal((await client.publishJSON({ url: sink.url("/a"), body: { a: 1 }, headers: { "x-a": "1" } })).deduplicated, undefined, "it was not asked for");
});

test("a group is deduplicated by endpoint", async (t) => {
  const { client, sink } = await setup(t);
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ url: sink.url("/1") }] });
  const [one] = await client.publish({ urlGroup: "g", deduplicationId: "d" });
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ url: sink.url("/2") }] });
  const both = await client.publish({ urlGroup: "g", deduplicationId: "d" });
  assert.deepEqual(both.map((m) => [m.url, m.deduplicated ?? false]), [[sink.url("/1"), true], [sink.url("/2"), false]]);
  assert.equal(both[0].messageId, one.messageId);
  await sink.got("/2");
});
