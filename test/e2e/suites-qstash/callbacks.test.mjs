// Callbacks and failure callbacks: protocol section 9.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setup, soon } from "../lib/qstash.mjs";

const base64 = (s) => Buffer.from(s).toString("base64");

test("a callback says everything about the delivery", async (t) => {
  const { client, sink, receiver, delivered } = await setup(t);
  sink.on("/a", { status: 201, headers: { "content-type": "text/plain", "x-r": "1" }, body: "made" });
  const { messageId } = await client.publishJSON({
    url: sink.url("/a"), body: { n: 1 }, headers: { "x-a": "1", "Upstash-Callback-Forward-X-Cb": "2", "Upstash-Callback-Method": "PUT" }, callback: sink.url("/cb"),
  });
  const [cb] = await sink.got("/cb");
  assert.deepEqual([cb.method, cb.headers["content-type"], cb.headers["x-cb"], cb.headers["x-a"], cb.headers["upstash-retried"]], ["PUT", "application/json", "2", undefined, "0"]);
  assert.notEqual(cb.headers["upstash-message-id"], messageId);
  assert.equal(await receiver.verify({ signature: cb.headers["upstash-signature"], body: cb.text, url: sink.url("/cb") }), true);
  const { header, createdAt, notBefore, ...body } = JSON.parse(cb.text);
  assert.deepEqual([header["Content-Type"], header["X-R"]], [["text/plain"], ["1"]]);
  assert.ok(createdAt > 0 && notBefore === createdAt);
  assert.deepEqual(body, {
    status: 201, body: base64("made"), retried: 0, maxRetries: 3, sourceMessageId: messageId, url: sink.url("/a"), method: "POST",
    sourceHeader: { "Content-Type": ["application/json"], "X-A": ["1"] }, sourceBody: base64('{"n":1}'), callerIP: "127.0.0.1",
  });
  await delivered(cb.headers["upstash-message-id"]);
  await delivered(messageId);
});

test("every attempt with an answer is told of, and the failure once", async (t) => {
  const { client, sink, dead } = await setup(t);
  sink.on("/a", { status: 500, body: "one" }, { status: 501, body: "two" });
  const { messageId } = await client.publish({
    url: sink.url("/a"), body: "b", retries: 1, ...soon, callback: sink.url("/cb"), failureCallback: sink.url("/fail"),
    headers: { "Upstash-Failure-Callback-Forward-Authorization": "Bearer x" },
  });
  const { dlqId } = await dead(messageId);
  const [f] = await sink.got("/fail");
  await sink.got("/cb", 2);
  assert.deepEqual(sink.at("/cb").map((r) => JSON.parse(r.text)).map((b) => [b.status, b.body, b.retried, b.maxRetries, b.sourceMessageId, b.dlqId]).sort(),
    [[500, base64("one"), 0, 1, messageId, undefined], [501, base64("two"), 1, 1, messageId, undefined]]);
  const body = JSON.parse(f.text);
  assert.deepEqual([body.status, body.body, body.retried, body.maxRetries, body.dlqId, body.sourceMessageId, body.sourceBody, f.headers.authorization],
    [501, base64("two"), 1, 1, dlqId, messageId, base64("b"), "Bearer x"]);
  assert.equal(sink.at("/fail").length, 1);
});

test("on success there is no failure callback, and without an answer the status is 0", async (t) => {
  const { client, sink, delivered, dead } = await setup(t);
  const good = await client.publish({ url: sink.url("/a"), callback: sink.url("/cb"), failureCallback: sink.url("/fail") });
  await delivered(good.messageId);
  await sink.got("/cb");
  assert.equal(sink.at("/fail").length, 0);
  const bad = await client.publish({ url: "http://nowhere.invalid/", retries: 0, failureCallback: sink.url("/fail") });
  await dead(bad.messageId);
  const body = JSON.parse((await sink.got("/fail"))[0].text);
  assert.deepEqual([body.status, body.retried, body.maxRetries, body.sourceMessageId], [0, 0, 0, bad.messageId]);
});

test("a callback is a message: it has retries of its own and can become a dead letter", async (t) => {
  const { client, sink, dead } = await setup(t);
  sink.on("/cb", 500);
  await client.publish({
    url: sink.url("/a"), retries: 5, callback: sink.url("/cb"),
    headers: { "Upstash-Callback-Retries": "1", "Upstash-Callback-Retry-Delay": "50", "Upstash-Callback-Failure-Callback": sink.url("/cb-failed"), "Upstash-Callback-Label": "told" },
  });
  const [one, two] = await sink.got("/cb", 2);
  assert.equal(one.headers["upstash-message-id"], two.headers["upstash-message-id"]);
  assert.deepEqual([one.headers["upstash-retried"], two.headers["upstash-retried"]], ["0", "1"]);
  const d = await dead(one.headers["upstash-message-id"]);
  assert.deepEqual([d.url, d.maxRetries, d.label], [sink.url("/cb"), 1, "told"]);
  const [failed] = await sink.got("/cb-failed");
  assert.equal(JSON.parse(failed.text).sourceMessageId, d.messageId);
  assert.equal(sink.at("/a").length, 1);
});

test("a callback has the retries of its message if it has none of its own", async (t) => {
  const { client, sink } = await setup(t);
  await client.publish({ url: sink.url("/a"), retries: 7, callback: sink.url("/cb") });
  const [cb] = await sink.got("/cb");
  assert.equal((await client.messages.get(cb.headers["upstash-message-id"])).maxRetries, 7);
});

test("callbacks can go to a group, and a group's message tells its name", async (t) => {
  const { client, sink } = await setup(t);
  await client.urlGroups.addEndpoints({ name: "told", endpoints: [{ url: sink.url("/t1") }, { url: sink.url("/t2") }] });
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ url: sink.url("/a"), name: "e" }] });
  await client.publish({ urlGroup: "g", callback: "told" });
  const bodies = [(await sink.got("/t1"))[0], (await sink.got("/t2"))[0]].map((r) => JSON.parse(r.text));
  assert.deepEqual(bodies.map((b) => [b.topicName, b.endpointName]), [["g", "e"], ["g", "e"]]);
});

test("what is binary arrives whole in a callback", async (t) => {
  const { client, sink } = await setup(t);
  const bytes = Buffer.from([0, 255, 128, 10]);
  sink.on("/a", { status: 200, headers: {}, body: bytes });
  await client.publish({ url: sink.url("/a"), body: bytes, callback: sink.url("/cb") });
  const body = JSON.parse((await sink.got("/cb"))[0].text);
  assert.deepEqual([body.body, body.sourceBody], [bytes.toString("base64"), bytes.toString("base64")]);
});
