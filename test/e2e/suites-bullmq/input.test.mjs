// Bad input: part (c) of the protocol page, over raw connections.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lines, raw, resp, startRedis, toolkit, until } from "../lib/bullmq.mjs";

test("commands that are wrong", async (t) => {
  const redis = await startRedis(t);
  const c = await raw(redis.port);
  t.after(() => c.socket.destroy());
  const says = async (args, want) => c.say(resp(...args), want);
  await says(["NOPE"], "-ERR unknown command 'NOPE', with args beginning with: \r\n");
  await says(["foo", "a", "b c"], "-ERR unknown command 'foo', with args beginning with: 'a' 'b c' \r\n");
  await says(["GET"], "-ERR wrong number of arguments for 'get' command\r\n");
  await says(["CONFIG", "GET"], "-ERR wrong number of arguments for 'config|get' command\r\n");
  await says(["CLIENT", "NOPE"], "-ERR unknown subcommand 'NOPE'. Try CLIENT HELP.\r\n");
  await says(["CLIENT", "MAINT_NOTIFICATIONS", "ON"], "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n");
  await says(["CLIENT", "SETNAME", "a b"], "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
  await says(["SET", "s", "v"], "+OK\r\n");
  await says(["LPUSH", "s", "v"], "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
  await says(["INCR", "s"], "-ERR value is not an integer or out of range\r\n");
  await says(["SET", "s", "v", "PX", "1.5"], "-ERR value is not an integer or out of range\r\n");
  await says(["SET", "s", "v", "PX", "0"], "-ERR invalid expire time in 'set' command\r\n");
  await says(["SET", "s", "v", "NOPE"], "-ERR syntax error\r\n");
  await says(["ZADD", "z", "nan", "m"], "-ERR value is not a valid float\r\n");
  await says(["SET", "n", "9223372036854775807"], "+OK\r\n");
  await says(["INCR", "n"], "-ERR increment or decrement would overflow\r\n");
  await says(["XADD", "x", "0-0", "k", "v"], "-ERR The ID specified in XADD must be greater than 0-0\r\n");
  await says(["BZPOPMIN", "z", "x"], "-ERR timeout is not a float or out of range\r\n");
  await says(["BZPOPMIN", "z", "-1"], "-ERR timeout is negative\r\n");
  await says(["SCAN", "x"], "-ERR invalid cursor\r\n");
  await says(["SELECT", "16"], "-ERR DB index is out of range\r\n");
  await says(["SELECT", "x"], "-ERR value is not an integer or out of range\r\n");
  await says(["HELLO", "4"], "-NOPROTO unsupported protocol version\r\n");
  await says(["AUTH", "x"], "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n");
  await says(["EXEC"], "-ERR EXEC without MULTI\r\n");
  await says(["CLUSTER", "INFO"], "-ERR This instance has cluster support disabled\r\n");
  await says(["EVALSHA", "0".repeat(40), "0"], "-NOSCRIPT No matching script. Please use EVAL.\r\n");
  await says(["EVAL", "return 1", "x"], "-ERR value is not an integer or out of range\r\n");
  await says(["EVAL", "return 1", "2", "k"], "-ERR Number of keys can't be greater than number of args\r\n");
  await says(["EVAL", "return 1 +", "0"], "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'\r\n");
  await says(["MULTI"], "+OK\r\n");
  await says(["NOPE"], "-ERR unknown command 'NOPE', with args beginning with: \r\n");
  await says(["SET", "a", "1"], "+QUEUED\r\n");
  await says(["EXEC"], "-EXECABORT Transaction discarded because of previous errors.\r\n");
  await says(["PING"], "+PONG\r\n");
});

test("bytes that are no commands end the connection and nothing else", async (t) => {
  const redis = await startRedis(t);
  const other = await raw(redis.port);
  t.after(() => other.socket.destroy());
  for (const [bytes, want] of [
    ["*1\r\nx4\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'x'\r\n"],
    ["*1\r\n$629145600\r\n", "-ERR Protocol error: invalid bulk length\r\n"],
    ["*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"],
    ["*1\r\n$abc\r\n", "-ERR Protocol error: invalid bulk length\r\n"],
    ["*2000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"],
    ["*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"],
    ['SET a "b\r\n', "-ERR Protocol error: unbalanced quotes in request\r\n"],
    ["x".repeat(70_000), "-ERR Protocol error: too big inline request\r\n"],
    ["*" + "1".repeat(70_000), "-ERR Protocol error: too big mbulk count string\r\n"],
  ]) {
    const c = await raw(redis.port);
    await c.say(bytes, want);
    await c.closed();
    await other.say(resp("PING"), "+PONG\r\n");
  }
  for (const half of ["*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nabc", "*1\r\n$500000000\r\nabc", "\x00\xff", ""]) {
    const c = await raw(redis.port);
    c.socket.end(Buffer.from(half, "latin1"));
    await c.closed();
  }
  await other.say("*0\r\n*-1\r\n\r\nPING\r\nPING hello\r\n", "+PONG\r\n$5\r\nhello\r\n");
  await other.say(resp("EXISTS", "k"), ":0\r\n");
});

test("strangers", async (t) => {
  const redis = await startRedis(t, { mode: "serve", args: ["--redis-password=s3cret"] });
  const c = await raw(redis.port);
  t.after(() => c.socket.destroy());
  await c.say(resp("PING"), "-NOAUTH Authentication required.\r\n");
  await c.say(resp("INFO"), "-NOAUTH Authentication required.\r\n");
  await c.say(resp("AUTH", "wrong"), "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  await c.say(resp("AUTH", "s3cret"), "+OK\r\n");
  await c.say(resp("PING"), "+PONG\r\n");
  for (const [bytes, want] of [["*11\r\n", "unauthenticated multibulk length"], ["*1\r\n$16385\r\n", "unauthenticated bulk length"]]) {
    const s = await raw(redis.port);
    await s.say(bytes, `-ERR Protocol error: ${want}\r\n`);
    await s.closed();
  }
});

test("a hundred thousand arguments, and pipelines in any pieces", async (t) => {
  const redis = await startRedis(t);
  const c = await raw(redis.port);
  t.after(() => c.socket.destroy());
  await c.say(resp("SADD", "big", ...Array.from({ length: 100_000 }, (_, i) => String(i))), ":100000\r\n");
  const many = Array.from({ length: 5000 }, () => resp("INCR", "n")).join("");
  await c.say(many, Array.from({ length: 5000 }, (_, i) => `:${i + 1}\r\n`).join(""));
  for (const byte of resp("ECHO", "piecemeal")) {
    c.socket.write(byte);
    await new Promise((r) => setImmediate(r));
  }
  await until("the echo", () => c.seen.endsWith("$9\r\npiecemeal\r\n"));
  const value = "v".repeat(3_000_000);
  await c.say(resp("SET", "v", value) + resp("STRLEN", "v"), "+OK\r\n:3000000\r\n");
});

test("a client that does not read is cut off, and the others do not notice", async (t) => {
  const redis = await startRedis(t);
  const c = await raw(redis.port);
  await c.say(resp("SET", "v", "x".repeat(10_000_000)), "+OK\r\n");
  c.socket.pause();
  c.socket.write(resp("GET", "v").repeat(200)); // 2 GB of replies
  const other = await raw(redis.port);
  t.after(() => other.socket.destroy());
  await other.say(resp("PING"), "+PONG\r\n");
  c.socket.resume();
  await c.closed();
  await other.say(resp("PING"), "+PONG\r\n");
});

test("scripts that loop, recurse, eat memory or fail", async (t) => {
  const redis = await startRedis(t);
  const { client } = toolkit(redis, lines[0]);
  const c = client();
  const fails = (body, want) => assert.rejects(c.eval(body, 0), want);
  await fails("local function f() return f() + 1 end return f()", /stack overflow script: [0-9a-f]{40}, on @user_script:1\.$/);
  await fails("local s = 'x' while true do s = s .. s end", /not enough memory/);
  await fails("return x", /ERR user_script:1: Script attempted to access nonexistent global variable 'x' script/);
  await fails("x = 1", /Attempt to modify a readonly table/);
  await fails("return redis.call('SET', 'k')", /Wrong number of args calling Redis command from script/);
  await fails("redis.call('SET', 'k', 'kept') error('oops')", /ERR user_script:1: oops script/);
  assert.equal(await c.get("k"), "kept", "what a script did before it failed stays");
  await fails("return redis.call('BLPOP', 'k', 0)", /not allowed from script/);
  assert.equal((await c.call("SCRIPT", "KILL").catch((e) => e)).message.startsWith("NOTBUSY"), true);
  const killer = client();
  await killer.ping();
  const endless = c.eval("while true do end", 0).catch((e) => e);
  await until("the script to be killed", () => killer.call("SCRIPT", "KILL").then(() => true, () => false));
  assert.match((await endless).message, /Script killed by user|takes too many steps/);
});

test("what the official client is refused", async (t) => {
  const redis = await startRedis(t);
  for (const line of lines) {
    const { queue, flows } = toolkit(redis, line);
    const q = queue(`refused${line.name.at(-1)}`);
    const job = await q.add("n", {});
    await assert.rejects(q.add("n", {}, { parent: { id: "nope", queue: "bull:q" } }), /Missing key for parent job bull:q:nope/);
    await assert.rejects(job.promote(), /is not in the delayed state/);
    await assert.rejects(job.changeDelay(5), /is not in the delayed state/);
    await assert.rejects(job.retry(), /is not in the failed state/);
    await assert.rejects(job.moveToCompleted("x", "token"), /Missing lock for job/);
    await assert.rejects(q.obliterate().then(() => job.updateData({})), /Missing key for job/);
    assert.equal(await q.getJobState("unknown-id"), "unknown");
    void flows;
  }
});
