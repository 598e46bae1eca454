import { notFound } from "next/navigation";
import { connection } from "next/server";
import { approve, deleteAccount, upgrade, writeNote } from "@/app/actions";
import { KeepFresh } from "@/app/keep-fresh";
import { admins, db } from "@/lib/db";

export default async function UserPage({ params }: { params: Promise<{ id: string }> }) {
  await connection();
  const user = db.users.get((await params).id);
  if (!user) notFound();
  const workspace = [...db.workspaces.values()].find((w) => w.ownerId === user.id);
  const notes = [...db.notes.values()].filter((n) => n.userId === user.id).length;
  const gifts = [...db.gifts.values()].filter((g) => g.userId === user.id);
  const refunds = [...db.refunds].filter(([, r]) => r.email === user.email);
  const known = [user.email, ...admins.map((a) => a.email)];
  const mails = db.outbox.filter((m) => known.includes(m.to));
  return (
    <>
      <KeepFresh />
      <h1>{user.name}</h1>
      <dl>
        <dt>Workspace</dt>
        <dd>{workspace?.name ?? "being made…"}</dd>
        <dt>Plan</dt>
        <dd>{user.plan}</dd>
        <dt>Notes</dt>
        <dd>{notes}</dd>
        {gifts.map((gift, i) => (
          <div key={i} style={{ display: "contents" }}>
            <dt>Welcome gift</dt>
            <dd>{gift.text}</dd>
          </div>
        ))}
      </dl>

      {user.deleted ? (
        <p role="status">This account is deleted, and what was still planned for it is cancelled.</p>
      ) : (
        <form className="actions">
          <input type="hidden" name="user" value={user.id} />
          <button formAction={writeNote}>Write a note</button>
          <button formAction={upgrade} disabled={user.plan === "team"}>
            Upgrade
          </button>
          <button formAction={deleteAccount} className="plain">
            Delete account
          </button>
        </form>
      )}

      {refunds.length > 0 && (
        <section>
          <h2>Refunds</h2>
          <ul className="rows">
            {refunds.map(([payment, refund]) => (
              <li key={payment}>
                <span>
                  {payment}: {refund.state}
                </span>
                {refund.state === "asked for" && (
                  <form action={approve}>
                    <input type="hidden" name="payment" value={payment} />
                    <input type="hidden" name="by" value={admins[0]!.email} />
                    <button>Approve</button>
                  </form>
                )}
              </li>
            ))}
          </ul>
        </section>
      )}

      <section>
        <h2>Mail</h2>
        <ul className="rows">
          {mails.map((mail, i) => (
            <li key={i}>
              <span>{mail.subject}</span>
              <span>{mail.to}</span>
            </li>
          ))}
        </ul>
        {mails.length === 0 && <p>Nothing yet.</p>}
      </section>
    </>
  );
}
