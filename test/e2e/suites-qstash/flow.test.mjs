// Flow control: protocol section 14.
import assert from "node:assert/strict";
import { test } from "node:test";
import { failure, gate, setup, soon } from "../lib/qstash.mjs";

const key = "tenant/a b";

test("parallelism counts attempts in flight, for all URLs of a key together", async (t) => {
  const { client, sink, delivered } = await setup(t);
  const answer = gate();
  sink.on("/a", answer.promise);
  sink.on("/b", answer.promise);
  const ids = [];
  for (let i = 0; i < 6; i++) ids.push((await client.publish({ url: sink.url(i % 2 ? "/a" : "/b"), flowControl: { key: "k", parallelism: 2 } })).messageId);
  await Promise.all([sink.got("/a"), sink.got("/b")]);
  const info = await client.flowControl.get("k");
  assert.deepEqual([info.flowControlKey, info.parallelismMax, info.parallelismCount, info.waitListSize], ["k", 2, 2, 4]);
  await delivered((await client.publish({ url: sink.url("/free"), flowControl: { key: "other", parallelism: 1 } })).messageId);
  assert.deepEqual(await client.messages.cancel(ids[5]), { cancelled: 1 });
  assert.equal((await client.flowControl.get("k")).waitListSize, 3);
  answer.release();
  await Promise.all(ids.slice(0, 5).map((id) => delivered(id)));
  assert.ok(sink.open.most <= 3);
  const after = await client.flowControl.get("k");
  assert.deepEqual([after.parallelismCount, after.waitListSize], [0, 0]);
});

test("rate counts starts in a window, retries too", async (t) => {
  const { client, sink, delivered } = await setup(t);
  sink.on("/a", 500, 200);
  const flowControl = { key: "r", rate: 2, period: "2s" };
  const ids = [];
  for (let i = 0; i < 4; i++) ids.push((await client.publish({ url: sink.url("/a"), flowControl, ...soon })).messageId);
  await Promise.all(ids.map((id) => delivered(id)));
  const at = sink.at("/a").map((r) => r.at);
  assert.equal(at.length, 5);
  // A request arrives a little after its attempt began.
  assert.ok(at[2] - at[0] >= 1800 && at[4] - at[2] >= 1800, `starts at ${at.map((x) => x - at[0])} ms`);
  const info = await client.flowControl.get("r");
  assert.deepEqual([info.rateMax, info.ratePeriod, info.rateCount], [2, 2, 1]);
  assert.ok(Math.abs(info.ratePeriodStart - Date.now() / 1000) < 10, "in seconds");
});

test("the newest message's limits hold for all that wait", async (t) => {
  const { client, sink } = await setup(t);
  const answer = gate();
  sink.on("/a", answer.promise);
  for (let i = 0; i < 4; i++) await client.publish({ url: sink.url("/a"), flowControl: { key: "n", parallelism: 1 } });
  await sink.got("/a");
  assert.equal(sink.open.now, 1);
  await client.publish({ url: sink.url("/a"), flowControl: { key: "n", parallelism: 3 } });
  await sink.got("/a", 3);
  assert.equal((await client.flowControl.get("n")).parallelismMax, 3);
  assert.equal(sink.open.now, 3);
  answer.release();
});

test("a key is paused and resumed", async (t) => {
  const { client, sink, delivered, raw, post } = await setup(t);
  const send = () => client.publish({ url: sink.url("/a"), flowControl: { key, rate: 10, period: "1m" } });
  await delivered((await send()).messageId);
  await client.flowControl.pause(key);
  const { messageId } = await send();
  const info = (await raw(`/v2/flowControl/${key}`)).body;
  assert.deepEqual(info, {
    flowControlKey: key, waitListSize: 1, parallelismMax: 0, parallelismCount: 0, rateMax: 10, rateCount: 1, ratePeriod: 60, ratePeriodStart: info.ratePeriodStart,
    isPaused: true, isPinnedParallelism: false, isPinnedRate: false,
  });
  await client.flowControl.resetRate(key);
  assert.equal((await client.flowControl.get(key)).rateCount, 0);
  assert.equal(sink.requests.length, 1);
  await client.flowControl.resume(key);
  await delivered(messageId);
  assert.equal((await client.flowControl.get(key)).isPaused, false);

  await assert.rejects(client.flowControl.get("unknown"), failure(404));
  assert.ok([400, 404].includes((await post("/v2/flowControl/unknown/pause")).status));
  await send();
  await client.publish({ url: sink.url("/a"), flowControl: { key: "zzz", parallelism: 1 } });
  assert.deepEqual((await raw("/v2/flowControl")).body.map((k) => k.flowControlKey).sort(), [key, "zzz"]);
  assert.deepEqual((await raw("/v2/flowControl?search=zz")).body.map((k) => k.flowControlKey), ["zzz"]);
  assert.deepEqual((await raw("/v2/flowControl?search=nothing")).body, []);
});

test("a reset lets those go that the rate held back", async (t) => {
  const { client, sink } = await setup(t);
  for (let i = 0; i < 2; i++) await client.publish({ url: sink.url("/a"), flowControl: { key: "r", rate: 1, period: "1d" } });
  await sink.got("/a");
  const info = await client.flowControl.get("r");
  assert.deepEqual([info.rateCount, info.waitListSize], [1, 1]);
  await client.flowControl.resetRate("r");
  await sink.got("/a", 2);
});

test("pinned values stay whatever messages say, until they are unpinned", async (t) => {
  const { client, sink, post, delivered } = await setup(t);
  const send = async (flow) => delivered((await client.publish({ url: sink.url("/a"), flowControl: { key: "p", ...flow } })).messageId);
  const get = async () => {
    const i = await client.flowControl.get("p");
    return [i.parallelismMax, i.rateMax, i.ratePeriod, i.isPinnedParallelism, i.isPinnedRate];
  };
  await send({ parallelism: 1, rate: 100, period: 1 });
  assert.deepEqual(await get(), [1, 100, 1, false, false]);
  await client.flowControl.pin("p", { parallelism: 3, rate: 20, period: 120 });
  assert.deepEqual(await get(), [3, 20, 120, true, true]);
  assert.equal((await client.flowControl.get("p")).rateCount, 0);
  await send({ parallelism: 7, rate: 7, period: 7 });
  assert.deepEqual(await get(), [3, 20, 120, true, true]);
  await client.flowControl.unpin("p", { parallelism: true });
  assert.deepEqual(await get(), [3, 20, 120, false, true]);
  await send({ parallelism: 8, rate: 8, period: 8 });
  assert.deepEqual(await get(), [8, 20, 120, false, true]);
  await client.flowControl.unpin("p", { rate: true });
  await send({ rate: 9 });
  const [, rate, period, ...pins] = await get();
  assert.deepEqual([rate, period, ...pins], [9, 1, false, false]);
  for (const bad of ["", "?parallelism=x", "?rate=0", "?period=1.5"]) assert.equal((await post(`/v2/flowControl/p/pin${bad}`)).status, 400, bad);
});

test("delayed messages wait in line when they are due, and the server knows its own parallelism", async (t) => {
  const { client, sink, raw } = await setup(t);
  const { messageId } = await client.publish({ url: sink.url("/a"), delay: "1h", flowControl: { key: "d", parallelism: 1 } });
  assert.equal((await client.flowControl.get("d")).waitListSize, 0);
  assert.ok(messageId);
  const g = await client.flowControl.getGlobalParallelism();
  assert.ok(Number.isInteger(g.parallelismMax) && Number.isInteger(g.parallelismCount));
  assert.equal(typeof (await raw("/v2/globalParallelism")).body.parallelismMax, "number");
});

test("flow control holds in a queue and for callbacks", async (t) => {
  const { client, sink, delivered } = await setup(t);
  await delivered((await client.publish({ url: sink.url("/warm"), flowControl: { key: "f", parallelism: 1 } })).messageId);
  await client.flowControl.pause("f");
  const queue = client.queue({ queueName: "q" });
  await queue.enqueue({ url: sink.url("/held"), flowControl: { key: "f", parallelism: 1 } });
  const behind = await queue.enqueue({ url: sink.url("/behind") });
  await client.publish({
    url: sink.url("/a"), callback: sink.url("/cb"), headers: { "Upstash-Callback-Flow-Control-Key": "f", "Upstash-Callback-Flow-Control-Value": "parallelism=1" },
  });
  await sink.got("/a");
  assert.equal(sink.at("/held").length + sink.at("/behind").length + sink.at("/cb").length, 0);
  await client.flowControl.resume("f");
  await sink.got("/cb");
  await delivered(behind.messageId);
  assert.deepEqual(sink.requests.map((r) => r.path).filter((p) => p === "/held" || p === "/behind"), ["/held", "/behind"]);
});
