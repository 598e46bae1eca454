import { db } from "@/lib/db";
import { hasTasks, isFromTasks, startImport } from "@/lib/imports";

const mostBytes = 1 << 20;

/** Takes a CSV file and answers at once: 202, and the run that does the work. */
export async function POST(request: Request) {
  if (!hasTasks()) return Response.json({ error: "no server for tasks is configured" }, { status: 503 });
  const csv = await request.text();
  if (csv.length > mostBytes) return Response.json({ error: "the file is larger than 1 MiB" }, { status: 413 });
  const started = await startImport(csv);
  return Response.json(started, { status: 202, headers: { location: `/imports/${started.runId}` } });
}

/** The nightly task's: forgets imports from before a date. */
export async function DELETE(request: Request) {
  if (!isFromTasks(request)) return Response.json({ error: "only tasks may" }, { status: 401 });
  const before = Date.parse(new URL(request.url).searchParams.get("before") ?? "");
  let forgotten = 0;
  for (const [id, i] of db.imports) if (i.startedAt < before && db.imports.delete(id)) forgotten++;
  return Response.json({ forgotten });
}
