// Starts the real binary on a free port and a temporary directory, and reads what it did through its APIs.
import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, existsSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");

/** The binary under test: QUARTET_BIN, or one built from this tree. */
export function binary() {
  if (process.env.QUARTET_BIN) return process.env.QUARTET_BIN;
  const bin = join(root, "bin", "quartet");
  if (!existsSync(bin)) execFileSync("go", ["build", "-o", bin, "./cmd/quartet"], { cwd: root, stdio: "inherit" });
  return bin;
}

const given = new Set();

/**
 * A port that was free a moment ago, and none of those that systems choose for connections: one of these may become the near end of somebody's connection
 * while its server is away, even of one to itself, and the server could not come back.
 */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (given.has(port)) continue;
    const free = await new Promise((ok) => {
      const s = createServer();
      s.once("error", () => ok(false));
      s.listen(port, "127.0.0.1", () => s.close(() => ok(true)));
    });
    if (!free) continue;
    given.add(port);
    return port;
  }
}

/** Waits until probe returns something truthy, and returns that. The limit is only there to end a broken test. */
export async function until(what, probe, limit = 60_000) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const v = await probe();
      if (v) return v;
      last = v;
    } catch (err) {
      last = err;
    }
    if (Date.now() > end) throw new Error(`gave up waiting for ${what}: ${last?.stack ?? JSON.stringify(last)}`);
    await new Promise((r) => setTimeout(r, 20));
  }
}

export const keys = {
  signing: "signkey-test-12345678abcdef0012345678abcdef00",
  event: "event-key-of-the-tests",
  dashboard: "dashboard-key-of-the-tests",
};

/** A server. mode is "dev" or "serve"; args are more flags; dir keeps the data of an earlier one. */
export async function startServer({ mode = "dev", args = [], env = {}, dir, port } = {}) {
  const ownDir = dir === undefined;
  dir ??= mkdtempSync(join(tmpdir(), "quartet-e2e-"));
  port ??= await freePort();
  const all = [mode, `--listen=127.0.0.1:${port}`, "--redis=off", `--data=${join(dir, "data")}`, "--log-level=warn", "--retry=1s"];
  if (mode === "dev") all.push("--no-discovery", "--poll=0s");
  else all.push(`--signing-key=${keys.signing}`, `--event-key=${keys.event}`, `--dashboard-key=${keys.dashboard}`);
  all.push(...args);
  const child = spawn(binary(), all, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stdout.on("data", (b) => (log += b));
  child.stderr.on("data", (b) => (log += b));
  const exited = new Promise((r) => child.once("exit", (code, signal) => r({ code, signal })));
  const url = `http://127.0.0.1:${port}`;
  const auth = mode === "dev" ? {} : { authorization: `Bearer ${keys.dashboard}` };
  const server = {
    url, port, dir, child, exited, mode,
    log: () => log,
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      const r = await exited;
      return r;
    },
    async close() {
      if (child.exitCode === null && child.signalCode === null) await server.stop();
      if (ownDir) rmSync(dir, { recursive: true, force: true });
    },
    /** The dashboard's API. */
    async api(path, init = {}) {
      const r = await fetch(`${url}/api/dashboard${path}`, { ...init, headers: { ...auth, "content-type": "application/json", ...init.headers } });
      const text = await r.text();
      if (!r.ok) throw new Error(`${init.method ?? "GET"} ${path}: ${r.status} ${text}`);
      return JSON.parse(text);
    },
    post: (path, body) => server.api(path, { method: "POST", body: JSON.stringify(body ?? {}) }),
    runs: async (query = "") => (await server.api(`/runs?limit=200${query}`)).runs,
    run: (id) => server.api(`/runs/${id}`),
    /** Waits for n runs of a function, and for each to have ended. */
    ended: (fn, n = 1, limit) =>
      until(`${n} ended runs of ${fn}`, async () => {
        const runs = await server.runs(`&function=${fn}`);
        const done = runs.filter((r) => r.endedAt);
        return done.length >= n && runs.length === done.length ? runs : undefined;
      }, limit),
    /** Waits for the one run of a function to end and returns everything about it. */
    async result(fn, limit) {
      const [r] = await server.ended(fn, 1, limit);
      return server.run(r.id);
    },
  };
  await Promise.race([
    until("the server to be ready", async () => (await fetch(`${url}/readyz`)).ok),
    exited.then((r) => {
      throw new Error(`the server ended at once: ${JSON.stringify(r)}\n${log}`);
    }),
  ]);
  return server;
}
