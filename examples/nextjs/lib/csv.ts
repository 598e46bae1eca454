export type Contact = { email: string; name: string };

/** Reads lines of the columns email and name. Lines without an address are skipped. */
export function parseCsv(text: string): { contacts: Contact[]; skipped: number } {
  const [head, ...lines] = text.trim().split(/\r?\n/);
  const columns = (head ?? "").split(",").map((c) => c.trim().toLowerCase());
  const [email, name] = [columns.indexOf("email"), columns.indexOf("name")];
  if (email < 0 || name < 0) throw new Error("The first line must name the columns email and name.");
  const contacts: Contact[] = [];
  for (const line of lines) {
    const cells = line.split(",").map((c) => c.trim());
    if (cells[email]?.includes("@")) contacts.push({ email: cells[email], name: cells[name] ?? "" });
  }
  return { contacts, skipped: lines.length - contacts.length };
}
