import { SignatureError } from "@upstash/qstash";
import { verifySignatureAppRouter } from "@upstash/qstash/nextjs";
import { db } from "@/lib/db";

/**
 * A route that only the server can call: whoever else does has no signature. What a handler returns is the answer; what it throws
 * is a failed attempt, and another one follows. The keys are read when a message comes, because a build has none.
 */
export function handler<Body>(handle: (body: Body) => Promise<unknown>) {
  return async (request: Request): Promise<Response> => {
    try {
      return await verifySignatureAppRouter((signed: Request) => once(signed, handle))(request);
    } catch (err) {
      if (err instanceof SignatureError) return Response.json({ error: "the signature does not fit" }, { status: 401 });
      throw err;
    }
  };
}

/**
 * A message may be delivered twice, for instance when an answer is lost on its way. Its id is then the same, and what was done is
 * not done again. A real app keeps the ids in its database, in the transaction that does the work.
 */
async function once<Body>(request: Request, handle: (body: Body) => Promise<unknown>): Promise<Response> {
  const id = request.headers.get("upstash-message-id") ?? "";
  if (db.handled.has(id)) return Response.json(db.handled.get(id) ?? null);
  const result = await handle((await request.json()) as Body);
  db.handled.set(id, result);
  return Response.json(result ?? null);
}
