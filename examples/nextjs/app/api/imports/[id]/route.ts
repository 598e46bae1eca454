import type { Contact } from "@/lib/csv";
import { db } from "@/lib/db";
import { isFromTasks } from "@/lib/imports";

/** Stores contacts of an import. The same contact twice is one: a task that was interrupted sends it again. */
export async function PUT(request: Request, { params }: { params: Promise<{ id: string }> }) {
  if (!isFromTasks(request)) return Response.json({ error: "only tasks may" }, { status: 401 });
  const found = db.imports.get((await params).id);
  if (!found) return Response.json({ error: "there is no such import" }, { status: 404 });
  for (const c of (await request.json()) as Contact[]) {
    if (!found.contacts.some((o) => o.email === c.email)) found.contacts.push(c);
  }
  return Response.json({ stored: found.contacts.length });
}
