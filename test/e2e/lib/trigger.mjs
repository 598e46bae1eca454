// A server, the official Trigger.dev SDK, and the published CLI that develops the tasks of trigger-app against it.
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { startServer, until } from "./server.mjs";

export { startServer, until };

const app = resolve(dirname(fileURLToPath(import.meta.url)), "../trigger-app");
const installed = createRequire(join(app, "package.json"));

// The client reads its defaults from here; tests pass everything explicitly.
for (const k of Object.keys(process.env)) if (k.startsWith("TRIGGER_")) delete process.env[k];

export const sdk = await import(pathToFileURL(installed.resolve("@trigger.dev/sdk")));

const core = await import(pathToFileURL(createRequire(installed.resolve("@trigger.dev/sdk")).resolve("@trigger.dev/core/v3")));

/** The key that development hands out. */
export const key = "tr_dev_quartet";

/** Points the SDK of this process at a server. */
export const use = (server) => sdk.configure({ baseURL: server.url, secretKey: key });

/** What the SDK talks to a server with: some of the API has no function of its own in the SDK. */
export const client = (server) => new core.ApiClient(server.url, key);

/** A copy of the app. */
export function copyApp() {
  const dir = mkdtempSync(join(tmpdir(), "quartet-trigger-"));
  for (const f of ["package.json", "package-lock.json", "tsconfig.json", "trigger.config.ts", "src"]) cpSync(join(app, f), join(dir, f), { recursive: true });
  symlinkSync(join(app, "node_modules"), join(dir, "node_modules"));
  return dir;
}

/** The published CLI in a folder. */
export function spawnCli(dir, url, token, args, env = {}) {
  const cli = join(app, "node_modules/trigger.dev/dist/esm/index.js");
  return spawn(process.execPath, [cli, ...args], {
    cwd: dir, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, CI: "1", TRIGGER_API_URL: url, ...(token && { TRIGGER_ACCESS_TOKEN: token }), ...env },
  });
}

/** Runs the CLI to its end. */
export async function runCli(dir, url, token, args, env) {
  const child = spawnCli(dir, url, token, args, env);
  let log = "";
  child.stdout.on("data", (b) => (log += b));
  child.stderr.on("data", (b) => (log += b));
  const code = await new Promise((r) => child.once("exit", r));
  return { code, log };
}

/** The CLI's dev command in a copy of the app, once its tasks are registered. */
export async function startDev(server, flags = []) {
  const dir = copyApp();
  const child = spawnCli(dir, server.url, "tr_pat_quartet", ["dev", "--skip-update-check", "--skip-telemetry", "--skip-platform-notifications", ...flags]);
  let log = "";
  child.stdout.on("data", (b) => (log += b));
  child.stderr.on("data", (b) => (log += b));
  const exited = new Promise((r) => child.once("exit", r));
  const dev = {
    child, exited, log: () => log,
    async close() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      await exited;
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await Promise.race([
    until("the CLI to register its tasks", () => /Local worker ready/.test(log), 120_000),
    exited.then((code) => {
      throw new Error(`the CLI ended with ${code}\n${log}`);
    }),
  ]);
  return dev;
}

/** Waits until a run has ended and returns it. */
export const ended = (handle) => sdk.runs.poll(handle, { pollIntervalMs: 100 });

/** Waits until a run has a status. */
export const reach = (handle, status) =>
  until(`the run to be ${status}`, async () => {
    const r = await sdk.runs.retrieve(handle.id);
    return r.status === status ? r : undefined;
  });

/** What the React hooks give in a page, by the hooks' names and arguments: see trigger-hooks.mjs. */
export async function hooks(server, wanted) {
  const child = spawn(process.execPath, [join(dirname(fileURLToPath(import.meta.url)), "trigger-hooks.mjs"), JSON.stringify({ url: server.url, ...wanted })], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "", err = "";
  child.stdout.on("data", (b) => (out += b));
  child.stderr.on("data", (b) => (err += b));
  await new Promise((r) => child.once("close", r));
  if (child.exitCode !== 0) throw new Error(`the page ended with ${child.exitCode}\n${err}`);
  return JSON.parse(out);
}

/** Asks the server over plain HTTP. */
export async function ask(server, method, path, body, headers = {}) {
  const r = await fetch(server.url + path, {
    method, headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers }, body: typeof body === "string" ? body : body && JSON.stringify(body),
  });
  const text = await r.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    json = text;
  }
  return { status: r.status, body: json, headers: r.headers };
}
