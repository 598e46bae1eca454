import { db, newId } from "@/lib/db";
import { sendMail } from "@/lib/mail";
import { days } from "@/lib/time";
import { eventNamed, inngest } from "../client";

/** What happens to somebody who signed up, over a day. Each step is done once, whatever is restarted meanwhile. */
export const onboarding = inngest.createFunction(
  {
    id: "onboarding",
    triggers: [eventNamed("user/created")],
    retries: 3,
    throttle: { limit: 60, period: "1m", burst: 20 }, // a mail provider's patience; more sign-ups wait their turn
    cancelOn: [{ event: "user/deleted", match: "data.userId" }],
  },
  async ({ event, step }) => {
    const { userId, email, name } = event.data;

    const workspace = await step.run("create-workspace", () => {
      const created = { id: newId("ws"), ownerId: userId, name: `${name}’s notes` };
      db.workspaces.set(created.id, created);
      return created;
    });

    await step.run("send-welcome-mail", () => sendMail(email, `Welcome aboard, ${name}`));
    await step.sendEvent("tell-the-crm", eventNamed("contact/changed").create({ userId }));

    // Nothing runs meanwhile: the server calls again when the time has come.
    await step.sleep("leave-them-a-day", days(1));

    const engaged = await step.run("check-engagement", () => [...db.notes.values()].some((note) => note.userId === userId));
    if (!engaged) await step.run("send-nudge-mail", () => sendMail(email, "Your first note is one click away"));

    return { workspace: workspace.id, engaged };
  },
);
