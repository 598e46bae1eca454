// Measures a Redis address with the official client, and prints what it saw as JSON. The first argument is the port, the second for how many
// seconds each rate is measured. With "scripts" it prints what bench/bullmq.go sends on its own instead.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const require = createRequire(fileURLToPath(new URL("../../test/e2e/package.json", import.meta.url)));
const { Queue, Worker } = require("bullmq");
const Redis = require("ioredis");

const print = (v) => new Promise((ok) => process.stdout.write(JSON.stringify(v), ok));

if (process.argv[2] === "scripts") {
  const { Packr } = require("msgpackr");
  const { pack } = new Packr({ useRecords: false, encodeUndefinedAsNil: true });
  const text = (name) => Object.values(require(`bullmq/dist/cjs/scripts/${name}`))[0].content;
  const packed = (v) => pack(v).toString("base64");
  await print({
    add: text("addStandardJob-9"), fetch: text("moveToActive-11"), finish: text("moveToFinished-14"),
    addArgs: packed(["bull:bench:", "", "mail", Date.now(), undefined, undefined, undefined, undefined, undefined, undefined]),
    addOpts: packed({ attempts: 1 }),
    fetchOpts: packed({ token: "0", lockDuration: 30000, limiter: undefined, name: undefined }),
    finishOpts: packed({ token: "0", keepJobs: { count: 0 }, limiter: undefined, lockDuration: 30000, attempts: 1, maxMetricsSize: "", fpof: false, cpof: false, idof: false, rdof: false }),
  });
  process.exit();
}

const port = Number(process.argv[2]), ms = 1000 * Number(process.argv[3]);
const connect = () => new Redis(port, "127.0.0.1", { maxRetriesPerRequest: null });
const data = { userId: "user_1", note: "a job of a usual size" };
const out = {};
let n = 0;
const fresh = () => new Queue(`bench-${process.pid}-${++n}`, { connection: connect(), defaultJobOptions: { removeOnComplete: true } });

async function adds(inFlight) {
  const q = fresh();
  await q.add("warm", data);
  let count = 0;
  const end = Date.now() + ms;
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (Date.now() < end) {
      await q.add("job", data);
      count++;
    }
  }));
  await q.obliterate({ force: true });
  await q.close();
  return count / (ms / 1000);
}

async function bulk() {
  const q = fresh();
  const jobs = Array.from({ length: 1000 }, () => ({ name: "job", data }));
  await q.addBulk(jobs);
  let count = 0;
  const began = Date.now();
  while (Date.now() - began < ms) {
    await q.addBulk(jobs);
    count += 1000;
  }
  const rate = count / ((Date.now() - began) / 1000);
  await q.obliterate({ force: true });
  await q.close();
  return rate;
}

async function processed(concurrency) {
  const q = fresh();
  const jobs = Array.from({ length: 1000 }, () => ({ name: "job", data }));
  for (let i = 0; i < 10; i++) await q.addBulk(jobs);
  let count = 0;
  const w = new Worker(q.name, async () => void count++, { connection: connect(), concurrency });
  await w.waitUntilReady();
  const feed = (async () => {
    while (!w.closing) {
      if ((await q.count()) < 5000) await q.addBulk(jobs);
      else await new Promise((ok) => setTimeout(ok, 20));
    }
  })();
  await new Promise((ok) => setTimeout(ok, 300));
  const [before, began] = [count, Date.now()];
  await new Promise((ok) => setTimeout(ok, ms));
  const rate = (count - before) / ((Date.now() - began) / 1000);
  await w.close();
  await feed;
  await q.obliterate({ force: true });
  await q.close();
  return rate;
}

async function latency() {
  const q = fresh();
  const seen = [];
  const w = new Worker(q.name, async (job) => void seen.push(performance.now() - job.data.at), { connection: connect(), concurrency: 10 });
  await w.waitUntilReady();
  const end = Date.now() + ms;
  while (Date.now() < end) {
    await q.add("job", { at: performance.now() });
    await new Promise((ok) => setTimeout(ok, 10));
  }
  await w.close();
  await q.obliterate({ force: true });
  await q.close();
  seen.sort((a, b) => a - b);
  return [seen[Math.floor(seen.length / 2)], seen[Math.floor(seen.length * 0.99)]];
}

out["add, one at a time"] = await adds(1);
out["add, 50 in flight"] = await adds(50);
out["addBulk of 1,000"] = await bulk();
for (const c of [1, 50, 200]) out[`processed, concurrency ${c}`] = await processed(c);
[out["add to active, p50 ms"], out["add to active, p99 ms"]] = await latency();
await print(out);
process.exit();
