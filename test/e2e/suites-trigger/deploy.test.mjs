// Tasks that are deployed: the published CLI bundles and uploads them, the server makes versions of them with plain Node.js and runs them.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";
import { binary, keys } from "../lib/server.mjs";
import { ask, copyApp, ended, reach, runCli, sdk, startServer, until } from "../lib/trigger.mjs";

const { auth, deployments, envvars, runs, tasks, wait, webhooks } = sdk;
const key = "tr_prod_0123456789abcdef", pat = "tr_pat_0123456789abcdef", workerToken = "worker-token-of-the-tests", project = "proj_quartettests";
const args = [`--trigger-key=${key}`, `--trigger-token=${pat}`, `--worker-token=${workerToken}`];
const root = process.getuid?.() === 0;

let dir, app, server;
const prod = (method, path, body, headers) => ask(server, method, path, body, { authorization: `Bearer ${key}`, ...headers });

async function start(more = []) {
  server = await startServer({ mode: "serve", dir, port: server?.port, args: [...args, ...more] });
  sdk.configure({ baseURL: server.url, secretKey: key });
}

/** Deploys what is in the folder, and waits for the version. */
async function deploy(flags = []) {
  const { code, log } = await runCli(app, server.url, pat, ["deploy", "--skip-update-check", "--skip-telemetry", ...flags]);
  assert.equal(code, 0, log);
  return until("the version", async () => {
    const { data } = (await prod("GET", "/api/v1/deployments")).body;
    if (["FAILED", "TIMED_OUT"].includes(data[0]?.status)) throw new Error(JSON.stringify(data[0]));
    return data[0]?.status === "DEPLOYED" && data[0];
  }, 120_000);
}

const held = () => readdirSync(join(dir, "data/tasks/held")).map((f) => JSON.parse(readFileSync(join(dir, "data/tasks/held", f), "utf8")));

/** What an alert channel was told, as the SDK reads it; the first alert is taken only when it comes again. */
const alerts = { list: [], refused: undefined, secret: "a secret of the channel" };
const receiver = createServer(async (req, res) => {
  const chunks = [];
  for await (const c of req) chunks.push(c);
  const request = () => new Request("http://receiver/", { method: "POST", headers: req.headers, body: Buffer.concat(chunks) });
  await assert.rejects(webhooks.constructEvent(request(), "another secret"));
  const event = await webhooks.constructEvent(request(), alerts.secret).catch((err) => ({ type: `${err}`, object: {} }));
  if (alerts.refused) alerts.list.push(event);
  res.statusCode = alerts.refused ? 204 : 503;
  alerts.refused ??= event.id;
  res.end();
});
const alert = (what, is) => until(`an alert about ${what}`, () => alerts.list.find(is));

before(async () => {
  await new Promise((ok) => receiver.listen(0, "127.0.0.1", ok));
  dir = mkdtempSync(join(tmpdir(), "quartet-e2e-"));
  chmodSync(dir, 0o711); // tasks are run by others, where the server is root
  app = copyApp();
  await start();
  const channel = { name: "the tests", url: `http://127.0.0.1:${receiver.address().port}/`, secret: alerts.secret, types: ["alert.run.failed", "alert.deployment.success", "alert.deployment.failed"] };
  const made = await ask(server, "POST", "/api/dashboard/trigger/inside/alerts", channel, { authorization: `Bearer ${keys.dashboard}` });
  assert.deepEqual([made.status, made.body.secret], [200, alerts.secret], JSON.stringify(made.body));
  assert.equal((await deploy()).isPromoted, true);
}, { timeout: 170_000 });
after(async () => {
  await server?.close();
  receiver.close();
  for (const d of [dir, app]) if (d) rmSync(d, { recursive: true, force: true });
});

test("deployed tasks give their output, fail, wait and are cancelled like others", async () => {
  const [hello, parent, flaky, sleeper] = await Promise.all([
    tasks.trigger("hello", { name: "ann", when: new Date() }, { tags: ["t"] }), tasks.trigger("parent", { name: "p" }), tasks.trigger("flaky", { fails: 2 }),
    tasks.trigger("sleeper", { seconds: 6 }),
  ]);
  const slow = await tasks.trigger("slow", { ms: 60_000 });
  await reach(slow, "EXECUTING");
  await runs.cancel(slow.id);
  assert.deepEqual((await ended(hello)).output, { hi: "ann", date: true, attempt: 1, run: hello.id, tags: ["t"] });
  const p = await ended(parent);
  assert.deepEqual([p.status, p.output], ["COMPLETED", { one: "p", bad: "boom 1", many: ["a", "b", "c"] }]);
  assert.deepEqual([(await ended(flaky)).output, (await ended(flaky)).attemptCount], [3, 3]);
  assert.ok((await ended(sleeper)).output >= 6000);
  assert.equal((await ended(slow)).status, "CANCELED");
});

test("a task waits for a token, and tells of what it does meanwhile", async () => {
  const token = await wait.createToken();
  const h = await tasks.trigger("approval", { token: token.id });
  await reach(h, "WAITING");
  await wait.completeToken(token.id, { by: "eve" });
  assert.deepEqual((await ended(h)).output, { by: "eve" });
  const meta = await ended(await tasks.trigger("meta", undefined));
  assert.deepEqual([meta.metadata, meta.tags], [{ step: 2, log: ["a"], n: 2 }, ["added"]]);
});

test("tasks have the environment's variables, and nothing of the server", async () => {
  await envvars.create(project, "prod", { name: "GREETING", value: "good day" });
  await envvars.upload(project, "prod", { variables: { HIDDEN: "secret" }, isSecret: true });
  const a = (await ended(await tasks.trigger("about", { name: "GREETING" }))).output;
  assert.deepEqual([a.variable, a.env, a.ours], ["good day", "prod", []]);
  assert.equal(a.version, (await deployments.retrieveCurrent()).version);
  if (root) assert.ok(a.uid > 400_000, "tasks have a user of their own");
  assert.equal((await ended(await tasks.trigger("about", { name: "HIDDEN" }))).output.variable, "secret");
  assert.deepEqual((await envvars.list(project, "prod")).map((v) => [v.name, v.value]), [["GREETING", "good day"], ["HIDDEN", "<redacted>"]]);
  // The SDK's update fails before it sends anything.
  assert.equal((await prod("PUT", `/api/v1/projects/${project}/envvars/prod/GREETING`, { value: "good night" })).status, 200);
  assert.equal((await envvars.retrieve(project, "prod", "GREETING")).value, "good night");
  assert.equal((await ended(await tasks.trigger("about", { name: "GREETING" }))).output.variable, "good night");
  await envvars.del(project, "prod", "GREETING");
  await assert.rejects(envvars.retrieve(project, "prod", "GREETING"), { status: 404 });
  await envvars.create(project, "prod", { name: "UNSEEN", value: "a value that nobody prints" });
  for (const f of readdirSync(join(dir, "data"), { recursive: true, withFileTypes: true })) {
    const name = join(f.parentPath, f.name);
    if (f.isFile() && !name.includes("/tasks/")) assert.ok(!readFileSync(name).includes("a value that nobody prints"), `${name} has a value in plain text`);
  }
});

test("a task that misbehaves fails alone", async () => {
  const bystander = await tasks.trigger("slow", { ms: 4000 });
  const how = {
    exit: ["CRASHED", /exited with code 3/], throw: ["FAILED", /nobody waits for me/], hog: ["CRASHED", /OOM|signal SIGKILL/], print: ["COMPLETED"], segv: ["CRASHED", /SIGSEGV/],
  };
  const all = await Promise.all(Object.keys(how).map(async (k) => [k, await tasks.trigger("misbehave", { how: k })]));
  const hungry = await tasks.trigger("hungry", undefined);
  const spin = await tasks.trigger("misbehave", { how: "spin" });
  await reach(spin, "EXECUTING");
  await runs.cancel(spin.id); // it cannot hear of it
  for (const [k, h] of all) {
    const r = await ended(h);
    assert.equal(r.status, how[k][0], `${k}: ${JSON.stringify(r.error)}`);
    if (how[k][1]) assert.match(JSON.stringify(r.error), how[k][1]);
  }
  assert.equal((await ended(spin)).status, "CANCELED");
  assert.equal((await ended(bystander)).output, "slept");
  assert.deepEqual([(await ended(hungry)).output, (await ended(hungry)).attemptCount], ["small-2x", 2], "the second attempt has a larger machine");
});

test("versions are promoted, rolled back and pinned", { timeout: 170_000 }, async () => {
  const first = await deployments.retrieveCurrent();
  const config = join(app, "trigger.config.ts");
  const synced = `build: { extensions: [syncEnvVars(async (ctx) => [{ name: "SYNCED", value: "to " + ctx.environment }, { name: "SYNCED_SECRET", value: "hush", isSecret: true }])] },`;
  writeFileSync(config, `import { syncEnvVars } from "@trigger.dev/build/extensions/core";\n${readFileSync(config, "utf8").replace("defineConfig({", `defineConfig({ ${synced}`)}`);
  appendFileSync(join(app, "src/trigger/tasks.ts"), `\nexport const fresh = task({ id: "fresh", run: async () => "new here" });\n`);
  const waits = await tasks.trigger("fresh", undefined);
  const awaits = (await prod("POST", "/api/v1/tasks/fresh/trigger", { payload: "{}", options: { externalDeploymentId: "build-7", payloadType: "application/json" } })).body;
  assert.equal((await runs.retrieve(awaits.id)).status, "PENDING_VERSION");
  const second = await deploy(["--skip-promotion", "--external-id", "build-7"]);
  assert.deepEqual([(await ended(awaits)).output, (await ended(awaits)).version], ["new here", second.version]);
  assert.equal(second.isPromoted, false);
  assert.deepEqual([await envvars.retrieve(project, "prod", "SYNCED"), await envvars.retrieve(project, "prod", "SYNCED_SECRET")].map((v) => [v.value, v.isSecret]), [["to prod", false], ["<redacted>", true]]);
  assert.equal((await ended(await tasks.trigger("about", { name: "SYNCED_SECRET" }))).output.variable, "hush");
  assert.equal((await deployments.retrieveCurrent()).version, first.version);
  const pinned = await tasks.trigger("fresh", undefined, { version: second.version });
  assert.deepEqual([(await ended(pinned)).output, (await ended(pinned)).version], ["new here", second.version]);
  assert.equal((await runs.retrieve(waits.id)).status, "PENDING_VERSION");
  const cli = await runCli(app, server.url, pat, ["promote", second.version, "--skip-update-check", "--skip-telemetry"]);
  assert.equal(cli.code, 0, cli.log);
  assert.equal((await ended(waits)).output, "new here");
  const back = (q = "") => prod("POST", `/api/v1/deployments/${first.version}/promote${q}`);
  assert.match((await back()).body.error, /older than the current/);
  assert.equal((await back("?allowRollbacks=true")).status, 200);
  assert.match((await back()).body.error, /already the current/);
  assert.equal((await ended(await tasks.trigger("hello", {}))).version, first.version);
  assert.equal((await prod("POST", "/api/v1/deployments/20200101.1/promote")).status, 404);
});

test("a bundle that is wrong makes no version", async () => {
  const settled = async (archive) => {
    const a = (await prod("POST", "/api/v1/artifacts", { type: "deployment_bundle", contentType: "application/gzip", contentLength: archive.length })).body;
    const form = new FormData();
    for (const [k, v] of Object.entries(a.uploadFields)) form.append(k, v);
    form.append("file", new Blob([archive]), "deployment.tar.gz");
    assert.equal((await fetch(a.uploadUrl, { method: "POST", body: form })).status, 204);
    const d = (await prod("POST", "/api/v1/deployments", { contentHash: "x", artifactKey: a.artifactKey, type: "MANAGED" })).body;
    return until("the deployment to end", async () => {
      const { body } = await prod("GET", `/api/v1/deployments/${d.id}`);
      return body.status === "FAILED" && body.errorData.message;
    });
  };
  const tar = (name, text) => {
    const h = Buffer.alloc(512);
    h.write(name, 0);
    h.write("0000644\0", 100);
    h.write(text.length.toString(8).padStart(11, "0") + "\0", 124);
    h.write("        0", 148);
    h.write("ustar\x0000", 257);
    h.write(h.reduce((a, b) => a + b, 0).toString(8).padStart(6, "0") + "\0 ", 148);
    const body = Buffer.alloc(Math.ceil(text.length / 512) * 512);
    body.write(text);
    return gzipSync(Buffer.concat([h, body, Buffer.alloc(1024)]));
  };
  assert.match(await settled(Buffer.from("not an archive")), /no gzip/);
  assert.match(await settled(gzipSync("not an archive either, but long enough to be looked at".repeat(40))), /no tar/);
  assert.match(await settled(tar("../../outside", "x")), /outside of its directory/);
  assert.match(await settled(tar("package.json", "{}")), /no build.json/);
  assert.equal((await prod("POST", "/api/v1/artifacts", { type: "deployment_bundle", contentLength: 1 << 30 })).status, 413);
  assert.equal((await prod("POST", "/api/v1/deployments", { artifactKey: "bundles/../../etc/passwd" })).status, 400);
  assert.equal((await fetch(`${server.url}/api/v1/artifacts/env_x/y?expires=9999999999&sig=00`, { method: "POST", body: "x" })).status, 403);
});

test("an alert channel is told of what failed, and of what was deployed", async () => {
  const refused = await alert("the first failure, again", (e) => e.id === alerts.refused);
  assert.ok(alerts.list.filter((e) => e.id === refused.id).length === 1);
  const h = await tasks.trigger("flaky", { fails: 9 }, { maxAttempts: 1, tags: ["alerts"] });
  await ended(h);
  const { object } = await alert("a run", (e) => e.object.run?.id === h.id);
  assert.deepEqual([object.task.id, object.task.filePath, object.run.status, object.run.error.message, object.run.tags, object.environment.type, object.project.ref], ["flaky", "src/trigger/tasks.ts", "FAILED", "boom 1", ["alerts"], "PRODUCTION", project]);
  assert.equal((await fetch(object.run.dashboardUrl)).status, 200);
  assert.equal((await alert("a crash", (e) => e.object.run?.status === "CRASHED")).object.run.error.type, "INTERNAL_ERROR");
  const deployed = await alert("a version", (e) => e.type === "alert.deployment.success");
  assert.ok(deployed.object.tasks.some((t) => t.id === "hello") && deployed.object.deployment.deployedAt instanceof Date);
  const bad = await alert("a deployment", (e) => e.type === "alert.deployment.failed" && /no build.json/.test(e.object.error.message));
  assert.equal(bad.object.deployment.status, "FAILED");
  assert.deepEqual([...new Set(alerts.list.map((e) => e.type))].sort(), ["alert.deployment.failed", "alert.deployment.success", "alert.run.failed"]);
  assert.ok(!alerts.list.some((e) => ["CANCELED", "COMPLETED"].includes(e.object.run?.status)), "what was cancelled or went well is no alert");
});

test("an environment has keys beside its own, for which the server signs tokens", async () => {
  const inside = (method, path, body) => ask(server, method, `/api/dashboard/trigger/inside/${path}`, body, { authorization: `Bearer ${keys.dashboard}` });
  const made = (await inside("POST", "keys", { name: "worker" })).body.token;
  assert.match(made, /^tr_prod_sk_/);
  const as = (accessToken, f) => auth.withAuth({ baseURL: server.url, accessToken }, f);
  const h = await as(made, () => tasks.trigger("hello", { name: "key" }));
  assert.equal((await as(h.publicAccessToken, () => ended(h))).output.hi, "key");
  const token = await as(made, () => auth.createPublicToken({ scopes: { read: { runs: [h.id] } } }));
  assert.equal((await as(token, () => runs.retrieve(h.id))).id, h.id);
  const once = await as(made, () => auth.createTriggerPublicToken("hello"));
  await as(once, () => tasks.trigger("hello", {}));
  await assert.rejects(as(once, () => tasks.trigger("hello", {})), { status: 422 });
  const [{ hash }] = (await inside("GET", "keys")).body.tokens;
  assert.equal((await inside("DELETE", `tokens/${hash}`)).status, 200);
  await assert.rejects(as(made, () => runs.retrieve(h.id)), { status: 401 });
});

test("who has no business with a run changes nothing", async () => {
  const h = await tasks.trigger("slow", { ms: 3000 });
  await reach(h, "EXECUTING");
  const snapshot = "snapshot_" + "0".repeat(26);
  const lie = { completion: { ok: true, id: h.id, output: "1", outputType: "application/json" } };
  assert.equal((await prod("POST", `/engine/v1/dev/runs/${h.id}/snapshots/${snapshot}/attempts/complete`, lie)).status, 400);
  assert.equal((await ask(server, "POST", `/engine/v1/dev/runs/${h.id}/snapshots/${snapshot}/attempts/complete`, lie)).status, 401, "a key of no environment");
  const workload = `/api/v1/workload-actions/runs/${h.id}/snapshots/${snapshot}/attempts/complete`;
  assert.equal((await ask(server, "POST", workload, lie, { "x-trigger-workload-deployment-id": `deployment_x.${h.id}.00` })).status, 401);
  assert.equal((await ask(server, "POST", "/engine/v1/pool/lease", { most: 5 })).status, 401);
  const pool = { authorization: `Bearer ${workerToken}` };
  assert.equal((await ask(server, "POST", "/engine/v1/pool/complete", { run: { env: "default", id: h.id, snapshot }, result: lie.completion }, pool)).status, 409);
  assert.equal((await ended(h)).output, "slept");
});

test("a run outlives its process, and the server", { timeout: 170_000 }, async () => {
  const file = (n) => {
    const name = join(dir, `survivor-${n}`);
    writeFileSync(name, "");
    chmodSync(name, 0o666);
    return name;
  };
  // The process alone is killed.
  const one = file(1);
  const a = await tasks.trigger("survivor", { file: one });
  const pid = await until("the process", () => readFileSync(one, "utf8").split(" ")[1]?.trim());
  process.kill(Number(pid), "SIGKILL");
  const r = await ended(a);
  assert.deepEqual([r.status, r.output, r.attemptCount], ["COMPLETED", 2, 2]);
  // The server is killed, and its processes with it.
  const two = file(2), token = await wait.createToken();
  const b = await tasks.trigger("survivor", { file: two });
  const waits = await tasks.trigger("approval", { token: token.id });
  const later = await tasks.trigger("hello", { name: "later" }, { delay: "20s" });
  await until("the process", () => readFileSync(two, "utf8").includes("\n"));
  await reach(waits, "WAITING");
  const pids = held().map((h) => h.pid);
  await server.stop("SIGKILL");
  await until("the processes to end", () => pids.every((p) => !alive(p)));
  await start();
  await wait.completeToken(token.id, { by: "eve" });
  const s = await ended(b);
  assert.deepEqual([s.status, s.output, s.attemptCount], ["COMPLETED", 2, 2]);
  assert.deepEqual((await ended(waits)).output, { by: "eve" });
  assert.equal((await ended(later)).output.hi, "later");
});

function alive(pid) {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

test("a worker on another machine executes runs, and may be killed", { timeout: 170_000 }, async (t) => {
  await server.stop();
  await start(["--tasks=off"]);
  const data = join(dir, "worker");
  const launch = () => spawn(binary(), ["worker", `--server=${server.url}`, `--worker-token=${workerToken}`, `--data=${data}`, "--log-level=warn"], { stdio: "inherit" });
  let worker = launch();
  t.after(() => worker.kill("SIGKILL"));
  assert.deepEqual((await ended(await tasks.trigger("hello", { name: "far" }))).output.hi, "far");
  const file = join(dir, "survivor-3");
  writeFileSync(file, "");
  chmodSync(file, 0o666);
  const h = await tasks.trigger("survivor", { file });
  await until("the process", () => readFileSync(file, "utf8").includes("\n"));
  worker.kill("SIGKILL");
  await new Promise((r) => worker.once("exit", r));
  worker = launch();
  const r = await ended(h);
  assert.deepEqual([r.status, r.output, r.attemptCount], ["COMPLETED", 2, 2]);
});

test("the bundle's own controller can drive runs instead", { timeout: 170_000 }, async () => {
  await server.stop();
  await start(["--task-controller=official"]);
  const token = await wait.createToken();
  const [flaky, slow, waits] = await Promise.all([tasks.trigger("flaky", { fails: 1 }), tasks.trigger("slow", { ms: 60_000 }), tasks.trigger("approval", { token: token.id })]);
  await reach(slow, "EXECUTING");
  await runs.cancel(slow.id);
  await reach(waits, "WAITING");
  await wait.completeToken(token.id, { by: "eve" });
  assert.equal((await ended(flaky)).output, 2);
  assert.equal((await ended(slow)).status, "CANCELED");
  assert.deepEqual((await ended(waits)).output, { by: "eve" });
});
