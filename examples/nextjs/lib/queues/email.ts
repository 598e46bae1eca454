// Mail that is sent in the background: jobs of a BullMQ queue, which a process of its own works on (worker/email.mjs).
import { Queue } from "bullmq";
import Redis from "ioredis";
import type { User } from "@/lib/db";
import { days } from "@/lib/time";

export type EmailJob = { to: string; subject: string };

/** Whether there is a server for jobs; `quartet env` prints its address. */
export const hasQueues = () => Boolean(process.env.REDIS_URL);

// Next.js loads a module more than once, and every queue has a connection.
const here = globalThis as { emails?: Queue<EmailJob> };

function emails() {
  if (!hasQueues()) throw new Error("REDIS_URL is not set; `quartet env` prints it");
  return (here.emails ??= new Queue<EmailJob>("emails", {
    connection: new Redis(process.env.REDIS_URL!, { maxRetriesPerRequest: null }),
    defaultJobOptions: {
      attempts: 5,
      backoff: { type: "exponential", delay: 200 },
      removeOnComplete: { age: 86_400, count: 1000 },
      removeOnFail: { age: 604_800, count: 5000 },
    },
  }));
}

/** What is sent to somebody who has just signed up: a link at once, before all other mail, and a reminder a week later. */
export async function greet(user: User) {
  await emails().addBulk([
    { name: "verify", data: { to: user.email, subject: "Please confirm your address" }, opts: { priority: 1, jobId: `verify-${user.id}` } },
    { name: "remind", data: { to: user.email, subject: "Your address is still not confirmed" }, opts: { delay: days(7), jobId: `remind-${user.id}` } },
  ]);
}

/** Nobody is reminded of an account that is gone. */
export async function forget(user: User) {
  await emails().remove(`remind-${user.id}`);
}

/** A job every morning. The id is fixed, so saying it again changes nothing. */
export async function scheduleDigest() {
  await emails().upsertJobScheduler("daily-digest", { pattern: "0 8 * * *", tz: "Europe/Lisbon" }, {
    name: "digest",
    data: { to: "ines@paperboat.example", subject: "What happened yesterday" },
    opts: { priority: 10 },
  });
}
