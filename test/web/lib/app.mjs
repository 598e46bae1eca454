// A small app with the official SDK, in this process.
import { createServer } from "node:http";
import { keys } from "../../e2e/lib/server.mjs";

// The SDK reads its mode from here; the tests say everything explicitly.
for (const k of Object.keys(process.env)) if (k.startsWith("INNGEST_")) delete process.env[k];
const { Inngest, NonRetriableError } = await import("inngest");
const { serve } = await import("inngest/node");

const quiet = { info() {}, warn() {}, error() {}, debug() {} };

/** define(create, { inngest, NonRetriableError }) returns the functions; create(opts, triggers, handler). */
export async function startApp(server, define, { id = "app", register = true } = {}) {
  const production = server.mode === "serve";
  const inngest = new Inngest({
    id, baseUrl: server.url, isDev: !production, eventKey: production ? keys.event : "any", ...(production ? { signingKey: keys.signing } : {}), logger: quiet,
  });
  const functions = define((opts, triggers, handler) => inngest.createFunction({ ...opts, triggers: [triggers].flat() }, handler), { inngest, NonRetriableError });
  const handler = serve({ client: inngest, functions });
  let intercept;
  const http = createServer((req, res) => {
    if (!intercept?.(req, res)) handler(req, res);
  });
  await new Promise((ok) => http.listen(0, "127.0.0.1", ok));
  const app = {
    id,
    url: `http://127.0.0.1:${http.address().port}/api/inngest`,
    /** fn(req, res) sees every request first; it answers those for which it returns true. */
    intercept(fn) {
      intercept = fn;
    },
    send: (events) => inngest.send(events),
    async close() {
      http.closeAllConnections();
      await new Promise((ok) => http.close(ok));
    },
  };
  if (register) {
    const r = await fetch(app.url, { method: "PUT" });
    if (r.status !== 200) throw new Error(`register: ${r.status} ${await r.text()}`);
  }
  return app;
}

/** A promise that the test keeps open while a function runs. */
export function gate() {
  let open;
  const opened = new Promise((ok) => (open = ok));
  return { open, opened };
}
