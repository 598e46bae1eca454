// Many messages in one call: protocol section 5.4.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setup } from "../lib/qstash.mjs";

const json = { "content-type": "application/json" };

test("the client's batches: URLs, groups and queues, answered in order", async (t) => {
  const { client, sink, delivered } = await setup(t);
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ url: sink.url("/g1") }, { url: sink.url("/g2"), name: "two" }] });
  const res = await client.batch([
    { url: sink.url("/a"), body: "text", headers: { "x-a": "1", "content-type": "text/csv" }, method: "PUT" },
    { urlGroup: "g", body: "to all" },
    { url: sink.url("/q"), queueName: "bq", body: "queued" },
    { url: sink.url("/later"), delay: "1h", retries: 1, label: "l" },
  ]);
  assert.equal(res.length, 4);
  assert.deepEqual(res[1].map((m) => m.url), [sink.url("/g1"), sink.url("/g2")]);
  const [a] = await sink.got("/a");
  assert.deepEqual([a.method, a.text, a.headers["x-a"], a.headers["content-type"], a.headers["upstash-message-id"]], ["PUT", "text", "1", "text/csv", res[0].messageId]);
  assert.deepEqual([(await sink.got("/g1"))[0].text, (await sink.got("/g2"))[0].text], ["to all", "to all"]);
  const [q] = await sink.got("/q");
  assert.deepEqual([q.text, q.headers["upstash-queue-name"]], ["queued", "bq"]);
  await delivered(res[2].messageId);
  assert.equal((await client.queue({ queueName: "bq" }).get()).parallelism, 1);
  const later = await client.messages.get(res[3].messageId);
  assert.deepEqual([later.maxRetries, later.label, later.notBefore - later.createdAt], [1, "l", 3_600_000]);

  const [n, o] = await client.batchJSON([{ url: sink.url("/n"), body: null }, { url: sink.url("/o"), body: { z: [1] } }]);
  assert.ok(n.messageId && o.messageId);
  const [nr] = await sink.got("/n");
  const [or] = await sink.got("/o");
  assert.deepEqual([nr.text, nr.headers["content-type"], or.text], ["null", "application/json", '{"z":[1]}']);
});

test("bodies of any JSON type keep their text, and headers are strings or arrays", async (t) => {
  const { sink, post } = await setup(t);
  const items = [
    ["/string", '"pl\\u0061in\\n"', "plain\n"], ["/object", '{"z": 1, "a": [1.0, "<&>\\u00fc"]}', '{"z":1,"a":[1.0,"<&>\\u00fc"]}'], ["/array", "[ 1, 2 ]", "[1,2]"],
    ["/number", "12345678901234567890", "12345678901234567890"], ["/true", "true", "true"], ["/null", "null", ""], ["/absent", undefined, ""],
  ];
  const body = items.map(([path, b]) => `{"destination":"${sink.url(path)}","headers":{"upstash-forward-x":["1","2"],"Upstash-Retries":"0","content-type":["a/b"]},
    "queue":${path === "/null" ? "null" : '""'}${b === undefined ? "" : `,"body":${b}`}}`).join(",");
  const res = await post("/v2/batch", `[${body}]`, json);
  assert.equal(res.status, 200, res.text);
  for (const [path, , want] of items) {
    const [r] = await sink.got(path);
    assert.equal(r.text, want, path);
    assert.deepEqual(r.rawHeaders.flatMap((v, i, all) => (i % 2 && all[i - 1].toLowerCase() === "x" ? [v] : [])), ["1", "2"]);
    assert.equal(r.headers["content-type"], "a/b");
  }
});

test("a bad item has its error in its place, and the others are published", async (t) => {
  const { sink, post } = await setup(t);
  const ok = (path) => ({ destination: sink.url(path), body: "b" });
  const bad = [
    1, { body: "b" }, { destination: "" }, { destination: "ftp://x/y" }, { destination: "no-such-group" }, { destination: sink.url("/bad"), headers: { "Upstash-Delay": "soon" } },
    { destination: sink.url("/bad"), headers: { "Upstash-Retries": "1000000" } }, { destination: sink.url("/bad"), queue: "no good" }, { destination: 1 },
  ];
  const res = await post("/v2/batch", [ok("/first"), ...bad, ok("/last")], json);
  assert.equal(res.status, 200);
  assert.equal(res.body.length, bad.length + 2);
  for (const [i, answer] of res.body.slice(1, -1).entries()) {
    assert.equal(typeof answer.error, "string", JSON.stringify(bad[i]));
    assert.equal(answer.messageId, undefined);
  }
  assert.match(res.body[2].error, /a non-empty destination must be provided/);
  assert.match(res.body[5].error, /topic no-such-group not found/);
  assert.match(res.body[6].error, /Upstash-Delay/i);
  await sink.got("/first");
  await sink.got("/last");
  assert.equal(sink.at("/bad").length, 0);
  assert.deepEqual((await post("/v2/batch", "[]", json)).body, []);
  for (const malformed of ["", "{", "[", '{"destination":"http://x"}', '"x"']) {
    assert.equal((await post("/v2/batch", malformed, json)).status, 400, malformed);
  }
});

test("an item can be a duplicate of another", async (t) => {
  const { client, sink } = await setup(t);
  const item = { url: sink.url("/a"), deduplicationId: "d" };
  const [a, b] = await client.batch([{ ...item }, { ...item }]);
  assert.deepEqual(b, { messageId: a.messageId, deduplicated: true });
});
