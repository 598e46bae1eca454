// Runs an app with an official Inngest SDK in this process and registers it with a server.
import { createServer } from "node:http";
import { keys, startServer } from "./server.mjs";

// The SDKs read their mode from here; tests pass everything else explicitly.
for (const k of Object.keys(process.env)) if (k.startsWith("INNGEST_")) delete process.env[k];

/**
 * The generation of the SDK under test, v3 or v4. They share global state, so a process can hold only one: the runner
 * runs every suite once with each.
 */
const generation = process.env.QUARTET_SDK ?? "v4";
export const sdk = {
  name: generation,
  core: await import(generation === "v3" ? "inngest3" : "inngest4"),
  node: await import(generation === "v3" ? "inngest3/node" : "inngest4/node"),
};

const quiet = { info() {}, warn() {}, error() {}, debug() {} };

/**
 * An app: define(create, ctx) returns the functions. create(opts, triggers, handler) hides the one difference between
 * the generations that every test would otherwise repeat.
 */
export async function startApp(server, define, { id = "app", client = {}, serve = {}, register = true, port } = {}) {
  const { Inngest } = sdk.core;
  const production = server.mode === "serve";
  const inngest = new Inngest({
    id,
    baseUrl: server.url,
    isDev: !production,
    eventKey: production ? keys.event : "any",
    ...(production ? { signingKey: keys.signing } : {}),
    logger: quiet,
    ...client,
  });
  const create = (opts, triggers, handler) =>
    sdk.name === "v3" ? inngest.createFunction(opts, triggers, handler) : inngest.createFunction({ ...opts, triggers: [triggers].flat() }, handler);
  const functions = define(create, { inngest, ...sdk.core });
  const handler = sdk.node.serve({
    client: inngest, functions, ...(sdk.name === "v3" ? { baseUrl: server.url, ...(production ? { signingKey: keys.signing } : {}) } : {}), ...serve,
  });
  const calls = [];
  let intercept;
  const http = createServer((req, res) => {
    if (req.method === "POST") calls.push({ url: req.url, headers: req.headers });
    if (intercept?.(req, res)) return;
    handler(req, res);
  });
  await new Promise((ok) => http.listen(port ?? 0, "127.0.0.1", ok));
  const app = {
    inngest, calls, id,
    url: `http://127.0.0.1:${http.address().port}/api/inngest`,
    port: http.address().port,
    intercept(fn) {
      intercept = fn;
    },
    async register() {
      const r = await fetch(app.url, { method: "PUT" });
      return { status: r.status, body: await r.json() };
    },
    send: (events) => inngest.send(events),
    async close() {
      http.closeAllConnections();
      await new Promise((ok) => http.close(ok));
    },
  };
  if (register) {
    const r = await app.register();
    if (r.status !== 200) throw new Error(`register: ${r.status} ${JSON.stringify(r.body)}`);
  }
  return app;
}

/** A server and an app for one test, closed when it ends. */
export async function setup(t, define, { server: so = {}, ...ao } = {}) {
  const server = await startServer(so);
  t.after(() => server.close());
  const app = await startApp(server, define, ao);
  t.after(() => app.close());
  return { server, app };
}
