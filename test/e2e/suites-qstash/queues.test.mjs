// Queues: protocol section 11.
import assert from "node:assert/strict";
import { test } from "node:test";
import { failure, gate, setup, soon } from "../lib/qstash.mjs";
import { until } from "../lib/server.mjs";

test("queues are made, changed, listed and deleted", async (t) => {
  const { client, sink, raw, post } = await setup(t);
  assert.deepEqual(await client.queue().list(), []);
  const mail = client.queue({ queueName: "mail" });
  await assert.rejects(mail.get(), failure(404));
  await mail.upsert({ parallelism: 2 });
  const { createdAt, updatedAt, ...q } = await mail.get();
  assert.ok(createdAt > 0 && updatedAt >= createdAt);
  assert.deepEqual(q, { name: "mail", parallelism: 2, lag: 0, paused: false });
  await mail.upsert({ parallelism: 5, paused: true });
  const changed = await mail.get();
  assert.deepEqual([changed.parallelism, changed.paused, changed.createdAt], [5, true, createdAt]);
  assert.equal((await post("/v2/queues/", { queueName: "mail", paused: false })).status, 200);
  const kept = await mail.get();
  assert.deepEqual([kept.parallelism, kept.paused], [5, false], "what is not said stays");
  await mail.pause();
  assert.equal((await mail.get()).paused, true);
  await mail.resume();
  assert.equal((await mail.get()).paused, false);
  await client.queue({ queueName: "-_made.on-the-fly" }).enqueue({ url: sink.url("/a") });
  assert.deepEqual((await client.queue().list()).map((x) => [x.name, x.parallelism]).sort(), [["-_made.on-the-fly", 1], ["mail", 5]]);
  await mail.delete();
  await mail.delete();
  assert.deepEqual((await client.queue().list()).map((x) => x.name), ["-_made.on-the-fly"]);
  for (const verb of ["pause", "resume"]) assert.equal((await post(`/v2/queues/none/${verb}`)).status, 404);
  assert.equal((await raw("/v2/queues/none", { method: "DELETE" })).status, 200);
});

test("messages go one after another, and a retry holds up those behind it", async (t) => {
  const { client, sink, delivered, dead } = await setup(t);
  const queue = client.queue({ queueName: "fifo" });
  sink.on("/0", 500, 500, 200);
  sink.on("/2", 500);
  const ids = [];
  for (let i = 0; i < 5; i++) {
    ids.push((await queue.enqueueJSON({ url: sink.url(`/${i}`), body: { i }, retries: i === 2 ? 1 : 3, delay: "1h", ...soon })).messageId);
  }
  await dead(ids[2]);
  await delivered(ids[4]);
  assert.deepEqual(sink.requests.map((r) => r.path), ["/0", "/0", "/0", "/1", "/2", "/2", "/3", "/4"]);
  assert.equal(sink.open.most, 1);
  assert.equal(sink.at("/0")[0].headers["upstash-queue-name"], "fifo");
  assert.equal((await client.messages.get(ids[4])).queueName, "fifo");
  assert.equal((await queue.get()).lag, 0);
});

test("the next message waits for the callback of the one before it", async (t) => {
  const { client, sink, delivered } = await setup(t);
  const queue = client.queue({ queueName: "cb" });
  const told = gate(), failed = gate();
  sink.on("/cb", told.promise);
  sink.on("/bad", 500);
  sink.on("/failed", failed.promise);
  await queue.enqueue({ url: sink.url("/first"), callback: sink.url("/cb") });
  await queue.enqueue({ url: sink.url("/bad"), retries: 0, failureCallback: sink.url("/failed") });
  const last = await queue.enqueue({ url: sink.url("/last") });
  await sink.got("/cb");
  assert.equal((await queue.get()).lag > 0, true);
  assert.equal(sink.at("/bad").length, 0);
  told.release();
  await sink.got("/failed");
  assert.equal(sink.at("/last").length, 0);
  failed.release();
  await delivered(last.messageId);
  assert.deepEqual(sink.requests.map((r) => r.path), ["/first", "/cb", "/bad", "/failed", "/last"]);
});

test("parallelism is how many are under way, and can be raised at once", async (t) => {
  const { client, sink, delivered } = await setup(t);
  const queue = client.queue({ queueName: "par" });
  await queue.upsert({ parallelism: 2 });
  const answer = gate();
  sink.on("/a", answer.promise);
  const ids = [];
  for (let i = 0; i < 8; i++) ids.push((await queue.enqueue({ url: sink.url("/a"), body: `${i}` })).messageId);
  await sink.got("/a", 2);
  assert.equal(sink.open.now, 2);
  await queue.upsert({ parallelism: 5 });
  await sink.got("/a", 5);
  assert.equal(sink.open.now, 5);
  assert.deepEqual(sink.at("/a").map((r) => r.text).sort(), ["0", "1", "2", "3", "4"]);
  answer.release();
  await Promise.all(ids.map((id) => delivered(id)));
  assert.equal(sink.open.most, 5);
});

test("a paused queue takes messages and starts none; lag counts them", async (t) => {
  const { client, sink, delivered, reached } = await setup(t);
  const queue = client.queue({ queueName: "p" });
  await queue.upsert({ paused: true });
  const ids = [];
  for (let i = 0; i < 4; i++) ids.push((await queue.enqueue({ url: sink.url(`/${i}`) })).messageId);
  assert.equal((await queue.get()).lag, 4);
  assert.deepEqual(await client.messages.cancel(ids[0]), { cancelled: 1 });
  await reached(ids[0], "CANCELED");
  assert.equal((await queue.get()).lag, 3);
  assert.equal(sink.requests.length, 0);
  await queue.resume();
  await delivered(ids[3]);
  assert.deepEqual(sink.requests.map((r) => r.path), ["/1", "/2", "/3"]);
});

test("pausing lets the running delivery end and starts no other", async (t) => {
  const { client, sink, delivered } = await setup(t);
  const queue = client.queue({ queueName: "p" });
  const answer = gate();
  sink.on("/first", answer.promise);
  const first = await queue.enqueue({ url: sink.url("/first") });
  const second = await queue.enqueue({ url: sink.url("/second") });
  await sink.got("/first");
  await queue.pause();
  answer.release();
  await delivered(first.messageId);
  // What is published now is delivered after whatever the end of the first one set free.
  await delivered((await client.publish({ url: sink.url("/other") })).messageId);
  assert.equal(sink.at("/second").length, 0);
  assert.equal((await queue.get()).lag, 1);
  await queue.resume();
  await delivered(second.messageId);
});

test("cancelling a message ends its hold on the queue, also while its callback is under way", async (t) => {
  const { client, sink, delivered } = await setup(t);
  const queue = client.queue({ queueName: "c" });
  sink.on("/cb", 500);
  const first = await queue.enqueue({ url: sink.url("/first"), callback: sink.url("/cb"), headers: { "Upstash-Callback-Retry-Delay": "3600000" } });
  const second = await queue.enqueue({ url: sink.url("/second") });
  const [cb] = await sink.got("/cb");
  assert.equal(sink.at("/second").length, 0);
  assert.deepEqual(await client.messages.cancel(cb.headers["upstash-message-id"]), { cancelled: 1 });
  await Promise.all([delivered(first.messageId), delivered(second.messageId)]);
});

test("cancelling the message that holds up a queue lets the next one go", async (t) => {
  const { client, sink, delivered, reached } = await setup(t);
  const queue = client.queue({ queueName: "c" });
  sink.on("/bad", 500);
  const bad = await queue.enqueue({ url: sink.url("/bad"), retryDelay: "3600000" });
  const next = await queue.enqueue({ url: sink.url("/next") });
  await reached(bad.messageId, "RETRY");
  assert.equal(sink.at("/next").length, 0);
  await client.messages.cancel(bad.messageId);
  await delivered(next.messageId);
});

test("a group in a queue has one place for each endpoint; two queues do not wait for each other", async (t) => {
  const { client, sink, delivered } = await setup(t);
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [1, 2, 3].map((n) => ({ url: sink.url(`/${n}`) })) });
  const answer = gate();
  sink.on("/1", answer.promise);
  const sent = await client.queue({ queueName: "one" }).enqueue({ urlGroup: "g" });
  assert.equal(sent.length, 3);
  await sink.got("/1");
  await delivered((await client.queue({ queueName: "two" }).enqueue({ url: sink.url("/other") })).messageId);
  assert.deepEqual(sink.requests.map((r) => r.path), ["/1", "/other"]);
  answer.release();
  await delivered(sent[2].messageId);
  assert.deepEqual(sink.requests.map((r) => r.path), ["/1", "/other", "/2", "/3"]);
});

test("what waits in a deleted queue is dropped", async (t) => {
  const { client, sink, states } = await setup(t);
  const queue = client.queue({ queueName: "d" });
  await queue.upsert({ paused: true });
  const { messageId } = await queue.enqueue({ url: sink.url("/old") });
  await queue.delete();
  await queue.enqueue({ url: sink.url("/new") });
  await sink.got("/new");
  assert.equal(sink.at("/old").length, 0);
  await until("the old message to have ended", async () => (await states(messageId)).at(-1) !== "CREATED");
});
