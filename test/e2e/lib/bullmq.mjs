// What the suites of the Redis door share: a server that listens, clients of every version, and clean-up.
import { mkdtempSync, rmSync } from "node:fs";
import { connect as dial } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as bullmq5 from "bullmq5";
import * as bullmq6 from "bullmq";
import { Redis as Redis5 } from "ioredis5";
import { Redis as Redis6 } from "ioredis";
import { freePort, startServer, until } from "./server.mjs";

export { until };

/** The two lines of releases that must do everything, each with the client it is used with. */
export const lines = [
  { name: "bullmq 6", mq: bullmq6, Redis: Redis6 },
  { name: "bullmq 5", mq: bullmq5, Redis: Redis5 },
];

/**
 * A server with a Redis door; kill() ends it without a word and start() starts another on its data. What is given to defer is
 * done at the end of the test, last first, while the server is still there.
 */
export async function startRedis(t, { mode, args = [], dir } = {}) {
  const own = mkdtempSync(join(tmpdir(), "quartet-e2e-"));
  dir ??= own;
  const redisPort = await freePort();
  const options = { mode, dir, args: [...args, `--redis=127.0.0.1:${redisPort}`] };
  let server = await startServer(options);
  const deferred = [];
  t.after(async () => {
    for (const fn of deferred.reverse()) await Promise.race([fn(), new Promise((r) => setTimeout(r, 3000))]).catch(() => {});
    await server.close();
    rmSync(own, { recursive: true, force: true });
  });
  return {
    port: redisPort,
    url: `redis://127.0.0.1:${redisPort}`,
    dir,
    defer: (fn) => deferred.push(async () => fn()),
    get server() {
      return server;
    },
    kill: (signal = "SIGKILL") => server.stop(signal),
    async start() {
      server = await startServer({ ...options, port: server.port });
    },
  };
}

/** Queues, workers and so on of one line on one server. Everything it makes is closed when the test ends. */
export function toolkit(redis, line) {
  const connection = { host: "127.0.0.1", port: redis.port };
  const keep = (x) => {
    x.on?.("error", () => {}); // connections that a test cuts
    redis.defer(() => x.close(true));
    return x;
  };
  return {
    connection,
    mq: line.mq,
    client(options) {
      const c = new line.Redis({ ...connection, maxRetriesPerRequest: null, ...options });
      c.on("error", () => {});
      redis.defer(() => c.disconnect());
      return c;
    },
    queue: (name, options) => keep(new line.mq.Queue(name, { connection, ...options })),
    worker: (name, fn, options) => keep(new line.mq.Worker(name, fn, { connection, ...options })),
    async events(name, options) {
      const e = keep(new line.mq.QueueEvents(name, { connection, ...options }));
      await e.waitUntilReady();
      return e;
    },
    flows: (options) => keep(new line.mq.FlowProducer({ connection, ...options })),
  };
}

/** Runs a test once for each line, on one server that is started for it. */
export function onBoth(test, name, fn) {
  for (const line of lines) {
    test(`${line.name}: ${name}`, async (t) => {
      const redis = await startRedis(t);
      await fn({ t, redis, line, ...toolkit(redis, line) });
    });
  }
}

/** The names of a stream's events in order, with the fields that matter. */
export async function eventsOf(client, queue, ...fields) {
  const entries = await client.xrange(`bull:${queue}:events`, "-", "+");
  return entries.map(([, flat]) => {
    const e = {};
    for (let i = 0; i < flat.length; i += 2) e[flat[i]] = flat[i + 1];
    return [e.event, ...fields.map((f) => e[f]).filter((v) => v !== undefined)].join(" ");
  });
}

/** A raw connection: bytes out, bytes in. */
export async function raw(port) {
  const socket = dial(port, "127.0.0.1");
  let seen = "";
  let ended = false;
  socket.on("data", (b) => (seen += b.toString("latin1")));
  socket.on("close", () => (ended = true));
  socket.on("error", () => {});
  await new Promise((ok, fail) => socket.once("connect", ok).once("error", fail));
  return {
    socket,
    get seen() {
      return seen;
    },
    get ended() {
      return ended;
    },
    /** Sends text and waits until exactly want has come back. */
    async say(text, want) {
      const from = seen.length;
      socket.write(Buffer.from(text, "latin1"));
      await until(`the reply to ${JSON.stringify(text.slice(0, 60))}`, () => seen.length >= from + want.length || ended, 10_000).catch(() => {});
      const got = seen.slice(from);
      if (got !== want) throw new Error(`${JSON.stringify(text.slice(0, 200))} gave ${JSON.stringify(got.slice(0, 300))}, want ${JSON.stringify(want)}`);
    },
    closed: () => until("the connection to be closed", () => ended, 10_000),
  };
}

/** A command as clients send it. */
export const resp = (...args) => `*${args.length}\r\n` + args.map((a) => `$${Buffer.byteLength(a)}\r\n${a}\r\n`).join("");
