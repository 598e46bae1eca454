/** Asks the app, whose database the tasks cannot see: they are processes of their own. */
export async function app<T>(method: string, path: string, body?: unknown): Promise<T> {
  const url = process.env.APP_URL ?? "http://localhost:3000";
  const r = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${process.env.IMPORT_SECRET ?? ""}`, "content-type": "application/json" },
    body: body === undefined ? null : JSON.stringify(body),
  });
  if (!r.ok) throw new Error(`The app answered ${r.status}: ${await r.text()}`);
  return (await r.json()) as T;
}
