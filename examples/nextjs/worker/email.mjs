// Works on the jobs of the queue "emails". It is a process of its own: it can be stopped, started and multiplied without the app.
//
//   REDIS_URL=redis://… APP_URL=http://127.0.0.1:3000 node worker/email.mjs
import { Queue, UnrecoverableError, Worker } from "bullmq";
import Redis from "ioredis";

const connection = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const app = process.env.APP_URL ?? "http://127.0.0.1:3000";

// Where jobs go that nothing more can be done for, until a person looks at them.
const dead = new Queue("emails-dead", { connection });

/** Hands a mail to the provider, whose part the app plays. */
async function send(mail) {
  const res = await fetch(`${app}/api/mail`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(mail), signal: AbortSignal.timeout(10_000) });
  if (res.ok) return res.json();
  const why = `the mail provider answered ${res.status}`;
  // An address that does not exist will not exist the next time either. Everything else may get better.
  if (res.status === 422) throw new UnrecoverableError(why);
  throw new Error(why);
}

const worker = new Worker("emails", (job) => send({ ...job.data, job: job.id }), {
  connection,
  concurrency: 10,
  limiter: { max: 20, duration: 1000 }, // what the provider takes
});

worker.on("completed", (job) => console.log(`${job.name} ${job.id} is sent`));
worker.on("failed", async (job, err) => {
  console.warn(`${job?.name} ${job?.id} failed: ${err.message}`);
  const final = job && (err instanceof UnrecoverableError || job.attemptsMade >= job.opts.attempts);
  if (final) await dead.add(job.name, { ...job.data, why: err.message }, { jobId: `dead-${job.id}` });
});
worker.on("error", (err) => console.warn(err.message)); // the server is away; the worker waits for it

// Takes no more jobs and lets those that are under way come to their end.
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, async () => {
    await worker.close();
    await dead.close();
    connection.disconnect();
  });
}
console.log("the worker is ready");
