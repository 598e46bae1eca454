import { cron } from "inngest";
import { db } from "@/lib/db";
import { inngest } from "../client";

/** Every night: forgets sessions that have expired. The dashboard's "Invoke" button runs it at once. */
export const cleanup = inngest.createFunction({ id: "daily-cleanup", triggers: [cron("TZ=Europe/Lisbon 30 4 * * *")] }, async ({ step }) => {
  // The list is a step of its own, so a retry of the second deletes what the first found and not what expired since.
  const expired = await step.run("find-expired-sessions", () => [...db.sessions.values()].filter((s) => s.expiresAt < Date.now()).map((s) => s.id));
  await step.run("delete-them", () => expired.forEach((id) => db.sessions.delete(id)));
  return { deleted: expired.length };
});
