import { admins, db } from "@/lib/db";
import { sendMail } from "@/lib/mail";
import { NonRetriableError } from "inngest";
import { eventNamed, inngest } from "../client";

/** Fan-out, first half: one event becomes one for each admin, all sent in one step, so none is lost or sent twice. */
export const notifyAdmins = inngest.createFunction({ id: "notify-admins", triggers: [eventNamed("plan/changed")] }, async ({ event, step }) => {
  const { userId, plan } = event.data;
  const text = await step.run("write-notice", () => `${db.users.get(userId)?.name ?? userId} is on the ${plan} plan now`);
  await step.sendEvent(
    "one-notice-each",
    admins.map((admin) => eventNamed("admin/notice").create({ adminId: admin.id, text })),
  );
  return { notified: admins.length };
});

/** Second half: a run for each admin, with retries of its own. */
export const notifyAdmin = inngest.createFunction({ id: "notify-admin", triggers: [eventNamed("admin/notice")] }, async ({ event, step }) => {
  const admin = admins.find((a) => a.id === event.data.adminId);
  if (!admin) throw new NonRetriableError(`there is no admin ${event.data.adminId}`);
  return step.run("send-mail", () => sendMail(admin.email, event.data.text));
});
