import { db } from "@/lib/db";

// Plays the mail provider, so that nobody outside is needed. Like a real one it repeats no mail that it has an id for, does not know every
// address, and is out of order now and then: here the first time that it hears of a mail to confirm an address.

export async function POST(request: Request) {
  const mail = (await request.json()) as { job: string; to: string; subject: string };
  if (!mail.to?.includes("@") || mail.to.endsWith("@nowhere.example")) return Response.json({ error: "there is no such address" }, { status: 422 });
  if (db.provider.sent.has(mail.job)) return Response.json({ id: mail.job });
  if (mail.job.startsWith("verify-") && !db.provider.refused.has(mail.job)) {
    db.provider.refused.add(mail.job);
    return Response.json({ error: "try again in a moment" }, { status: 503 });
  }
  db.provider.sent.add(mail.job);
  db.outbox.push({ to: mail.to, subject: mail.subject, sentAt: Date.now() });
  return Response.json({ id: mail.job });
}
