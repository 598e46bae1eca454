// The demo itself; scripts/demo has seen to it that all it needs is there.
import { execFileSync, spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, openSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = resolve(fileURLToPath(import.meta.url), "../..");
const appDir = join(root, "examples/nextjs");
const quartet = join(root, "bin/quartet");
const exitAfterRun = process.env.DEMO_EXIT === "1";
const daySeconds = 3; // how long a day of the app takes here

// --- what is printed ---

const fancy = process.stdout.isTTY && !process.env.NO_COLOR;
const style = (code) => (text) => (fancy ? `\x1b[${code}m${text}\x1b[0m` : text);
const [bold, dim, red, green] = [1, 2, 31, 32].map(style);
const marks = fancy
  ? { done: green("✓"), asleep: dim("zZ"), waiting: dim("…"), failed: red("✗"), again: red("↻"), ended: bold("=") }
  : { done: "done", asleep: "asleep", waiting: "waiting", failed: "failed", again: "retry", ended: "end" };
const markWidth = fancy ? 2 : 7;
const visible = (text) => text.replace(/\x1b\[\d+m/g, "").length;
const pad = (text, width) => text + " ".repeat(Math.max(0, width - visible(text)));
const say = (text = "") => console.log(text);
const took = (ms) => (ms < 1 ? "under 1 ms" : ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);
const short = (value) => {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 120 ? `${text.slice(0, 119)}…` : text;
};

// --- what is started, and how all of it ends ---

const dir = mkdtempSync(join(tmpdir(), "quartet-demo-"));

// The keeper is told of each process group and the signal that ends it. Once its input ends it stops them all and removes
// the directory. Its input ends when this process does, whatever the reason, kill -9 included; so it is a process of its
// own, in a session of its own.
const keeper = spawn("bash", ["-c", `
  groups=()
  alive() { for g in "\${groups[@]}"; do kill -0 -- "-$g" 2>/dev/null && return 0; done; return 1; }
  signal() { kill "-$1" -- "-$2" 2>/dev/null; }
  ends=()
  while read -r end group; do groups+=("$group") ends+=("$end"); done
  for i in "\${!groups[@]}"; do signal "\${ends[i]}" "\${groups[i]}"; done
  for _ in {1..150}; do alive || break; sleep 0.1; done
  for g in "\${groups[@]}"; do signal KILL "$g"; done
  rm -rf "$1"
`, "keeper", dir], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
const kept = new Promise((done) => keeper.once("exit", done));

let stopping = false;
async function stop(code) {
  if (stopping) return;
  stopping = true;
  keeper.stdin.end();
  await kept;
  process.exit(code);
}

let runCode; // what the run and the messages came to, once they have ended
for (const [signal, number] of [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]]) {
  process.on(signal, () => void stop(runCode ?? 128 + number));
}

/** An error that a person can do something about. */
class Trouble extends Error {}

/** Starts a program in a process group of its own that the keeper ends with the signal. Its output goes to a file. */
function start(name, signal, file, args, options) {
  const log = join(dir, `${name}.log`);
  const out = openSync(log, "w");
  const child = spawn(file, args, { ...options, detached: true, stdio: ["ignore", out, out] });
  if (child.pid) keeper.stdin.write(`${signal} ${child.pid}\n`);
  const tail = () => readFileSync(log, "utf8").trim().split("\n").slice(-25).map((line) => `  | ${line}`).join("\n");
  const over = new Promise((_, fail) => {
    child.once("error", (err) => fail(new Trouble(`cannot start ${file}: ${err.message}`)));
    // The end of the demo is the end of its parts, and their logs may be gone already.
    child.once("exit", (code, signal) => stopping || fail(new Trouble(`${name} ended by itself (${signal ?? `status ${code}`}). Its last words:\n${tail()}`)));
  });
  over.catch(() => {}); // whoever waits for something of the child races with it
  return { over, tail };
}

/** Waits until probe gives something, while what it depends on lives. */
async function until(what, part, probe, seconds = 120) {
  let giveUp = false;
  let last = "";
  const wait = async () => {
    while (!giveUp) {
      try {
        const value = await probe();
        if (value) return value;
        last = "";
      } catch (err) {
        if (err instanceof Trouble) throw err;
        last = err.cause?.message ?? err.message;
      }
      await pause(100);
    }
  };
  const limit = pause(seconds * 1000, undefined, { ref: false }).then(() => {
    throw new Trouble(`${what} took more than ${seconds} s${last && ` (${last})`}. The last lines of its log:\n${part.tail()}`);
  });
  return Promise.race([wait(), part.over, limit]).finally(() => (giveUp = true));
}

/** The port, or a free one if somebody has it under any name that this machine calls itself. */
async function port(wanted, whose) {
  const taken = async (host) => {
    const socket = connect(wanted, host).setTimeout(2000);
    const event = await new Promise((done) => {
      for (const e of ["connect", "error", "timeout"]) socket.once(e, () => done(e));
    });
    socket.destroy();
    return event !== "error"; // silence is an answer too
  };
  const listen = (n) =>
    new Promise((done, fail) => {
      const server = createServer().once("error", fail);
      server.listen(n, "127.0.0.1", () => {
        const got = server.address().port;
        server.close(() => done(got));
      });
    });
  if (!(await taken("127.0.0.1")) && !(await taken("::1"))) {
    try {
      return await listen(wanted);
    } catch (err) {
      if (err.code !== "EADDRINUSE" && err.code !== "EACCES") throw err;
    }
  }
  const free = await listen(0);
  say(`Port ${wanted} is taken, so ${whose} is on ${free}.`);
  return free;
}

/** This process's variables without those that would bend the demo. */
function environment(more) {
  const bends = /^(INNGEST_|TRIGGER_|IMPORT_SECRET$|REDIS_|QSTASH_|[A-Z]+_[A-Z]+_\d_QSTASH_|QUARTET_|NODE_ENV$|PORT$|CRM_URL$|APP_URL$|PAYMENTS_SECRET$|NEXT_)/;
  return { ...Object.fromEntries(Object.entries(process.env).filter(([k]) => !bends.test(k))), ...more };
}

// --- the demo ---

async function startServer() {
  const address = `127.0.0.1:${await port(8288, "Quartet")}`;
  const redis = `127.0.0.1:${await port(6379, "its Redis address")}`;
  const appPort = await port(3000, "the app");
  const appUrl = `http://localhost:${appPort}`;
  // Discovery would also find whatever else runs on this machine; the demo is about its own app.
  const args = ["dev", `--listen=${address}`, `--redis=${redis}`, `--data=${join(dir, "data")}`, "--no-discovery", `--app=${appUrl}/api/inngest`];
  const part = start("quartet", "TERM", quartet, args, { env: environment(), cwd: dir });
  const url = `http://${address}`;
  await until("the start of Quartet", part, async () => (await fetch(`${url}/readyz`)).ok, 30);
  const api = async (path, body) => {
    const res = await fetch(`${url}/api/dashboard${path}`, body && { method: "POST", body: JSON.stringify(body) });
    if (!res.ok) throw new Error(`${path} answered ${res.status} ${await res.text()}`);
    return res.json();
  };
  return { part, url, address, redis, appPort, appUrl, api };
}

async function startApp(server) {
  const lines = execFileSync(quartet, ["env", `--listen=${server.address}`, `--redis=${server.redis}`, "--format=dotenv"], { env: environment(), encoding: "utf8" });
  const point = Object.fromEntries(lines.trim().split("\n").map((line) => line.split(/=(.*)/s, 2)));
  const secret = randomBytes(16).toString("hex"); // what a payment provider and its customer share
  const next = join(appDir, "node_modules/next/dist/bin/next");
  // KILL, because a development server has nothing to save, and one that is asked to end leaves a process of its telemetry
  // behind for a while, even when that is off.
  const part = start("app", "KILL", process.execPath, [next, "dev", "--hostname=127.0.0.1", `--port=${server.appPort}`], {
    cwd: appDir,
    env: environment({ ...point, PAYMENTS_SECRET: secret, IMPORT_SECRET: secret, DEMO_SPEED: String(86_400 / daySeconds), NEXT_TELEMETRY_DISABLED: "1" }),
  });
  await until("the start of the app", part, async () => {
    const res = await fetch(server.appUrl);
    if (res.status >= 500) throw new Trouble(`the app answers ${res.status}. It says:\n${part.tail()}`);
    return res.ok;
  });
  // The server asks the app every few seconds anyway; this only spares the wait.
  await until("registering the app", part, () => server.api("/apps", { url: `${server.appUrl}/api/inngest` }));
  const { functions } = await server.api("/functions");
  if (!functions.some((f) => f.slug === "paperboat-onboarding")) {
    throw new Trouble(`the app registered without its onboarding function: ${functions.map((f) => f.slug).join(", ") || "it has none"}`);
  }
  const worker = start("worker", "TERM", process.execPath, ["worker/email.mjs"], { cwd: appDir, env: environment({ ...point, APP_URL: server.appUrl }) });
  await until("the start of the worker", worker, () => worker.tail().includes("the worker is ready"));
  const cli = join(appDir, "node_modules/trigger.dev/dist/esm/index.js");
  const tasks = start("tasks", "TERM", process.execPath, [cli, "dev", "--skip-update-check", "--skip-telemetry", "--skip-platform-notifications"], {
    cwd: appDir, env: environment({ ...point, APP_URL: server.appUrl, IMPORT_SECRET: secret, CI: "1", TMPDIR: dir }), // it leaves a cache where files are temporary
  });
  return { part, worker, tasks, url: server.appUrl, secret, token: point.QSTASH_TOKEN, taskKey: point.TRIGGER_SECRET_KEY };
}

/** Fills in the form of a page that has a text and sends it, as a browser without JavaScript does. */
async function submitForm(app, path, has, fields) {
  const html = await (await fetch(app.url + path)).text();
  const form = [...html.matchAll(/<form[^>]*>.*?<\/form>/gs)].map(([f]) => f).find((f) => f.includes(has));
  if (!form) return undefined;
  const body = new FormData();
  for (const [input] of form.matchAll(/<input[^>]*type="hidden"[^>]*>/g)) {
    body.set(input.match(/name="([^"]*)"/)[1], input.match(/value="([^"]*)"/)?.[1] ?? "");
  }
  for (const [name, value] of Object.entries(fields)) body.set(name, value);
  return fetch(app.url + path, { method: "POST", headers: { origin: app.url }, body, redirect: "manual" });
}

/** Signs somebody up. Returns the page it leads to. */
async function signUp(app, name, email) {
  const res = await submitForm(app, "/", "", { name, email });
  const page = res?.headers.get("location");
  if (res?.status !== 303 || !page) throw new Trouble(`the sign-up form answered ${res?.status}. The app says:\n${app.part.tail()}`);
  return page;
}

/** Calls the app's webhook, as a payment provider does. Returns what it answers. */
async function webhook(app, type, payment) {
  const body = JSON.stringify({ type, payment });
  const time = Math.floor(Date.now() / 1000);
  const signature = createHmac("sha256", app.secret).update(`${time}.${body}`).digest("hex");
  const res = await fetch(`${app.url}/api/webhooks/payments`, { method: "POST", headers: { "payments-signature": `t=${time},v1=${signature}` }, body });
  if (!res.ok) throw new Trouble(`the webhook answered ${res.status}. The app says:\n${app.part.tail()}`);
  return res.json();
}

/** Pays. Returns the ids of the messages that follow it up, by name. */
async function pay(app, payment) {
  const { messages } = await webhook(app, "payment.succeeded", payment);
  return { receipt: messages.receipt, "follow-up": messages.followUp };
}

/** Prints what happens to messages until each of them is delivered or has failed. Returns whether all were delivered. */
async function followMessages(server, app, messages) {
  const printed = new Set();
  const last = new Map(); // name to state
  const look = async () => {
    for (const [name, id] of Object.entries(messages)) {
      const res = await fetch(`${server.url}/v2/logs?messageId=${id}&order=earliestFirst`, { headers: { authorization: `Bearer ${app.token}` } });
      if (!res.ok) throw new Error(`/v2/logs answered ${res.status}`);
      for (const [i, e] of (await res.json()).logs.entries()) {
        if (printed.has(id + i)) continue;
        printed.add(id + i);
        last.set(name, e.state);
        const wait = e.nextDeliveryTime ? took(e.nextDeliveryTime - e.time) : "";
        const shown = {
          CREATED: [wait ? "asleep" : "waiting", "created", wait && `to be delivered in ${wait}`],
          RETRY: ["again", "retry", `${e.error}, again in ${wait}`],
          DELIVERED: ["done", "delivered", `the app answered ${e.responseStatus}`],
          FAILED: ["failed", "failed", e.error],
          CANCELED: ["failed", "cancelled", ""],
        }[e.state];
        if (shown) say(`  ${pad(dim(name), 14)}  ${pad(marks[shown[0]], markWidth)}  ${pad(shown[1], 18)}  ${dim(shown[2])}`.trimEnd());
      }
    }
    return Object.keys(messages).every((name) => ["DELIVERED", "FAILED", "CANCELED"].includes(last.get(name)));
  };
  await Promise.race([until("delivering the messages", server.part, look), app.part.over]);
  return [...last.values()].every((state) => state === "DELIVERED");
}

const contacts = `email,name\n${["bea", "carl", "dora", "no address", "emil", "fritz", "gerda"].map((n) => (n.includes(" ") ? `${n},Nobody` : `${n}@paperboat.example,${n}`)).join("\n")}\n`;

/** Sends a file of contacts to the app, and approves it when the task that imports it asks. Returns the run. */
async function importContacts(server, app, follower) {
  await until("the tasks", app.tasks, () => /Local worker ready/.test(app.tasks.tail()));
  const res = await fetch(`${app.url}/api/imports`, { method: "POST", body: contacts });
  if (res.status !== 202) throw new Trouble(`the import route answered ${res.status}. The app says:\n${app.part.tail()}`);
  const { importId, runId } = await res.json();
  const tasks = async (path, init) => (await fetch(`${server.url}${path}`, { ...init, headers: { authorization: `Bearer ${app.taskKey}` } })).json();
  const ended = until("the import", app.tasks, async () => {
    await follower.look();
    const { data } = await tasks(`/api/v1/waitpoints/tokens?filter[tags]=${importId}&filter[status]=WAITING`);
    for (const t of data) await tasks(`/api/v1/waitpoints/tokens/${t.id}/complete`, { method: "POST", body: JSON.stringify({ data: { by: "ines@paperboat.example" } }) });
    return follower.ended.get(runId.replace("run_", "").toUpperCase());
  });
  return { ...(await Promise.race([ended, app.part.over])), page: `/imports/${runId}` };
}

/** Prints what becomes of the jobs that a sign-up made, until each has ended or is far from due. */
async function followJobs(server, app, userId) {
  const printed = new Set();
  const line = (name, mark, what, text) => {
    if (printed.has(name + what)) return;
    printed.add(name + what);
    say(`  ${pad(dim(name), 14)}  ${pad(marks[mark], markWidth)}  ${pad(what, 18)}  ${dim(text)}`.trimEnd());
  };
  const states = {};
  const look = async () => {
    for (const name of ["verify", "remind"]) {
      const { job } = await server.api(`/jobs/job?queue=emails&id=${name}-${userId}`);
      states[name] = job.state;
      if (job.attempts > 0 && job.error) line(name, "again", "retry", job.error);
      if (job.state === "completed") line(name, "done", "completed", `attempt ${job.attempts}, ${took(job.endedAt - job.addedAt)} after it was added`);
      if (job.state === "failed") line(name, "failed", "failed", job.error);
      if (job.state === "delayed" && job.attempts === 0) line(name, "asleep", "delayed", `due in ${took(job.dueAt - job.addedAt)}`);
    }
    return ["completed", "failed"].includes(states.verify) && states.remind !== "waiting";
  };
  await Promise.race([until("the jobs", server.part, look), app.worker.over]);
  return states.verify === "completed";
}

/** Prints what is new about a run since the last look. */
class Follower {
  printed = new Set();
  ended = new Map(); // id to run

  constructor(server) {
    this.server = server;
  }

  /** Looks at the newest runs once. */
  async look() {
    const { runs } = await this.server.api("/runs?limit=50");
    for (const run of runs.toReversed()) {
      if (this.ended.has(run.id) || run.function === "qstash-message") continue; // messages are runs too
      const view = await this.server.api(`/runs/${run.id}`);
      this.show(view);
      if (view.run.endedAt) this.ended.set(run.id, view.run);
    }
  }

  show({ run, steps, attempts, events }) {
    // A workflow is known by its URL.
    const workflow = run.function === "qstash-workflow";
    const fn = workflow ? new URL(events[0].data.url).pathname.split("/").at(-1) : run.function.replace("task/", "").slice(run.function.startsWith("task/") ? 0 : run.app.length + 1);
    // It has rows for what the app knows as one step: a call, the delivery of its outcome, and the result.
    if (workflow) steps = steps.filter((s) => s.type !== "initial" && s.type !== "callback").map((s) => ({ ...s, id: s.name }));
    const line = (key, mark, what, text) => {
      if (this.printed.has(run.id + key)) return;
      this.printed.add(run.id + key);
      say(`  ${pad(dim(fn), 14)}  ${pad(marks[mark], markWidth)}  ${pad(what, 18)}  ${dim(text)}`.trimEnd());
    };
    for (const a of attempts) {
      const next = a.retryAt ? `, again in ${took(Math.max(0, a.retryAt - a.endedAt))}` : "";
      line(`attempt ${a.step} ${a.attempt}`, a.final ? "failed" : "again", a.name ?? "the function", `${a.error?.message ?? short(a.error)}${next}`);
    }
    const place = (s) => s.seq || Number.MAX_SAFE_INTEGER; // steps get a number when they are done
    for (const s of steps.toSorted((a, b) => place(a) - place(b) || a.queuedAt - b.queuedAt)) {
      if (s.state === "sleeping") line(`sleep ${s.id}`, "asleep", s.name, `for ${took(s.dueAt - s.queuedAt)}`);
      if (s.state === "waiting" || s.state === "invoking") line(`wait ${s.id} ${s.name}`, "waiting", s.name.replace(/ waitpoint_\w+$/, ""), "");
      if (s.state === "done") line(`done ${s.id}`, "done", s.name.replace(/ waitpoint_\w+$/, ""), took(s.endedAt - s.startedAt));
    }
    if (run.endedAt) {
      const result = run.status === "completed" ? short(run.output) : run.reason || run.output?.message || "";
      line("end", "ended", bold(run.status), `in ${took(run.endedAt - run.queuedAt)}  ${result}`);
    }
  }
}

async function demo() {
  say("Starting Quartet and the app …");
  const server = await startServer();
  const app = await startApp(server);
  say(`\n  Quartet  ${server.url}\n  App      ${app.url}\n`);

  const email = "ada@paperboat.example";
  const page = await signUp(app, "Ada", email);
  say(`Ada signed up. Her onboarding takes a day, which is ${daySeconds} seconds here:\n`);
  const follower = new Follower(server);
  const ended = until("the run", server.part, async () => {
    await follower.look();
    return [...follower.ended.values()].find((r) => r.function === "paperboat-onboarding");
  });
  const run = await Promise.race([ended, app.part.over]);

  say("\nHer sign-up also made two jobs, which the worker does; the mail provider is out of order the first time:\n");
  const mailed = await followJobs(server, app, page.split("/").at(-1));

  say("\nAda pays for the team plan, and the provider's webhook tells the app, which sends two messages, one for half an hour later:\n");
  const payment = { id: `pay_${randomBytes(4).toString("hex")}`, email, amount: 1200 };
  const delivered = await followMessages(server, app, await Promise.race([pay(app, payment), app.part.over]));

  say("\nShe wants her money back. That is a workflow, which waits until somebody approves it in the app:\n");
  await Promise.race([webhook(app, "refund.requested", payment), app.part.over]);
  const refunded = until("the refund", server.part, async () => {
    await follower.look();
    if (follower.printed.has("approved")) return [...follower.ended.values()].find((r) => r.function === "qstash-workflow");
    if (![...follower.printed].some((line) => line.includes("wait ") && line.endsWith("-decision"))) return undefined;
    const { pathname } = new URL(page, app.url);
    if ((await submitForm(app, pathname, "Approve", {}))?.ok) follower.printed.add("approved");
    return undefined;
  });
  const refund = await Promise.race([refunded, app.part.over]);

  say("\nShe brings her contacts: the app answers at once, and tasks import them, after somebody has approved so many:\n");
  const imported = await importContacts(server, app, follower);
  runCode = [run, refund, imported].every((r) => r.status === "completed") && delivered && mailed ? 0 : 1;

  say(`\n  This run   ${server.url}/runs/${run.id}\n  Refund     ${server.url}/runs/${refund.id}\n  Import     ${server.url}/runs/${imported.id}, live at ${app.url}${imported.page}\n  Messages   ${server.url}/messages\n  Jobs       ${server.url}/jobs/queue?queue=emails\n  Dashboard  ${server.url}\n  App        ${app.url}${page}\n`);
  if (runCode) say(`Not everything completed. The app says:\n${app.part.tail()}\n`);
  if (exitAfterRun) return;
  say("Both keep running until Ctrl-C. What you do in the app shows up here as well:\n");
  for (;;) {
    await Promise.race([follower.look(), server.part.over, app.part.over]);
    await pause(200);
  }
}

try {
  await demo();
  await stop(runCode);
} catch (err) {
  if (!stopping) console.error(`demo: ${err instanceof Trouble ? err.message : err.stack}`);
  await stop(1);
}
