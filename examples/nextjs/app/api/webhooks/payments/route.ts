import { isFromProvider } from "@/lib/payments";
import { afterPayment, type Payment } from "@/lib/qstash/messages";
import { startRefund } from "@/lib/workflows/refund";

/** The provider waits for an answer and gives up soon, so this only takes note; the work is done by messages. */
export async function POST(request: Request) {
  const body = await request.text();
  if (!isFromProvider(body, request.headers.get("payments-signature"))) {
    return Response.json({ error: "the signature does not fit" }, { status: 401 });
  }
  const event = JSON.parse(body) as { type: string; payment: Payment };
  switch (event.type) {
    case "payment.succeeded":
      return Response.json({ messages: await afterPayment(event.payment) });
    case "refund.requested":
      return Response.json({ workflowRunId: await startRefund(event.payment) });
    default:
      return Response.json({ ignored: event.type });
  }
}
