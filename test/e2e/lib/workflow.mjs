// A server, the official Workflow client and an app that serves workflows.
import { createServer } from "node:http";
import { connect, token } from "./qstash.mjs";
import { startServer, until } from "./server.mjs";
import { Client as QStash } from "@upstash/qstash";

/** The versions of the library that tests run with. */
export const sdks = { "1.x": await import("@upstash/workflow"), "0.2.x": await import("workflow02") };
const many = { "1.x": await import("@upstash/workflow/cloudflare"), "0.2.x": await import("workflow02/cloudflare") };

// The library prints what goes wrong in workflows, and many tests want that.
for (const level of ["warn", "error"]) {
  const print = console[level];
  console[level] = (...args) => /upstash|workflow/i.test(args.map((a) => a?.stack ?? String(a)).join(" ")) || print(...args);
}

/**
 * A server and an app for one test. app.serve(path, fn, options) makes a workflow; app.on(path, handler) answers as anything else, with a
 * Request or what a Response is made of. app.calls has the requests by path.
 */
export async function setup(t, version = "1.x", options = {}) {
  const sdk = sdks[version];
  const server = await startServer(options);
  t.after(() => server.close());
  const w = connectWorkflow(server, version);
  const handlers = new Map(), calls = [];
  const http = createServer(async (req, res) => {
    const chunks = [];
    for await (const c of req) chunks.push(c);
    const body = Buffer.concat(chunks);
    const path = req.url.split("?")[0];
    const url = `http://${req.headers.host}${req.url}`;
    const call = { path, url, method: req.method, headers: req.headers, text: body.toString(), at: Date.now() };
    calls.push(call);
    const prefix = [...handlers.keys()].find((p) => p.endsWith("/") && path.startsWith(p));
    const handler = handlers.get(path) ?? handlers.get(prefix);
    let answer = new Response("nothing here", { status: 404 });
    try {
      const headers = new Headers();
      for (const [k, v] of Object.entries(req.headers)) headers.set(k, Array.isArray(v) ? v.join(", ") : v);
      if (handler) answer = await handler(new Request(url, { method: req.method, headers, ...(body.length > 0 && !["GET", "HEAD"].includes(req.method) ? { body } : {}) }), call);
    } catch (err) {
      answer = new Response(String(err.stack), { status: 500 });
    }
    call.status = answer.status;
    call.answer = await answer.text();
    if (res.destroyed) return;
    res.writeHead(answer.status, Object.fromEntries(answer.headers));
    res.end(call.answer);
  });
  await new Promise((ok) => http.listen(0, "127.0.0.1", ok));
  t.after(async () => {
    http.closeAllConnections();
    await new Promise((ok) => http.close(ok));
  });
  const qstashClient = new QStash({ baseUrl: server.url, token, retry: false });
  const app = {
    calls,
    url: (path) => `http://127.0.0.1:${http.address().port}${path}`,
    at: (path) => calls.filter((c) => c.path === path),
    on: (path, handler) => handlers.set(path, handler),
    serve(path, fn, o = {}) {
      const { handler } = sdk.serve(fn, { qstashClient, env: {}, receiver: undefined, ...o });
      handlers.set(path, handler);
      return app.url(path);
    },
    /** Serves several that can invoke each other, below a path that ends in a slash. */
    serveMany(path, workflows) {
      const { serveMany, createWorkflow } = many[version];
      const made = workflows(createWorkflow);
      handlers.set(path, (request) => serveMany(made, { qstashClient, env: {}, receiver: undefined }).fetch(request, {}));
      return app.url(path);
    },
    /** Waits for n requests to a path that were answered. */
    answered: (path, n = 1) => until(`${n} calls of ${path}`, () => app.at(path).filter((c) => c.status).length >= n && app.at(path)),
  };
  return { sdk, server, app, ...w };
}

/** The clients of a server. */
export function connectWorkflow(server, version = "1.x") {
  const sdk = sdks[version];
  const wf = new sdk.Client({ baseUrl: server.url, token, retry: false });
  const q = connect(server);
  const w = {
    wf, q,
    log: async (workflowRunId) => (await wf.logs({ workflowRunId, ...(version === "1.x" ? { filter: { workflowRunId } } : {}) })).runs[0],
    /** Waits for a run to be in a state and returns its log. */
    reached: (id, state, limit = 20_000) =>
      until(`${id} to be ${state}`, async () => {
        const run = await w.log(id);
        if (run?.workflowState === state) return run;
        throw new Error(`it is ${JSON.stringify(run)}`);
      }, limit),
    /** Waits for a run to end well and returns its result. */
    result: async (id, limit) => {
      const { workflowRunResponse: r } = await w.reached(id, "RUN_SUCCESS", limit);
      return r === undefined || r === "" ? undefined : JSON.parse(r);
    },
    failed: (id, limit) => w.reached(id, "RUN_FAILED", limit),
  };
  return w;
}
