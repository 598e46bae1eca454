import { NonRetriableError, RetryAfterError } from "inngest";
import { TooManyRequests, pushContact } from "@/lib/crm";
import { db } from "@/lib/db";
import { eventNamed, inngest } from "../client";

/** Copies a contact to an outside API with limits: ten requests at once, fifty runs a minute, and when told to wait, waits. */
export const syncContact = inngest.createFunction(
  {
    id: "sync-contact",
    triggers: [eventNamed("contact/changed")],
    concurrency: { limit: 10 },
    throttle: { limit: 50, period: "1m", burst: 50 },
    retries: 5,
  },
  async ({ event, step }) => {
    // Reads the user here instead of taking it from the event: what waited in line copies what is true when its turn comes.
    return step.run("push-contact", async () => {
      const user = db.users.get(event.data.userId);
      if (!user) throw new NonRetriableError(`there is no user ${event.data.userId}`);
      try {
        return await pushContact(user);
      } catch (err) {
        if (err instanceof TooManyRequests) throw new RetryAfterError(err.message, err.retryAfter * 1000, { cause: err });
        throw err;
      }
    });
  },
);
