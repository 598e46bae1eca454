// Runs scripts/demo as a newcomer does: what it prints, where it listens, and that nothing of it stays.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../e2e/lib/server.mjs";

const script = resolve(fileURLToPath(import.meta.url), "../../../scripts/demo");

/** The processes that have a text among their variables; minimal Linux systems have no ps, others no /proc. */
function processesWith(text) {
  if (!existsSync("/proc/self/environ")) {
    const all = execFileSync("ps", ["axeww", "-o", "pid,command"], { encoding: "utf8", maxBuffer: 64 << 20 });
    return all.split("\n").filter((line) => line.includes(text)).map((line) => line.slice(0, 100));
  }
  const found = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/environ`, "utf8").includes(text)) found.push(`${pid} ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")}`);
    } catch {
      // it ended meanwhile, or is somebody else's
    }
  }
  return found;
}

/** A running demo with a directory of its own for what is temporary. */
function startDemo(t, env = {}) {
  const tmp = mkdtempSync(join(tmpdir(), "demo-test-"));
  const { DEMO_EXIT: _, ...rest } = process.env;
  const child = spawn(script, { env: { ...rest, ...env, TMPDIR: tmp }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (b) => (output += b));
  child.stderr.on("data", (b) => (output += b));
  const exited = new Promise((done) => child.once("exit", (code, signal) => done({ code, signal })));
  // Every descendant inherits TMPDIR, by which it can be found.
  const left = () => [...processesWith(tmp), ...readdirSync(tmp)];
  t.after(async () => {
    child.kill("SIGTERM");
    await exited;
    rmSync(tmp, { recursive: true, force: true });
  });
  return {
    child, exited, left,
    output: () => output,
    says: (re) => until(`the demo to say ${re}`, () => {
      assert.ok(child.exitCode === null, `the demo ended early:\n${output}`);
      return re.exec(output);
    }),
  };
}

/** The lines of a run in the order they came, without durations. */
const lines = (output, fn) => [...output.matchAll(new RegExp(`^ +${fn} +(\\w+) +(\\S+)`, "gm"))].map(([, mark, what]) => `${mark} ${what}`);

test("shows a whole run and ends, with DEMO_EXIT=1", async (t) => {
  const demo = startDemo(t, { DEMO_EXIT: "1" });
  const end = await demo.exited;
  assert.deepEqual(end, { code: 0, signal: null }, demo.output());
  assert.deepEqual(lines(demo.output(), "onboarding"), [
    "done create-workspace",
    "done send-welcome-mail",
    "done tell-the-crm",
    "asleep leave-them-a-day",
    "done leave-them-a-day",
    "done check-engagement",
    "done send-nudge-mail",
    "end completed",
  ], demo.output());
  assert.match(demo.output(), /end +completed +in [\d.]+ s +\{"workspace":"ws_\w+","engaged":false\}/);
  assert.deepEqual(lines(demo.output(), "receipt"), ["waiting created", "done delivered"], demo.output());
  assert.deepEqual(lines(demo.output(), "follow-up"), ["asleep created", "done delivered"], demo.output());
  assert.match(demo.output(), /follow-up +asleep +created +to be delivered in 1\.0 s/);
  assert.deepEqual(lines(demo.output(), "verify").sort(), ["done completed", "retry retry"], demo.output());
  assert.deepEqual(lines(demo.output(), "remind"), ["asleep delayed"], demo.output());
  assert.deepEqual(lines(demo.output(), "refund"), [
    "done ask-the-admins",
    "done tell-the-crm",
    "waiting wait-for-a-decision",
    "done wait-for-a-decision",
    "asleep let-the-bank-work",
    "done let-the-bank-work",
    "done mail-the-customer",
    "end completed",
  ], demo.output());
  assert.match(demo.output(), /end +completed +in [\d.]+ s +\{"refunded":true,"by":"ines@paperboat.example","crm":200\}/);
  assert.match(demo.output(), /import-contacts +done +wait for token/);
  assert.match(demo.output(), /import-contacts +end +completed +in [\d.]+ s +\{"imported":6,"skipped":1\}/);
  assert.match(demo.output(), /Messages +http:\S+\/messages/);
  await until("everything to be gone", () => demo.left().length === 0); // the CLI has a process that looks after it
});

test("makes way for whoever has its ports, keeps serving, and stops on Ctrl-C", async (t) => {
  for (const port of [8288, 3000, 6379]) {
    const other = createServer((socket) => socket.destroy());
    t.after(() => other.close());
    // If even this cannot listen, somebody has the port already, which is as good.
    await new Promise((done) => other.once("error", done).listen(port, "127.0.0.1", done));
  }
  const demo = startDemo(t);
  await demo.says(/until Ctrl-C/);
  assert.match(demo.output(), /Port 8288 is taken, so Quartet is on \d+\./);
  assert.match(demo.output(), /Port 3000 is taken, so the app is on \d+\./);
  assert.match(demo.output(), /Port 6379 is taken, so its Redis address is on \d+\./);
  const [, run] = await demo.says(/This run +(\S+)/);
  const [, page] = await demo.says(/App +(\S+\/users\/\S+)/);
  assert.equal((await fetch(run)).status, 200);
  assert.match(await (await fetch(page)).text(), /Your first note is one click away/);

  const mails = await (await fetch(page)).text();
  for (const text of [/Your receipt pay_\w+ for 12\.00 €/, /How do you like the team plan so far/, /ten folds/]) assert.match(mails, text);

  // The app set up its schedule and its URL group when it started; its handlers take messages of the server only.
  const v2 = async (path) => (await fetch(`${new URL(run).origin}/v2/${path}`, { headers: { authorization: "Bearer any" } })).json();
  assert.equal((await v2("schedules/paperboat-weekly-report")).cron, "CRON_TZ=Europe/Lisbon 0 8 * * 1");
  assert.deepEqual((await v2("topics/user-created")).endpoints.map((e) => e.name), ["welcome-gift", "newsletter"]);
  const post = async (path, headers) => (await fetch(new URL(path, page), { method: "POST", headers, body: "{}" })).status;
  assert.equal(await post("/api/jobs/receipt", {}), 403);
  assert.equal(await post("/api/jobs/receipt", { "upstash-signature": "a.b.c" }), 401);
  assert.equal(await post("/api/webhooks/payments", { "payments-signature": "t=1,v1=00" }), 401);

  // The outcome of a report goes to its callbacks, which mail the admins.
  const report = (body) => fetch(`${new URL(run).origin}/v2/publish/${new URL("/api/jobs/report", page)}`, {
    method: "POST", body,
    headers: {
      authorization: "Bearer any", "upstash-retries": "0",
      "upstash-callback": `${new URL("/api/jobs/report/done", page)}`, "upstash-failure-callback": `${new URL("/api/jobs/report/failed", page)}`,
    },
  });
  await report("{}");
  await report("no JSON");
  await until("the mails about the reports", async () => {
    const text = await (await fetch(page)).text();
    return /This week: 1 users, 0 notes/.test(text) && /The report failed with status 500; it is kept as \d+-\w+/.test(text);
  });

  // Somebody else's sign-up is followed too, and deleting the account cancels it.
  const server = new URL(run).origin;
  const send = async (name, data) => assert.equal((await fetch(`${server}/e/any`, { method: "POST", body: JSON.stringify({ name, data }) })).status, 200);
  await send("user/created", { userId: "user_x", email: "x@paperboat.example", name: "X" });
  await until("the second run to sleep", () => lines(demo.output(), "onboarding").filter((l) => l === "asleep leave-them-a-day").length === 2);
  await send("user/deleted", { userId: "user_x" });
  await until("the second run to be cancelled", () => lines(demo.output(), "onboarding").at(-1) === "end cancelled");

  demo.child.kill("SIGINT");
  assert.deepEqual(await demo.exited, { code: 0, signal: null }, demo.output());
  await until("everything to be gone", () => demo.left().length === 0); // the CLI has a process that looks after it
});

test("leaves nothing behind when it is killed", async (t) => {
  const demo = startDemo(t);
  const parts = [/quartet dev/, /next-server/, /worker\/email\.mjs/, /trigger\.dev\/dist/];
  await until("all its parts to run", () => parts.every((part) => demo.left().some((line) => part.test(line))));
  demo.child.kill("SIGKILL");
  await demo.exited;
  await until("everything to be gone", () => demo.left().length === 0);
});
