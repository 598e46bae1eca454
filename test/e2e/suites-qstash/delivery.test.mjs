// Attempts, their signature and their retries: protocol sections 7 and 8.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gate, Receiver, setup, signing, soon } from "../lib/qstash.mjs";
import { freePort } from "../lib/server.mjs";

const claims = (r) => JSON.parse(Buffer.from(r.headers["upstash-signature"].split(".")[1], "base64url"));

test("every attempt is signed afresh, and receivers verify it", async (t) => {
  const { client, sink, receiver, delivered } = await setup(t);
  sink.on("/a", 500, 200);
  const url = sink.url("/a?x=1&y=<ü>");
  const { messageId } = await client.publishJSON({ url, body: { n: 1 }, retries: 1, ...soon });
  await delivered(messageId);
  const [one, two] = sink.at("/a");
  for (const r of [one, two]) {
    const signature = r.headers["upstash-signature"];
    const c = claims(r);
    assert.equal(await receiver.verify({ signature, body: r.text, url: c.sub }), true);
    assert.equal(new URL(c.sub).href, new URL(url).href);
    await assert.rejects(receiver.verify({ signature, body: `${r.text} ` }), "another body");
    await assert.rejects(receiver.verify({ signature, body: r.text, url: `${c.sub}/` }), "another URL");
    await assert.rejects(new Receiver({ currentSigningKey: "sig_x", nextSigningKey: "sig_y" }).verify({ signature, body: r.text }), "other keys");
    assert.deepEqual([c.iss, c.nbf <= c.iat, c.exp - c.iat, c.aud ?? ""], ["Upstash", true, 300, ""]);
    assert.match(c.jti, /^jwt_/);
  }
  assert.notEqual(claims(one).jti, claims(two).jti);
  const empty = await client.publish({ url: sink.url("/empty") });
  await delivered(empty.messageId);
  const [e] = sink.at("/empty");
  assert.equal(await receiver.verify({ signature: e.headers["upstash-signature"], body: "", url: sink.url("/empty") }), true);
});

test("keys rotate so that receivers need not be told at once", async (t) => {
  const { client, sink, raw, post } = await setup(t);
  const before = (await raw("/v2/keys")).body;
  assert.deepEqual(before, { current: signing.currentSigningKey, next: signing.nextSigningKey });
  const after = (await post("/v2/keys/rotate")).body;
  assert.equal(after.current, before.next);
  assert.match(after.next, /^sig_/);
  assert.ok(after.next !== before.next && after.next !== before.current);
  assert.deepEqual((await raw("/v2/keys")).body, after);
  await client.publish({ url: sink.url("/a"), body: "b" });
  const [r] = await sink.got("/a");
  const verify = (keys) => new Receiver(keys).verify({ signature: r.headers["upstash-signature"], body: "b" });
  assert.equal(await verify(signing), true, "the old pair verifies by its next key");
  assert.equal(await verify({ currentSigningKey: after.current, nextSigningKey: after.next }), true);
  await assert.rejects(verify({ currentSigningKey: before.current, nextSigningKey: after.next }));
});

test("attempts fail until one succeeds, and keep the message's id and body", async (t) => {
  const { client, sink, delivered } = await setup(t);
  sink.on("/a", 500, 404, 200);
  const { messageId } = await client.publish({ url: sink.url("/a"), body: "b", headers: { "x-a": "1" }, ...soon });
  assert.deepEqual(await delivered(messageId), ["CREATED", "ACTIVE", "ERROR", "RETRY", "ACTIVE", "ERROR", "RETRY", "ACTIVE", "DELIVERED"]);
  assert.deepEqual(sink.at("/a").map((r) => [r.headers["upstash-message-id"], r.headers["upstash-retried"], r.text, r.headers["x-a"]]),
    ["0", "1", "2"].map((n) => [messageId, n, "b", "1"]));
});

test("retries are counted after the first attempt; none means none", async (t) => {
  const { client, sink, dead, reached } = await setup(t);
  for (const [retries, attempts] of [[0, 1], [2, 3], [undefined, 4]]) {
    const path = `/r${retries}`;
    sink.on(path, { status: 503, body: "busy", headers: { "content-type": "text/plain", "x-why": "busy" } });
    const { messageId } = await client.publish({ url: sink.url(path), retries, ...soon });
    const d = await dead(messageId);
    assert.deepEqual([d.maxRetries, d.responseStatus, d.responseBody, d.responseHeader["X-Why"]], [retries ?? 3, 503, "busy", ["busy"]]);
    assert.equal(sink.at(path).length, attempts);
    const states = await reached(messageId, "FAILED");
    assert.deepEqual(states.slice(-3), ["ACTIVE", "ERROR", "FAILED"]);
    assert.equal(states.length, 4 + 3 * (attempts - 1));
  }
});

test("success is 2xx and nothing else; redirects are not followed", async (t) => {
  const { client, sink, dead, delivered } = await setup(t);
  for (const status of [200, 201, 202, 204, 299]) {
    sink.on(`/${status}`, { status, body: status === 204 ? "" : "ok" });
    await delivered((await client.publish({ url: sink.url(`/${status}`), retries: 0 })).messageId);
  }
  for (const status of [301, 302, 304, 307, 308, 400, 410, 429, 599]) {
    sink.on(`/${status}`, { status, headers: { location: sink.url("/target") }, body: status === 304 ? "" : "no" });
    const d = await dead((await client.publish({ url: sink.url(`/${status}`), method: "GET", retries: 0 })).messageId);
    assert.equal(d.responseStatus, status);
  }
  assert.equal(sink.at("/target").length, 0);
});

test("an attempt without an answer fails with the status 0", async (t) => {
  const { client, dead, log } = await setup(t);
  for (const url of [`http://127.0.0.1:${await freePort()}/a`, "http://nowhere.invalid/a"]) {
    const { messageId } = await client.publish({ url, retries: 0 });
    assert.equal((await dead(messageId)).responseStatus, 0);
    const error = (await log(messageId)).find((l) => l.state === "ERROR");
    assert.ok(error.error.length > 0);
  }
});

test("an attempt that takes longer than its timeout fails", async (t) => {
  const { client, sink, dead, delivered } = await setup(t);
  const never = gate();
  t.after(never.release);
  sink.on("/slow", never.promise);
  const { messageId } = await client.publish({ url: sink.url("/slow"), timeout: 1, retries: 0 });
  const d = await dead(messageId);
  assert.equal(d.responseStatus, 0);
  const [r] = sink.at("/slow");
  await r.closed;
  assert.ok(Date.now() - r.at >= 900);
  sink.on("/once", never.promise, 200);
  await delivered((await client.publish({ url: sink.url("/once"), timeout: "1s", retries: 1, ...soon })).messageId);
});

test("489 with its header ends the retries, and without it does not", async (t) => {
  const { client, sink, dead } = await setup(t);
  sink.on("/final", { status: 489, headers: { "Upstash-NonRetryable-Error": "true" }, body: "never" });
  sink.on("/plain", { status: 489 });
  const final = await client.publish({ url: sink.url("/final"), retries: 3, ...soon });
  const plain = await client.publish({ url: sink.url("/plain"), retries: 1, ...soon });
  const d = await dead(final.messageId);
  assert.deepEqual([d.responseStatus, d.responseBody, d.maxRetries], [489, "never", 3]);
  await dead(plain.messageId);
  assert.deepEqual([sink.at("/final").length, sink.at("/plain").length], [1, 2]);
});

test("the wait before a retry: what the answer says, then the expression, then the default", async (t) => {
  const { client, sink, delivered, log, reached } = await setup(t);
  const waits = async (id) => (await log(id)).flatMap((l, i, all) => (l.state === "RETRY" ? [l.nextDeliveryTime - all[i - 1].time] : []));
  const about = (got, want) => assert.ok(Math.abs(got - want) <= 500, `a wait of ${got} ms, want ${want}`);

  for (const [name, value] of [["Retry-After", "0"], ["X-RateLimit-Reset", "0"], ["X-RateLimit-Reset-Requests", "10ms"], ["X-RateLimit-Reset-Tokens", "0.01"],
    ["Retry-After", new Date(Date.now() - 60_000).toUTCString()]]) {
    const path = `/${name}-${encodeURIComponent(value)}`;
    sink.on(path, { status: 429, headers: { [name]: value } }, 200);
    await delivered((await client.publish({ url: sink.url(path), retryDelay: "3600000" })).messageId);
  }
  /** want is how long it waits, or until when. */
  const first = async (answer, more, want) => {
    const path = `/w${sink.requests.length}`;
    sink.on(path, answer);
    const { messageId } = await client.publish({ url: sink.url(path), ...more });
    await reached(messageId, "RETRY");
    if (want instanceof Date) about((await log(messageId)).find((l) => l.state === "RETRY").nextDeliveryTime - want, 0);
    else about((await waits(messageId))[0], want);
  };
  await first({ status: 503, headers: { "Retry-After": "6m5s" } }, soon, 365_000);
  const until = new Date(Date.now() + 600_000).toUTCString(); // of whole seconds
  await first({ status: 503, headers: { "Retry-After": until } }, soon, new Date(until));
  await first({ status: 503, headers: { "Retry-After": "86401" } }, { retryDelay: "7000" }, 7000);
  await first(500, { retryDelay: "10000 * (1 + retried)" }, 10_000);
  await first(500, { retryDelay: "pow(10, 300)" }, 86_400_000);
  await first(500, {}, 12_182);

  sink.on("/grows", 500, 500, 500, 200);
  const { messageId } = await client.publish({ url: sink.url("/grows"), retryDelay: "max(20, pow(2, retried) * 100)" });
  await delivered(messageId);
  const grown = await waits(messageId);
  assert.equal(grown.length, 3);
  [100, 200, 400].forEach((want, i) => assert.ok(grown[i] >= want - 5 && grown[i] < 2 * want - 5, `waits of ${grown} ms`)); // each its own, and none the next one's
  assert.equal((await client.messages.get(messageId)).retryDelayExpression, "max(20, pow(2, retried) * 100)");
});

test("a compressed answer is kept as what it says", async (t) => {
  const { client, sink, dead } = await setup(t);
  const { gzipSync } = await import("node:zlib");
  sink.on("/gz", (r) => (/gzip/.test(r.headers["accept-encoding"] ?? "") ?
    { status: 500, headers: { "content-encoding": "gzip", "content-type": "text/plain" }, body: gzipSync("plain words") } : { status: 500, body: "plain words" }));
  const d = await dead((await client.publish({ url: sink.url("/gz"), retries: 0 })).messageId);
  assert.equal(d.responseBody, "plain words");
  sink.on("/bin", { status: 500, headers: {}, body: Buffer.from([255, 0, 254]) });
  const b = await dead((await client.publish({ url: sink.url("/bin"), retries: 0 })).messageId);
  assert.deepEqual([b.responseBodyBase64, b.responseBody], [Buffer.from([255, 0, 254]).toString("base64"), undefined]);
});
