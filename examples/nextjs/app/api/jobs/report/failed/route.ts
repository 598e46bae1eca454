import { admins } from "@/lib/db";
import { sendMail } from "@/lib/mail";
import { handler } from "@/lib/qstash/handler";

/** The message is a dead letter then, which can be delivered again on the dashboard. */
export const POST = handler(async ({ status, dlqId }: { status: number; dlqId: string }) => {
  for (const admin of admins) await sendMail(admin.email, `The report failed with status ${status}; it is kept as ${dlqId}`);
  return { told: admins.length };
});
