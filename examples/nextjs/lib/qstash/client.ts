import { Client } from "@upstash/qstash";

let client: Client | undefined;

/**
 * The client; QSTASH_URL and QSTASH_TOKEN say where the server is, and `quartet env` prints them. It is made when it is first
 * needed, because a build has no such variables.
 */
export function qstash() {
  if (!isConfigured()) throw new Error("QSTASH_URL and QSTASH_TOKEN are not set; `quartet env` prints them");
  return (client ??= new Client());
}

/** Whether messages can be sent at all. */
export const isConfigured = () => Boolean(process.env.QSTASH_URL && process.env.QSTASH_TOKEN);

/** Where the server reaches a route of this app. */
export const routeUrl = (path: string) => `${process.env.APP_URL ?? `http://127.0.0.1:${process.env.PORT ?? 3000}`}${path}`;
