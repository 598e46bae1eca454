import { sendMail } from "@/lib/mail";
import { handler } from "@/lib/qstash/handler";
import type { Payment } from "@/lib/qstash/messages";

export const POST = handler(({ id, email, amount }: Payment) => sendMail(email, `Your receipt ${id} for ${(amount / 100).toFixed(2)} €`));
