// URL groups: protocol sections 5.6 and 13.
import assert from "node:assert/strict";
import { test } from "node:test";
import { failure, setup } from "../lib/qstash.mjs";

test("endpoints are added, renamed, moved and removed", async (t) => {
  const { client, raw } = await setup(t);
  const groups = client.urlGroups;
  assert.deepEqual(await groups.list(), []);
  await assert.rejects(groups.get("g"), failure(404));
  const endpoints = async () => (await groups.get("g")).endpoints;
  await groups.addEndpoints({ name: "g", endpoints: [{ name: "e1", url: "http://127.0.0.1/1" }, { url: "http://127.0.0.1/2" }] });
  assert.deepEqual(await endpoints(), [{ name: "e1", url: "http://127.0.0.1/1" }, { url: "http://127.0.0.1/2" }]);
  const { createdAt, updatedAt, name } = await groups.get("g");
  assert.ok(name === "g" && createdAt > 0 && updatedAt >= createdAt);
  await groups.addEndpoints({ name: "g", endpoints: [{ name: "e1", url: "http://127.0.0.1/moved" }] });
  await groups.addEndpoints({ name: "g", endpoints: [{ url: "http://127.0.0.1/2" }] });
  await groups.addEndpoints({ name: "g", endpoints: [{ name: "e2", url: "http://127.0.0.1/2" }] });
  const byURL = (a, b) => a.url.localeCompare(b.url);
  assert.deepEqual((await endpoints()).sort(byURL), [{ name: "e2", url: "http://127.0.0.1/2" }, { name: "e1", url: "http://127.0.0.1/moved" }]);
  await groups.removeEndpoints({ name: "g", endpoints: [{ name: "none" }, { name: "e1" }] });
  assert.deepEqual(await endpoints(), [{ name: "e2", url: "http://127.0.0.1/2" }]);
  await groups.removeEndpoints({ name: "g", endpoints: [{ url: "http://127.0.0.1/2" }] });
  await assert.rejects(groups.get("g"), failure(404), "a group without endpoints is none");

  await groups.addEndpoints({ name: "-_h.1", endpoints: [{ url: "http://127.0.0.1/1" }] });
  assert.deepEqual((await groups.list()).map((g) => g.name), ["-_h.1"]);
  await groups.delete("-_h.1");
  await groups.delete("-_h.1");
  assert.equal((await raw("/v2/topics/-_h.1", { method: "DELETE" })).status, 200);
  assert.deepEqual(await groups.list(), []);
});

test("each endpoint gets a message of its own", async (t) => {
  const { client, sink, delivered, dead } = await setup(t);
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ name: "e1", url: sink.url("/1") }, { url: sink.url("/2") }] });
  sink.on("/2", 500);
  const sent = await client.publishJSON({ urlGroup: "g", body: { a: 1 }, headers: { "x-a": "1" }, retries: 0 });
  assert.deepEqual(sent.map((m) => m.url), [sink.url("/1"), sink.url("/2")]);
  assert.equal(new Set(sent.map((m) => m.messageId)).size, 2);
  await delivered(sent[0].messageId);
  await dead(sent[1].messageId);
  for (const [i, path] of ["/1", "/2"].entries()) {
    const [r] = sink.at(path);
    assert.deepEqual([r.text, r.headers["x-a"], r.headers["upstash-topic-name"], r.headers["upstash-message-id"]], ['{"a":1}', "1", "g", sent[i].messageId]);
  }
  const [one, two] = await Promise.all(sent.map((m) => client.messages.get(m.messageId)));
  assert.deepEqual([one.topicName, one.urlGroup, one.endpointName, two.endpointName], ["g", "g", "e1", undefined]);
  assert.deepEqual((await client.publish({ topic: "g" })).map((m) => m.url), [sink.url("/1"), sink.url("/2")]);
  await assert.rejects(client.publish({ urlGroup: "nobody" }), failure(404, "topic nobody not found"));
  await client.urlGroups.removeEndpoints({ name: "g", endpoints: [{ name: "e1" }] });
  const single = await client.publish({ urlGroup: "g" });
  assert.equal(single.length, 1, "an array, also for one");
});

test("headers of a group are below those of the request", async (t) => {
  const { client, sink, raw } = await setup(t);
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ url: sink.url("/a") }] });
  const patched = await raw("/v2/topics/g", {
    method: "PATCH", headers: { "content-type": "application/json" },
    body: JSON.stringify({ headers: { "Upstash-Retries": "9", "Upstash-Label": ["group"], "Upstash-Forward-X-G": ["1"], "Upstash-Header-Forward": ["true"] } }),
  });
  assert.equal(patched.status, 200);
  const [{ messageId }] = (await raw("/v2/publish/g", { method: "POST", body: "b", headers: { "upstash-label": "mine", "x-hook": "2" } })).body;
  const m = await client.messages.get(messageId);
  assert.deepEqual([m.maxRetries, m.labels], [9, ["mine"]]);
  const [{ headers: h }] = await sink.got("/a");
  assert.deepEqual([h["x-g"], h["x-hook"], h.authorization], ["1", "2", undefined]);
});
