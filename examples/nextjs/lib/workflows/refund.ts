// A refund: a workflow that asks a person, and waits for the answer as long as that takes.
import { Client } from "@upstash/workflow";
import { db } from "@/lib/db";
import { routeUrl } from "@/lib/qstash/client";
import type { Payment } from "@/lib/qstash/messages";

let client: Client | undefined;

/** As with messages, QSTASH_URL and QSTASH_TOKEN say where the server is. */
const workflows = () => (client ??= new Client({ token: process.env.QSTASH_TOKEN! }));

/** The event that a refund waits for. */
export const decisionOn = (payment: Payment) => `refund-${payment.id}`;

/** Starts a refund. A run of the same id that is under way is not started again, so a repeated webhook does no harm. */
export async function startRefund(payment: Payment) {
  db.refunds.set(payment.id, { email: payment.email, state: "asked for" });
  const { workflowRunId } = await workflows().trigger({
    url: routeUrl("/api/workflows/refund"),
    body: payment,
    workflowRunId: `refund-${payment.id}`,
    label: "refund",
    retries: 2,
  });
  return workflowRunId;
}

/** Says yes to a refund; false if it does not wait for an answer. */
export async function approveRefund(paymentId: string, by: string) {
  const told = await workflows().notify({ eventId: `refund-${paymentId}`, eventData: { by } });
  return told.length > 0;
}
