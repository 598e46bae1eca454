import { sendMail } from "@/lib/mail";
import { handler } from "@/lib/qstash/handler";
import type { Payment } from "@/lib/qstash/messages";

export const POST = handler(({ email }: Payment) => sendMail(email, "How do you like the team plan so far?"));
