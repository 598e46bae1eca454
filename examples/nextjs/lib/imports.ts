// Imports of contacts: what the app and its tasks have in common.
import { timingSafeEqual } from "node:crypto";
import { auth, tasks, wait } from "@trigger.dev/sdk";
import type { importContacts } from "@/trigger/import-contacts";
import { db, newId } from "./db";

export const hasTasks = () => !!process.env.TRIGGER_SECRET_KEY;

/** Starts an import and returns at once. The token lets a browser follow this run, and nothing else. */
export async function startImport(csv: string) {
  const id = newId("import");
  db.imports.set(id, { id, startedAt: Date.now(), contacts: [] });
  const run = await tasks.trigger<typeof importContacts>("import-contacts", { importId: id, csv }, { tags: [id], idempotencyKey: id });
  return { importId: id, runId: run.id };
}

/** A token for a page that follows a run. */
export const followToken = (runId: string) => auth.createPublicToken({ scopes: { read: { runs: [runId] } }, expirationTime: "1h" });

export const approveImport = (token: string, by: string) => wait.completeToken(token, { by });

/** Whether a request comes from the tasks. */
export function isFromTasks(request: Request): boolean {
  const secret = process.env.IMPORT_SECRET;
  const got = Buffer.from(request.headers.get("authorization") ?? "");
  const want = Buffer.from(`Bearer ${secret}`);
  return !!secret && got.length === want.length && timingSafeEqual(got, want);
}
