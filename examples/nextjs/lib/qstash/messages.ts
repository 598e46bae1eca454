// Every message of the app: what it carries, where it goes and how.
import type { User } from "@/lib/db";
import { minutes } from "@/lib/time";
import { qstash, routeUrl } from "./client";

export type Payment = { id: string; email: string; amount: number }; // cents

/** What is to happen after a payment: a receipt at once, and a question half an hour later. */
export async function afterPayment(payment: Payment) {
  const sent = await qstash().batchJSON([
    // Payment providers repeat their webhooks; a message with an id that was used already is not sent again.
    { url: routeUrl("/api/jobs/receipt"), body: payment, label: "payment", deduplicationId: `receipt-${payment.id}` },
    {
      url: routeUrl("/api/jobs/follow-up"),
      body: payment,
      label: "payment",
      deduplicationId: `follow-up-${payment.id}`,
      delay: Math.ceil(minutes(30) / 1000),
    },
  ]);
  return { receipt: sent[0]!.messageId, followUp: sent[1]!.messageId };
}

/** Tells everybody who wants to know of new users: each endpoint of the group gets a message of its own. */
export async function userCreated({ id, name, email }: User) {
  await qstash().publishJSON({ urlGroup: "user-created", body: { userId: id, name, email }, deduplicationId: `created-${id}` });
}

// What becomes of a report is told to other routes: its answer to the first, and to the second that the last attempt failed.
const report = () => ({
  retries: 2,
  callback: routeUrl("/api/jobs/report/done"),
  failureCallback: routeUrl("/api/jobs/report/failed"),
});

/** Makes a report now, besides those of every week. */
export async function makeReport() {
  await qstash().publishJSON({ url: routeUrl("/api/jobs/report"), body: {}, label: "report", ...report() });
}

/** What the server has to know before messages are sent. Ids and names are fixed, so saying it again changes nothing. */
export async function setUp() {
  await qstash().schedules.create({
    scheduleId: "paperboat-weekly-report",
    destination: routeUrl("/api/jobs/report"),
    cron: "CRON_TZ=Europe/Lisbon 0 8 * * 1",
    body: "{}",
    headers: { "content-type": "application/json" },
    ...report(),
  });
  await qstash().urlGroups.addEndpoints({
    name: "user-created",
    endpoints: [
      { name: "welcome-gift", url: routeUrl("/api/jobs/welcome-gift") },
      { name: "newsletter", url: routeUrl("/api/jobs/newsletter") },
    ],
  });
}
