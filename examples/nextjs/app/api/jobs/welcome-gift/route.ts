import { db, newId } from "@/lib/db";
import { handler } from "@/lib/qstash/handler";

export const POST = handler(async ({ userId }: { userId: string }) => {
  const id = newId("gift");
  db.gifts.set(id, { userId, text: "A boat, ten folds, no glue." });
  return { gift: id };
});
