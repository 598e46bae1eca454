// A server, the official QStash client and an HTTP server that messages are delivered to.
import { createServer } from "node:http";
import { startServer, until } from "./server.mjs";

// The client reads its defaults from here; tests pass everything explicitly.
for (const k of Object.keys(process.env)) if (/QSTASH|^UPSTASH_/.test(k)) delete process.env[k];

// The client prints every answer that is an error, and many tests ask for one.
for (const level of ["warn", "error"]) {
  const print = console[level];
  console[level] = (...args) => String(args[0]).startsWith("[Upstash QStash]") || print(...args);
}

export const { Client, Receiver } = await import("@upstash/qstash");

/** What the client's development mode uses: protocol section 16.2. */
export const token = "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0=";
export const signing = { currentSigningKey: "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r", nextSigningKey: "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs" };

/** How long to wait for what should happen at once. */
const patience = 20_000;

/** Deliveries that fail are made again at once. */
export const soon = { retryDelay: "50" };

/**
 * An HTTP server that records what it gets and answers by script. sink.on(path, ...answers) says how a path answers: the
 * first request with the first answer and so on, and those after with the last. An answer is a status, an object
 * {status, headers, body}, a promise of one, or a function of the request that gives one. A request that nothing was said
 * about is answered 200.
 */
export async function startSink(port = 0) {
  const requests = [], scripts = new Map();
  const open = { now: 0, most: 0 };
  const http = createServer(async (req, res) => {
    const at = Date.now();
    open.most = Math.max(open.most, ++open.now);
    res.once("close", () => open.now--);
    const chunks = [];
    for await (const c of req) chunks.push(c);
    const body = Buffer.concat(chunks);
    const path = req.url.split("?")[0];
    const r = { method: req.method, url: req.url, path, headers: req.headers, rawHeaders: req.rawHeaders, body, text: body.toString(), at };
    r.closed = new Promise((ok) => res.once("close", ok));
    requests.push(r);
    const script = scripts.get(path) ?? [200];
    let answer = script.length > 1 ? script.shift() : script[0];
    if (typeof answer === "function") answer = answer(r);
    answer = await answer;
    if (typeof answer === "number") answer = { status: answer };
    if (res.destroyed) return;
    res.writeHead(answer.status ?? 200, answer.headers ?? { "content-type": "text/plain" });
    res.end(answer.body ?? (answer.status >= 300 ? "no" : "ok"));
    r.answered = Date.now();
  });
  await new Promise((ok) => http.listen(port, "127.0.0.1", ok));
  const sink = {
    requests, open,
    port: http.address().port,
    url: (path) => `http://127.0.0.1:${http.address().port}${path}`,
    on: (path, ...answers) => scripts.set(path, answers),
    at: (path) => requests.filter((r) => r.path === path),
    /** Waits for n requests to a path and returns them. */
    got: (path, n = 1, limit = patience) => until(`${n} requests to ${path}`, () => sink.at(path).length >= n && sink.at(path), limit),
    async close() {
      http.closeAllConnections();
      await new Promise((ok) => http.close(ok));
    },
  };
  return sink;
}

/** An answer that waits: release() gives it. */
export function gate(answer = 200) {
  let release;
  const promise = new Promise((ok) => (release = () => ok(answer)));
  return { promise, release };
}

/** The client of a server, and what tests ask beside it. */
export function connect(server) {
  const client = new Client({ baseUrl: server.url, token, retry: false });
  const q = {
    client,
    receiver: new Receiver(signing),
    /** A plain request: {status, headers, body, text}, the body read as JSON if it is some. */
    async raw(path, init = {}) {
      const r = await fetch(`${server.url}${path}`, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } });
      const text = await r.text();
      let body;
      try {
        body = JSON.parse(text);
      } catch {
        // not JSON, which some answers need not be
      }
      return { status: r.status, headers: r.headers, text, body };
    },
    post: (path, body, headers = {}) =>
      q.raw(path, { method: "POST", ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }), headers }),
    /** The log of a message, the oldest entry first. */
    log: async (id) => (await client.logs({ filter: { messageId: id } })).logs.reverse(),
    states: async (id) => (await q.log(id)).map((l) => l.state),
    /** Waits until the last thing that happened to a message is state, and returns all that happened. */
    reached: (id, state, limit = patience) =>
      until(`${id} to be ${state}`, async () => {
        const states = await q.states(id);
        if (states.at(-1) === state) return states;
        throw new Error(`it is ${states}`);
      }, limit),
    delivered: (id, limit) => q.reached(id, "DELIVERED", limit),
    /** Waits for a message to fail and returns its dead letter. */
    async dead(id, limit) {
      await q.reached(id, "FAILED", limit);
      return until("the dead letter", async () => (await client.dlq.listMessages({ filter: { messageId: id } })).messages[0]);
    },
  };
  return q;
}

/** A server, its client and a sink for one test, closed when it ends. */
export async function setup(t, options = {}) {
  const server = await startServer(options);
  t.after(() => server.close());
  const sink = await startSink();
  t.after(() => sink.close());
  return { server, sink, ...connect(server) };
}

/** For assert.rejects: the client's error with that status, and with a text if one is given. */
export const failure = (status, text) => (err) => {
  if (err.status !== status || (text && !err.message.includes(text))) throw new Error(`got ${err.status} ${err.message}, want ${status} ${text ?? ""}`);
  return true;
};
