import { Inngest, eventType, staticSchema } from "inngest";
import type { Events } from "../events";

/** INNGEST_DEV or INNGEST_BASE_URL say where the server is; `quartet env` prints them. */
export const inngest = new Inngest({ id: "paperboat" });

/** An event of lib/events.ts: a trigger as it is, something to send with .create(data). A misspelt name does not compile. */
export const eventNamed = <Name extends keyof Events>(name: Name) => eventType(name, { schema: staticSchema<Events[Name]>() });
