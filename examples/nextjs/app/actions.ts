"use server";

import { refresh } from "next/cache";
import { redirect } from "next/navigation";
import { admins, db, newId } from "@/lib/db";
import { eventNamed, inngest } from "@/lib/inngest/client";
import { isConfigured } from "@/lib/qstash/client";
import { makeReport, userCreated } from "@/lib/qstash/messages";
import { forget, greet, hasQueues } from "@/lib/queues/email";
import { approveImport, startImport } from "@/lib/imports";
import { days } from "@/lib/time";
import { approveRefund } from "@/lib/workflows/refund";

const field = (form: FormData, name: string) => String(form.get(name) ?? "").trim();

export async function signUp(form: FormData) {
  const [name, email] = [field(form, "name"), field(form, "email")];
  if (!name || !email.includes("@")) redirect("/?incomplete=1");
  const user = { id: newId("user"), name, email, plan: "free" as const, deleted: false };
  db.users.set(user.id, user);
  const session = { id: newId("session"), expiresAt: Date.now() + days(7) };
  db.sessions.set(session.id, session);
  // The id makes the event count once, even if a proxy or an impatient finger repeats this request.
  await inngest.send(eventNamed("user/created").create({ userId: user.id, email, name }, { id: `created-${user.id}` }));
  if (isConfigured()) await userCreated(user);
  if (hasQueues()) await greet(user);
  redirect(`/users/${user.id}`);
}

export async function writeNote(form: FormData) {
  db.notes.set(newId("note"), { userId: field(form, "user"), text: "Buy more paper." });
  refresh();
}

export async function upgrade(form: FormData) {
  const user = db.users.get(field(form, "user"));
  if (!user) return;
  user.plan = "team";
  await inngest.send([
    eventNamed("plan/changed").create({ userId: user.id, plan: user.plan }),
    eventNamed("contact/changed").create({ userId: user.id }),
  ]);
  refresh();
}

export async function deleteAccount(form: FormData) {
  const user = db.users.get(field(form, "user"));
  if (!user) return;
  user.deleted = true;
  await inngest.send(eventNamed("user/deleted").create({ userId: user.id }));
  if (hasQueues()) await forget(user);
  refresh();
}

export async function syncEverybody() {
  const users = [...db.users.values()].filter((user) => !user.deleted);
  if (users.length) await inngest.send(users.map((user) => eventNamed("contact/changed").create({ userId: user.id })));
  refresh();
}

export async function report() {
  await makeReport();
  refresh();
}

export async function approve(form: FormData) {
  await approveRefund(field(form, "payment"), field(form, "by"));
  refresh();
}

export async function importCsv(form: FormData) {
  const { runId } = await startImport(field(form, "csv"));
  redirect(`/imports/${runId}`);
}

export async function approveContacts(form: FormData) {
  await approveImport(field(form, "token"), admins[0]!.email);
  refresh();
}
