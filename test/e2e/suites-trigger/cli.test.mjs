// What the published CLI does beside developing and deploying: logging in, looking after projects, variables and runs, branches, and several of it at once.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ask, copyApp, ended, runCli, sdk, spawnCli, startDev, startServer, until, use } from "../lib/trigger.mjs";

const { auth, runs, tasks } = sdk;
const project = "proj_quartettests";
let server, home, app;
before(async () => {
  server = await startServer();
  use(server);
  // Who is named first is the project whose development has the key of this file: below, another one is made at the same time.
  assert.equal((await ask(server, "GET", `/api/v1/projects/${project}/dev`, undefined, { authorization: "Bearer tr_pat_quartet" })).body.apiKey, "tr_dev_quartet");
  app = copyApp();
  home = mkdtempSync(join(tmpdir(), "quartet-home-"));
});
after(async () => {
  await server?.close();
  for (const d of [home, app]) rmSync(d, { recursive: true, force: true });
});

/** Runs a command with a home of its own; what it prints has neither colours nor frames. */
async function cli(args, { fails = false, dir = app } = {}) {
  const { code, log } = await runCli(dir, server.url, undefined, [...args, "--skip-telemetry"], { HOME: home, XDG_CONFIG_HOME: join(home, ".config"), TRIGGER_API_URL: "" });
  const text = log.replace(/\x1b\[[0-9;?]*[a-zA-Z]/g, "");
  assert.equal(code !== 0, fails, `${args.join(" ")}\n${text}`);
  return text;
}

/** Logs in as somebody does who opens the page and agrees. */
async function login(...flags) {
  const child = spawnCli(app, server.url, undefined, ["login", "--no-browser", "-a", server.url, "--skip-telemetry", ...flags], { HOME: home, XDG_CONFIG_HOME: join(home, ".config"), CI: "" });
  let log = "";
  child.stdout.on("data", (b) => (log += b));
  child.stderr.on("data", (b) => (log += b));
  const exited = new Promise((r) => child.once("exit", r));
  const [, code] = await until("the CLI to say where to log in", () => /\/trigger\/login\/(\w+)/.exec(log));
  assert.equal((await ask(server, "POST", `/api/dashboard/trigger/inside/login/${code}`)).status, 200);
  assert.equal(await exited, 0, log);
}

test("who is logged in has profiles, and can log out", { timeout: 170_000 }, async () => {
  await login();
  await login("--profile", "other");
  assert.match(await cli(["list-profiles"]), /default - http[\s\S]*other - http/);
  assert.match(await cli(["whoami"]), /developer@quartet\.local/);
  assert.match(await cli(["switch", "default"]), /default/);
  await cli(["logout", "--profile", "other"]);
  assert.doesNotMatch(await cli(["list-profiles"]), /other - http/);
});

test("projects, variables and runs are looked after", { timeout: 170_000 }, async () => {
  const of = ["-p", project, "-e", "prod"];
  const file = join(home, "pulled.env");
  const all = (...commands) => Promise.all(commands.map((c) => (typeof c[0] === "string" ? cli(c) : cli(...c))));
  const [set, created, triggered, orgs] = await all(
    ["env", "set", "GREETING", "good day", ...of], ["projects", "create", "-o", "quartet", "-n", "My shop"],
    ["tasks", "trigger", "hello", "--payload", '{"name":"cli"}', "--tag", "a", ...of], [["orgs", "create", "-n", "Another"], { fails: true }],
  );
  assert.match(set, /GREETING is set/);
  assert.match(created, /proj_my-shop/);
  const keyOf = async (ref) => (await ask(server, "GET", `/api/v1/projects/${ref}/dev`, undefined, { authorization: "Bearer tr_pat_quartet" })).body.apiKey;
  assert.match(await keyOf("proj_my-shop"), /^tr_dev_\w{24}$/);
  assert.equal(await keyOf(project), "tr_dev_quartet");
  assert.match(orgs, /one organization/);
  const [id] = /run_\w+/.exec(triggered);
  const [variables, , renamed, listed, replayed] = await all(
    ["env", "list", "--show-values", ...of], ["env", "pull", "-o", file, ...of], ["projects", "rename", "proj_my-shop", "The shop"],
    ["runs", "list", "--tag", "a", ...of], ["runs", "replay", id, ...of],
  );
  assert.match(variables, /GREETING\s+good day/);
  assert.match(readFileSync(file, "utf8"), /^GREETING="?good day"?$/m);
  assert.match(renamed, /The shop/);
  assert.ok(listed.includes(id) && /PENDING_VERSION/.test(listed), listed);
  const [again] = /run_\w+/.exec(replayed.replaceAll(id, ""));
  const [shop, runtimes, list] = await all(["projects", "get", "proj_my-shop"], ["projects", "list"], ["orgs", "list"], ["runs", "cancel", again, "--yes", ...of], [["runs", "get", "run_nobody", ...of], { fails: true }]);
  assert.match(shop, /Name:\s+The shop[\s\S]*Ref:\s+proj_my-shop/);
  assert.match(runtimes, /proj_quartettests/);
  assert.match(list, /Quartet/);
  assert.match(await cli(["runs", "get", again, ...of]), /CANCELED/);
});

test("a project is initialized", { timeout: 170_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "quartet-init-"));
  try {
    writeFileSync(join(dir, "package.json"), JSON.stringify({ name: "mine", version: "1.0.0", private: true }));
    writeFileSync(join(dir, "package-lock.json"), JSON.stringify({ name: "mine", version: "1.0.0", lockfileVersion: 3, packages: {} }));
    writeFileSync(join(dir, "tsconfig.json"), "{}");
    // The files that it makes come from the vendor's repository, which may be out of reach; the server's part is to know the project.
    const { code, log } = await runCli(dir, server.url, "tr_pat_quartet", ["init", "--yes", "-p", "proj_mine", "--skip-package-install", "--no-browser", "--skip-telemetry"], { HOME: home, XDG_CONFIG_HOME: join(home, ".config") });
    assert.match(log, /Configuring project .*proj_mine/);
    if (code === 0) assert.match(readFileSync(join(dir, "trigger.config.ts"), "utf8"), /project: "proj_mine"/);
    else assert.match(log, /fetch failed/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  const told = await ask(server, "POST", "/api/v1/projects/proj_mine/init", {}, { authorization: "Bearer tr_pat_quartet" });
  assert.ok(told.status === 200 && new Date(told.body.initializedAt) > 0);
});

test("branches of preview are archived", { timeout: 170_000 }, async () => {
  const as = { authorization: "Bearer tr_pat_quartet" };
  const branches = async () => (await ask(server, "GET", `/api/v1/projects/${project}/branches`, undefined, as)).body.branches.map((b) => b.name);
  assert.equal((await ask(server, "POST", `/api/v1/projects/${project}/branches`, { env: "preview", branch: "feature/one" }, as)).status, 200);
  assert.deepEqual(await branches(), ["feature/one"]);
  await cli(["preview", "archive", "--branch", "feature/one", "-p", project, "--skip-update-check"]);
  assert.deepEqual(await branches(), []);
});

test("two CLIs share an environment, and a branch has its own", { timeout: 170_000 }, async (t) => {
  const devs = [await startDev(server)];
  t.after(() => Promise.all(devs.map((d) => d.close())));
  const [second, branch] = await Promise.all([startDev(server), startDev(server, ["--branch", "feature"])]);
  devs.push(second, branch);

  // What is triggered in one environment is never executed in the other.
  const inBranch = (f) => auth.withAuth({ baseURL: server.url, accessToken: "tr_dev_quartet", previewBranch: "feature" }, f);
  const there = await inBranch(() => tasks.trigger("about", {}));
  const done = await inBranch(() => ended(there)).catch(async (err) => {
    throw new Error(`${err.message}\n${JSON.stringify(await inBranch(() => runs.retrieve(there.id)))}\n${branch.log()}\n${server.log()}`);
  });
  assert.equal(done.status, "COMPLETED", JSON.stringify(done) + branch.log());
  assert.equal(done.output.env, "dev");
  await assert.rejects(runs.retrieve(there.id), { status: 404 });

  // Either CLI executes; when one ends, the other goes on with what there is, and only what was the first one's is cancelled.
  const list = await Promise.all(Array.from({ length: 12 }, () => tasks.trigger("slow", { ms: 8000 })));
  await until("all to be executed", async () => (await Promise.all(list.map((h) => runs.retrieve(h.id)))).every((r) => r.status === "EXECUTING"));
  second.child.kill("SIGKILL"); // the process that looks after it tells of its runs
  await second.exited;
  const states = (await Promise.all(list.map(ended))).map((r) => r.status);
  assert.ok(states.every((s) => ["COMPLETED", "CANCELED"].includes(s)), `${states}`);
  assert.equal((await ended(await tasks.trigger("hello", { name: "still here" }))).output.hi, "still here");

  assert.match(await cli(["dev", "archive", "--branch", "feature", "-p", project, "--skip-update-check"]), /archived/i);
  assert.equal((await ended(await tasks.trigger("hello", { name: "after" }))).output.hi, "after");
});
