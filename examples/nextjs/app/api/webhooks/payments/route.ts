import { isFromProvider } from "@/lib/payments";
import { afterPayment, type Payment } from "@/lib/qstash/messages";

/** The provider waits for an answer and gives up soon, so this only takes note; the work is done by messages. */
export async function POST(request: Request) {
  const body = await request.text();
  if (!isFromProvider(body, request.headers.get("payments-signature"))) {
    return Response.json({ error: "the signature does not fit" }, { status: 401 });
  }
  const event = JSON.parse(body) as { type: string; payment: Payment };
  if (event.type !== "payment.succeeded") return Response.json({ ignored: event.type });
  return Response.json({ messages: await afterPayment(event.payment) });
}
