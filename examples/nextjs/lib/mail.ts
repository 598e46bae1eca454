// Stands where your mail provider would: the outbox that the pages show.
import { db } from "./db";

export async function sendMail(to: string, subject: string) {
  db.outbox.push({ to, subject, sentAt: Date.now() });
  console.log(`mail to ${to}: ${subject}`);
  return { to, subject };
}
