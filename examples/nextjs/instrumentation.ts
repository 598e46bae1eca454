import { isConfigured } from "@/lib/qstash/client";
import { setUp } from "@/lib/qstash/messages";

/** Called once when the app starts. It starts without the server too, and says so. */
export async function register() {
  if (process.env.NEXT_RUNTIME !== "nodejs" || !isConfigured()) return;
  await setUp().catch((err: Error) => console.warn(`the schedule and the URL group are not set up: ${err.message}`));
}
