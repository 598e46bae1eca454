import Link from "next/link";
import { connection } from "next/server";
import { db } from "@/lib/db";
import { isConfigured } from "@/lib/qstash/client";
import { report, signUp, syncEverybody } from "./actions";

export default async function Home({ searchParams }: { searchParams: Promise<{ incomplete?: string }> }) {
  await connection(); // the people below are those of now, not of the build
  const { incomplete } = await searchParams;
  const users = [...db.users.values()].reverse();
  return (
    <>
      <h1>Notes that float</h1>
      <form action={signUp} className="card">
        <label>
          Name
          <input name="name" autoComplete="name" required maxLength={80} />
        </label>
        <label>
          Email
          <input name="email" type="email" autoComplete="email" required maxLength={120} />
        </label>
        {incomplete && <p role="alert">A name and an email address, please.</p>}
        <button>Sign up</button>
      </form>

      {users.length > 0 && (
        <section>
          <h2>On board</h2>
          <ul className="rows">
            {users.map((user) => (
              <li key={user.id}>
                <Link href={`/users/${user.id}`}>{user.name}</Link>
                <span>{user.deleted ? "deleted" : user.plan}</span>
              </li>
            ))}
          </ul>
          <form className="actions">
            <button formAction={syncEverybody} className="plain">
              Send everybody to the CRM again
            </button>
            {isConfigured() && (
              <button formAction={report} className="plain">
                Mail the admins a report
              </button>
            )}
          </form>
        </section>
      )}
    </>
  );
}
