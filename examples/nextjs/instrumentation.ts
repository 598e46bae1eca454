import { isConfigured } from "@/lib/qstash/client";
import { setUp } from "@/lib/qstash/messages";

/** Called once when the app starts. It starts without the server too, and says so. */
export async function register() {
  if (process.env.NEXT_RUNTIME !== "nodejs") return;
  if (isConfigured()) await setUp().catch((err: Error) => console.warn(`the schedule and the URL group are not set up: ${err.message}`));
  const { hasQueues, scheduleDigest } = await import("@/lib/queues/email");
  if (hasQueues()) await scheduleDigest().catch((err: Error) => console.warn(`the daily digest is not scheduled: ${err.message}`));
}
