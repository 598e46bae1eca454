// Logs and dead letters: protocol sections 10 and 15, and redaction: section 3.7.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { failure, setup, soon } from "../lib/qstash.mjs";
import { until } from "../lib/server.mjs";

test("log entries say what happened, in both fields and by both paths", async (t) => {
  const { client, sink, delivered, raw, log } = await setup(t);
  sink.on("/a", { status: 500, body: "broken" }, { status: 201, headers: { "content-type": "text/plain", "x-r": "1" }, body: "made" });
  const { messageId } = await client.publishJSON({ url: sink.url("/a"), body: { a: 1 }, headers: { "x-a": "1" }, label: ["l1", "l2"], retries: 1, ...soon });
  await delivered(messageId);
  const entries = await log(messageId);
  assert.deepEqual(entries.map((e) => e.state), ["CREATED", "ACTIVE", "ERROR", "RETRY", "ACTIVE", "DELIVERED"]);
  const times = entries.map((e) => e.time);
  assert.deepEqual(times, times.toSorted((a, b) => a - b));
  for (const e of entries) assert.deepEqual([e.messageId, e.url], [messageId, sink.url("/a")]);
  const [, , error, retry, , done] = entries;
  assert.match(error.error, /500.*broken/);
  assert.ok(retry.nextDeliveryTime >= retry.time);
  assert.deepEqual([done.responseStatus, done.responseBody, done.responseHeaders["X-R"], done.responseHeader["X-R"]], [201, "made", ["1"], ["1"]]);
  assert.deepEqual([done.body, done.header, done.method, done.maxRetries, done.label, done.labels, done.retryDelayExpression],
    [Buffer.from('{"a":1}').toString("base64"), { "Content-Type": ["application/json"], "X-A": ["1"] }, "POST", 1, "l1", ["l1", "l2"], "50"]);
  for (const path of ["/v2/events", "/v2/logs"]) {
    const r = (await raw(`${path}?messageId=${messageId}`)).body;
    assert.deepEqual(r.logs, r.events);
    assert.equal(r.events.length, 6);
    assert.equal("cursor" in r, false);
  }
});

test("logs are filtered by everything they have", async (t) => {
  const { client, sink, delivered, dead, raw } = await setup(t);
  sink.on("/fails", 500);
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ url: sink.url("/g") }] });
  const early = Date.now();
  const a = (await client.publish({ url: sink.url("/a?x=1"), label: ["x", "y"], flowControl: { key: "f/1", rate: 5 } })).messageId;
  const b = (await client.publish({ url: sink.url("/fails"), retries: 0, label: "z" })).messageId;
  const q = (await client.queue({ queueName: "q" }).enqueue({ url: sink.url("/q") })).messageId;
  const [{ messageId: g }] = await client.publish({ urlGroup: "g" });
  const late = (await client.publish({ url: sink.url("/late"), delay: "1h" })).messageId;
  await Promise.all([delivered(a), dead(b), delivered(q), delivered(g)]);
  const by = async (filter, ...ids) =>
    assert.deepEqual([...new Set((await client.logs({ filter, count: 1000 })).logs.map((l) => l.messageId))].sort(), ids.sort(), JSON.stringify(filter));
  await by({}, a, b, q, g, late);
  await by({ state: "DELIVERED" }, a, q, g);
  await by({ state: "FAILED" }, b);
  await by({ state: "IN_PROGRESS" }, a, b, q, g);
  await by({ state: "CANCELED" });
  await by({ url: sink.url("/q") }, q);
  await by({ url: [sink.url("/q"), sink.url("/a?x=1")] }, q, a);
  await by({ path: "/a", host: `127.0.0.1:${sink.port}` }, a);
  await by({ label: "y" }, a);
  await by({ label: ["x", "z"] }, a, b);
  await by({ label: "z", state: "DELIVERED" });
  await by({ flowControlKey: "f/1" }, a);
  await by({ queueName: "q" }, q);
  await by({ urlGroup: "g" }, g);
  await by({ callerIp: "127.0.0.1", messageId: late }, late);
  await by({ fromDate: early, toDate: Date.now() + 1000 }, a, b, q, g, late);
  await by({ toDate: early - 1000 });
  assert.deepEqual([...new Set((await client.logs({ messageIds: [a, late] })).logs.map((l) => l.messageId))].sort(), [a, late].sort());
  const [l] = (await client.logs({ filter: { urlGroup: "g" } })).logs;
  assert.deepEqual([l.urlGroup, l.topicName], ["g", "g"]);
  assert.equal((await raw("/v2/events?label=x,z&state=CREATED")).body.events.length, 2, "a comma list is as good as two parameters");
});

test("pages of logs, the newest entry first, with nothing shifted by what happens meanwhile", async (t) => {
  const { client, sink, delivered } = await setup(t);
  const ids = [];
  for (let i = 0; i < 4; i++) ids.push((await client.publish({ url: sink.url("/a"), label: "paged" })).messageId);
  await Promise.all(ids.map((id) => delivered(id)));
  const seen = [];
  let cursor;
  do {
    const page = await client.logs({ count: 5, cursor, filter: { label: "paged" } });
    seen.push(...page.logs);
    assert.ok(page.logs.length <= 5);
    cursor = page.cursor;
    if (cursor) await delivered((await client.publish({ url: sink.url("/a"), label: "paged" })).messageId);
  } while (cursor);
  assert.equal(seen.length, 12);
  assert.deepEqual([...new Set(seen.map((l) => l.messageId))].sort(), ids.sort());
  const times = seen.map((l) => l.time);
  assert.deepEqual(times, times.toSorted((a, b) => b - a));
});

test("a dead letter has its message and the last answer", async (t) => {
  const { client, sink, dead } = await setup(t);
  sink.on("/a", { status: 404, headers: { "content-type": "text/plain" }, body: "404 Not Found" });
  const before = Date.now();
  const { messageId } = await client.publishJSON({
    url: sink.url("/a"), body: { a: 1 }, headers: { "x-a": "1" }, retries: 0, label: "l", flowControl: { key: "k", parallelism: 1 }, callback: sink.url("/cb"),
  });
  const { dlqId, createdAt, notBefore, responseHeader, ...d } = await dead(messageId);
  assert.match(dlqId, /^\d+-\w+$/);
  assert.ok(createdAt >= before && notBefore === createdAt);
  assert.deepEqual(responseHeader["Content-Type"], ["text/plain"]);
  assert.deepEqual(d, {
    messageId, url: sink.url("/a"), method: "POST", header: { "Content-Type": ["application/json"], "X-A": ["1"] }, body: '{"a":1}', maxRetries: 0, label: "l", labels: ["l"],
    flowControlKey: "k", parallelism: 1, period: 1, callback: sink.url("/cb"), callerIP: "127.0.0.1", responseStatus: 404, responseBody: "404 Not Found",
    urlGroup: undefined, ratePerSecond: undefined,
  });
});

/** Dead letters of messages to /0, /1 … in that order: their ids. */
async function deadLetters({ client, sink, dead }, n, more = () => ({})) {
  const out = [];
  for (let i = 0; i < n; i++) {
    sink.on(`/${i}`, 500 + i);
    out.push(await dead((await client.publish({ url: sink.url(`/${i}`), body: `${i}`, retries: 0, ...more(i) })).messageId));
  }
  return out;
}

test("dead letters are listed by page and by filter", async (t) => {
  const q = await setup(t);
  const { client, sink, raw } = q;
  const letters = await deadLetters(q, 5, (i) => ({ label: i % 2 ? "odd" : ["even", "x"] }));
  const ids = letters.map((d) => d.dlqId);
  const all = await client.dlq.listMessages();
  assert.deepEqual(all.messages.map((d) => d.dlqId), ids.toReversed());
  assert.equal(all.cursor, undefined);
  const one = await client.dlq.listMessages({ count: 2 });
  const two = await client.dlq.listMessages({ count: 2, cursor: one.cursor });
  const three = await client.dlq.listMessages({ count: 2, cursor: two.cursor });
  assert.deepEqual([one, two, three].map((p) => p.messages.length), [2, 2, 1]);
  assert.deepEqual([one, two, three].flatMap((p) => p.messages).map((d) => d.dlqId), ids.toReversed());
  assert.equal(three.cursor, undefined);
  const by = async (filter, ...want) =>
    assert.deepEqual((await client.dlq.listMessages({ filter })).messages.map((d) => d.dlqId).sort(), want.map((i) => ids[i]).sort(), JSON.stringify(filter));
  await by({ label: "odd" }, 1, 3);
  await by({ label: ["odd", "x"] }, 0, 1, 2, 3, 4);
  await by({ responseStatus: 502 }, 2);
  await by({ responseStatus: [500, 501] }, 0, 1);
  await by({ url: sink.url("/3") }, 3);
  await by({ messageId: letters[4].messageId }, 4);
  await by({ label: "odd", responseStatus: 502 });
  await by({ queueName: "none" });
  await by({ fromDate: letters[0].createdAt - 1000, callerIp: "127.0.0.1" }, 0, 1, 2, 3, 4);
  await by({ toDate: letters[0].createdAt - 1000 });
  assert.deepEqual((await client.dlq.listMessages({ dlqIds: [ids[0], ids[2]] })).messages.map((d) => d.dlqId).sort(), [ids[0], ids[2]].sort());
  assert.deepEqual((await raw("/v2/dlq?order=earliestFirst")).body.messages.map((d) => d.dlqId), ids);
  const single = await raw(`/v2/dlq/${ids[1]}`);
  assert.deepEqual([single.status, single.body.dlqId, single.body.responseStatus], [200, ids[1], 501]);
  assert.equal((await raw("/v2/dlq?cursor=%00bad")).status, 400);
});

test("dead letters are deleted one by one, by id, by filter and all together", async (t) => {
  const q = await setup(t);
  const { client, sink, raw } = q;
  const ids = (await deadLetters(q, 8, (i) => ({ label: `l${i}` }))).map((d) => d.dlqId);
  const left = async () => (await client.dlq.listMessages()).messages.length;
  await client.dlq.delete(ids[0]);
  await assert.rejects(client.dlq.delete(ids[0]), failure(404));
  await assert.rejects(client.dlq.delete("1-nothing"), failure(404));
  assert.equal((await raw(`/v2/dlq/${ids[0]}`)).status, 404);
  assert.equal((await client.dlq.deleteMany({ dlqIds: [ids[0], ids[1], ids[2]] })).deleted, 2);
  assert.equal((await client.dlq.delete({ filter: { label: "l3" } })).deleted, 1);
  assert.equal((await client.dlq.delete({ filter: { label: "l3" } })).deleted, 0);
  assert.equal((await client.dlq.delete({ filter: { url: sink.url("/4"), label: "l5" } })).deleted, 0);
  assert.equal((await raw("/v2/dlq", { method: "DELETE", body: JSON.stringify({ dlqIds: [ids[4]] }), headers: { "content-type": "application/json" } })).body.deleted, 1);
  for (const bad of ["labeel=l5", "host=x", "path=/5"]) assert.equal((await raw(`/v2/dlq?${bad}`, { method: "DELETE" })).status, 400, bad);
  assert.equal(await left(), 3);
  const some = await client.dlq.delete({ all: true, count: 2 });
  assert.equal(some.deleted, 2);
  assert.ok(some.cursor, "there is more");
  const rest = await client.dlq.delete({ all: true, count: 2, cursor: some.cursor });
  assert.deepEqual(rest, { deleted: 1 });
  assert.equal(await left(), 0);
  assert.deepEqual(await client.dlq.delete({ all: true }), { deleted: 0 });
});

test("a retried dead letter is a new message that leaves the queue of the dead", async (t) => {
  const q = await setup(t);
  const { client, sink, raw, post, delivered } = q;
  const letters = await deadLetters(q, 4, (i) => ({ headers: { "x-i": `${i}` }, method: "PUT", label: `l${i}` }));
  for (let i = 0; i < 4; i++) sink.on(`/${i}`, 200);
  const one = await client.dlq.retry(letters[0].dlqId);
  assert.equal(one.responses.length, 1);
  assert.equal(one.cursor, undefined);
  assert.notEqual(one.responses[0].messageId, letters[0].messageId);
  await delivered(one.responses[0].messageId);
  const [, again] = sink.at("/0");
  assert.deepEqual([again.method, again.text, again.headers["x-i"], again.headers["upstash-retried"]], ["PUT", "0", "0", "0"]);
  await assert.rejects(client.dlq.delete(letters[0].dlqId), failure(404));
  assert.deepEqual((await client.dlq.retry(letters[0].dlqId)).responses, []);

  const single = await raw(`/v2/dlq/retry/${letters[1].dlqId}`, { method: "POST", headers: { "upstash-label": "again", "upstash-retries": "1" } });
  assert.equal(single.status, 201);
  const m = await client.messages.get(single.body.messageId);
  assert.deepEqual([m.label, m.maxRetries], ["again", 1]);
  assert.equal((await post("/v2/dlq/retry/1-nothing")).status, 404);
  const filtered = await client.dlq.retry({ filter: { label: "l2" } });
  assert.equal(filtered.responses.length, 1);
  const all = await client.dlq.retry({ all: true });
  assert.equal(all.responses.length, 1);
  assert.deepEqual(await client.dlq.retry({ all: true }), { responses: [], cursor: undefined });
  assert.equal((await post("/v2/dlq/retry?labeel=x")).status, 400);
  await Promise.all([...filtered.responses, ...all.responses].map((r) => delivered(r.messageId)));
  assert.equal((await client.dlq.listMessages()).messages.length, 0);
});

test("a retry is no duplicate, waits for nothing and keeps its queue", async (t) => {
  const { client, sink, dead, delivered } = await setup(t);
  sink.on("/a", 500, 200);
  const queue = client.queue({ queueName: "q" });
  const first = await queue.enqueue({ url: sink.url("/a"), retries: 0, deduplicationId: "once" });
  const { dlqId } = await dead(first.messageId);
  const { responses: [again] } = await client.dlq.retry(dlqId);
  await delivered(again.messageId);
  assert.equal((await client.messages.get(again.messageId)).queueName, "q");
  sink.on("/late", 500, 200);
  const late = await client.publish({ url: sink.url("/late"), retries: 0, delay: 1 });
  const letter = await dead(late.messageId);
  const { responses: [retried] } = await client.dlq.retry({ dlqIds: [letter.dlqId] });
  await delivered(retried.messageId);
  const m = await client.messages.get(retried.messageId);
  assert.equal(m.notBefore, m.createdAt);
});

test("a retried letter of a group goes to the endpoint that failed", async (t) => {
  const { client, sink, delivered } = await setup(t);
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ url: sink.url("/good") }, { url: sink.url("/bad"), name: "b" }] });
  sink.on("/bad", 500, 200);
  await client.publish({ urlGroup: "g", retries: 0 });
  const [d] = await until("the dead letter", async () => {
    const { messages } = await client.dlq.listMessages({ filter: { urlGroup: "g" } });
    return messages.length && messages;
  });
  assert.deepEqual([d.url, d.urlGroup, d.topicName, d.endpointName], [sink.url("/bad"), "g", "g", "b"]);
  const { responses } = await client.dlq.retry([d.dlqId]);
  await delivered(responses[0].messageId);
  assert.deepEqual([sink.at("/good").length, sink.at("/bad").length], [1, 2]);
});

test("what is redacted is delivered but not shown", async (t) => {
  const { client, sink, dead, raw } = await setup(t);
  sink.on("/a", 500, 500, 200);
  const secret = "the-secret-body", key = "Bearer the-secret-key";
  const { messageId } = await client.publish({
    url: sink.url("/a"), body: secret, headers: { authorization: key, "x-open": "seen" }, retries: 1, ...soon, redact: { body: true, header: ["authorization"] },
  });
  const d = await dead(messageId);
  const [r] = sink.at("/a");
  assert.deepEqual([r.text, r.headers.authorization], [secret, key]);
  const hidden = (text) => `REDACTED:${createHash("sha256").update(text).digest("hex")}`;
  assert.deepEqual([d.body, d.header.Authorization, d.header["X-Open"]], [hidden(secret), [hidden(key)], ["seen"]]);
  for (const path of [`/v2/messages/${messageId}`, `/v2/events?messageId=${messageId}`, "/v2/dlq"]) {
    const { text } = await raw(path);
    for (const s of [secret, key, Buffer.from(secret).toString("base64")]) assert.ok(!text.includes(s), `${path} shows ${s}`);
  }
  const { responses } = await client.dlq.retry(d.dlqId);
  await until("the retry", () => sink.at("/a").length === 3);
  assert.deepEqual([sink.at("/a")[2].text, sink.at("/a")[2].headers.authorization], [secret, key]);
  assert.ok(!JSON.stringify(await client.messages.get(responses[0].messageId)).includes(secret));
});
