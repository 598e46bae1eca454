// Talks to an outside API that refuses those who ask too often. app/api/crm plays its part here.
import type { User } from "./db";

/** The API has had enough for now. */
export class TooManyRequests extends Error {
  constructor(readonly retryAfter: number) {
    super(`the CRM takes no more requests for ${retryAfter} s`);
  }
}

export async function pushContact(user: User) {
  const base = process.env.CRM_URL ?? `http://127.0.0.1:${process.env.PORT ?? 3000}/api/crm`;
  const res = await fetch(`${base}/contacts`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ id: user.id, name: user.name, email: user.email, plan: user.plan }),
  });
  if (res.status === 429) throw new TooManyRequests(Number(res.headers.get("retry-after") ?? 1));
  if (!res.ok) throw new Error(`the CRM answered ${res.status}`);
  return (await res.json()) as { contact: string };
}
