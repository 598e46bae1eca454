// Contacts from a CSV file: checked by one task, stored by several, and, when there are many, only after somebody has said yes.
import { logger, metadata, task, wait } from "@trigger.dev/sdk";
import { parseCsv, type Contact } from "../lib/csv";
import { app } from "./app";

/** From so many contacts on, somebody is asked first. */
const many = 6;
const perBatch = 4;

export const importContacts = task({
  id: "import-contacts",
  run: async (payload: { importId: string; csv: string }) => {
    metadata.set("step", "checking");
    const checked = await checkContacts.triggerAndWait({ csv: payload.csv });
    if (!checked.ok) throw new Error("The file is no list of contacts.", { cause: checked.error });
    const { contacts, skipped } = checked.output;
    metadata.set("rows", contacts.length).set("skipped", skipped).set("done", 0);
    logger.info(`${contacts.length} contacts to import`, { skipped });

    if (contacts.length >= many) {
      const token = await wait.createToken({ timeout: "1d", tags: [payload.importId] });
      metadata.set("step", "waiting for approval").set("approval", token.id);
      const answer = await wait.forToken<{ by: string }>(token);
      metadata.del("approval");
      if (!answer.ok) return { imported: 0, skipped, reason: "nobody approved it" };
      metadata.set("approvedBy", answer.output.by);
    }

    metadata.set("step", "importing");
    const batches = [];
    for (let i = 0; i < contacts.length; i += perBatch) batches.push(contacts.slice(i, i + perBatch));
    const { runs } = await storeContacts.batchTriggerAndWait(batches.map((part) => ({ payload: { importId: payload.importId, contacts: part } })));
    const imported = runs.reduce((sum, r) => sum + (r.ok ? r.output.stored : 0), 0);
    metadata.set("step", "done").set("done", imported);
    return { imported, skipped };
  },
});

/** Reads the file and leaves out what is no contact. A file without the right columns is not tried again. */
export const checkContacts = task({
  id: "check-contacts",
  retry: { maxAttempts: 1 },
  run: async ({ csv }: { csv: string }) => parseCsv(csv),
});

export const storeContacts = task({
  id: "store-contacts",
  queue: { concurrencyLimit: 2 }, // the app's database is not to be overrun
  run: async ({ importId, contacts }: { importId: string; contacts: Contact[] }) => {
    await app("PUT", `/api/imports/${importId}`, contacts);
    metadata.parent.increment("done", contacts.length);
    logger.info(`Stored ${contacts.map((c) => c.email).join(", ")}`);
    return { stored: contacts.length };
  },
});
