import { db } from "@/lib/db";
import { handler } from "@/lib/qstash/handler";

export const POST = handler(async ({ email }: { email: string }) => {
  db.newsletter.add(email);
  return { readers: db.newsletter.size };
});
