import { serve } from "@upstash/workflow/nextjs";
import { admins, db } from "@/lib/db";
import { sendMail } from "@/lib/mail";
import { routeUrl } from "@/lib/qstash/client";
import type { Payment } from "@/lib/qstash/messages";
import { days, minutes } from "@/lib/time";
import { decisionOn } from "@/lib/workflows/refund";

const seconds = (ms: number) => Math.ceil(ms / 1000);

/**
 * The route is called again and again, each time with the results of the steps so far; what stands between two steps runs every
 * time, what is in a step once.
 */
export const { POST } = serve<Payment>(
  async (context) => {
    const payment = context.requestPayload;

    await context.run("ask-the-admins", async () => {
      for (const admin of admins) await sendMail(admin.email, `Refund ${payment.id}?`);
    });

    // The server makes this call itself, with retries of its own; the app does not wait for it.
    const { status } = await context.call("tell-the-crm", {
      url: routeUrl("/api/crm/contacts"), method: "POST", body: JSON.stringify({ id: payment.id }), headers: { "content-type": "application/json" }, retries: 3,
    });

    const { eventData, timeout } = await context.waitForEvent<{ by: string }>("wait-for-a-decision", decisionOn(payment), { timeout: seconds(days(7)) });
    if (timeout) {
      await context.run("let-it-lapse", () => void db.refunds.set(payment.id, { email: payment.email, state: "lapsed" }));
      return { refunded: false };
    }

    await context.sleep("let-the-bank-work", seconds(minutes(30)));
    await context.run("mail-the-customer", async () => {
      db.refunds.set(payment.id, { email: payment.email, state: "paid back" });
      await sendMail(payment.email, `Your refund of ${(payment.amount / 100).toFixed(2)} € is on its way`);
    });
    return { refunded: true, by: eventData.by, crm: status };
  },
  {
    failureFunction: async ({ context, failResponse }) => {
      for (const admin of admins) await sendMail(admin.email, `The refund ${context.requestPayload.id} failed: ${failResponse}`);
    },
  },
);
