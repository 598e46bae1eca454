// What survives a server that is killed: protocol section 20.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect, gate, soon, startSink } from "../lib/qstash.mjs";
import { startServer } from "../lib/server.mjs";

/** A server that can be killed: kill() ends it without a word and starts another one on its data. */
async function setup(t) {
  const dir = mkdtempSync(join(tmpdir(), "quartet-e2e-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  let server = await startServer({ dir });
  t.after(() => server.close());
  const sink = await startSink();
  t.after(() => sink.close());
  return {
    ...connect(server), sink,
    async kill() {
      await server.stop("SIGKILL");
      server = await startServer({ dir, port: server.port });
    },
  };
}

test("messages that are delayed, wait for a retry, are in flight or queued are delivered after a crash", async (t) => {
  const { client, sink, kill, delivered, reached, states } = await setup(t);
  const queue = client.queue({ queueName: "q" });
  const cut = gate();
  sink.on("/cut", cut.promise, 200);
  sink.on("/retried", 500, 200);
  sink.on("/q0", cut.promise, 200);
  const delayed = await client.publish({ url: sink.url("/delayed"), delay: 2, body: Buffer.from([255, 0]) });
  const due = (await client.messages.get(delayed.messageId)).notBefore;
  const far = await client.publish({ url: sink.url("/far"), delay: "1h" });
  const retried = await client.publish({ url: sink.url("/retried"), retryDelay: "2000", callback: sink.url("/cb") });
  const inFlight = await client.publish({ url: sink.url("/cut"), retries: 0, headers: { "x-a": "1" } });
  const queued = [];
  for (let i = 0; i < 4; i++) queued.push((await queue.enqueue({ url: sink.url(`/q${i}`) })).messageId);
  await Promise.all([sink.got("/cut"), sink.got("/q0"), reached(retried.messageId, "RETRY")]);
  await kill();
  cut.release();

  await Promise.all([delayed.messageId, retried.messageId, inFlight.messageId, ...queued].map((id) => delivered(id)));
  const [d] = sink.at("/delayed");
  assert.ok(d.at >= due);
  assert.deepEqual([...d.body], [255, 0]);
  assert.deepEqual(sink.at("/retried").map((r) => r.headers["upstash-retried"]), ["0", "1"]);
  assert.deepEqual(sink.at("/cut").map((r) => [r.headers["upstash-retried"], r.headers["upstash-message-id"], r.headers["x-a"]]),
    Array(2).fill(["0", inFlight.messageId, "1"]), "what a crash cut off costs no retry");
  assert.deepEqual(sink.requests.map((r) => r.path).filter((p) => p.startsWith("/q")), ["/q0", "/q0", "/q1", "/q2", "/q3"]);
  assert.deepEqual(await states(far.messageId), ["CREATED"]);
  assert.deepEqual(await client.messages.cancel(far.messageId), { cancelled: 1 });
});

test("whatever was said to the server is still so after a crash", async (t) => {
  const { client, sink, kill, raw, post, dead, delivered } = await setup(t);
  sink.on("/bad", 500, 200);
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ name: "e", url: sink.url("/g") }] });
  await client.queue({ queueName: "q" }).upsert({ parallelism: 3, paused: true });
  const waiting = await client.queue({ queueName: "q" }).enqueue({ url: sink.url("/queued") });
  const { scheduleId } = await client.schedules.create({ destination: sink.url("/s"), cron: "CRON_TZ=Europe/Paris 0 5 * * *", body: "b" });
  await client.schedules.pause({ schedule: scheduleId });
  const unique = await client.publish({ url: sink.url("/a"), deduplicationId: "once", flowControl: { key: "f", parallelism: 1 } });
  await delivered(unique.messageId);
  await client.flowControl.pin("f", { parallelism: 4 });
  await client.flowControl.pause("f");
  const held = await client.publish({ url: sink.url("/held"), flowControl: { key: "f", parallelism: 1 } });
  const { dlqId } = await dead((await client.publish({ url: sink.url("/bad"), retries: 0 })).messageId);
  const keys = (await post("/v2/keys/rotate")).body;
  const told = async () => [
    await client.urlGroups.get("g"), await client.queue({ queueName: "q" }).get(), await client.schedules.get(scheduleId), await client.flowControl.get("f"),
    (await client.dlq.listMessages()).messages, (await raw("/v2/keys")).body, await client.messages.get(held.messageId), (await client.logs({ count: 1000 })).logs,
  ];
  const before = await told();
  await kill();
  assert.deepEqual(await told(), before);
  assert.deepEqual(before[5], keys);
  assert.deepEqual(await client.publish({ url: sink.url("/a"), deduplicationId: "once" }), { messageId: unique.messageId, deduplicated: true });
  assert.equal(sink.at("/held").length + sink.at("/queued").length, 0);
  await client.flowControl.resume("f");
  await client.queue({ queueName: "q" }).resume();
  await Promise.all([delivered(held.messageId), delivered(waiting.messageId)]);
  const { responses } = await client.dlq.retry(dlqId);
  await delivered(responses[0].messageId);
});

test("a message that was answered for is never lost, however often the server is killed", async (t) => {
  const { client, sink, kill, delivered } = await setup(t);
  sink.on("/a", 500, 200);
  const ids = [];
  for (let round = 0; round < 3; round++) {
    const sent = await Promise.all(Array.from({ length: 10 }, (_, i) => client.publishJSON({ url: sink.url("/a"), body: { round, i }, ...soon })));
    ids.push(...sent.map((m) => m.messageId));
    await kill();
  }
  await Promise.all(ids.map((id) => delivered(id)));
  assert.equal(new Set(sink.at("/a").map((r) => r.headers["upstash-message-id"])).size, 30);
});
