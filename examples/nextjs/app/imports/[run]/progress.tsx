"use client";

import { useRealtimeRun } from "@trigger.dev/react-hooks";
import type { importContacts } from "@/trigger/import-contacts";

type Seen = { step?: string; rows?: number; done?: number; skipped?: number; approval?: string; approvedBy?: string };

export function Progress({ run: id, token, url, approve }: { run: string; token: string; url: string; approve: (form: FormData) => Promise<void> }) {
  const { run, error } = useRealtimeRun<typeof importContacts>(id, { accessToken: token, baseURL: url });
  if (error) return <p role="alert">{error.message}</p>;
  if (!run) return <p role="status">One moment…</p>;
  const m = (run.metadata ?? {}) as Seen;
  return (
    <div className="card" role="status">
      <p>
        {run.isFailed ? `It failed: ${run.error?.message}` : run.output ? `${run.output.imported} contacts imported, ${run.output.skipped} skipped.` : `${m.step ?? "waiting"}…`}
      </p>
      {m.rows !== undefined && (
        <progress max={m.rows} value={m.done ?? 0}>
          {m.done ?? 0} of {m.rows}
        </progress>
      )}
      {m.approval && (
        <form action={approve}>
          <input type="hidden" name="token" value={m.approval} />
          <p>These are {m.rows} contacts. May they be imported?</p>
          <button>Approve</button>
        </form>
      )}
      {m.approvedBy && <p>Approved by {m.approvedBy}.</p>}
    </div>
  );
}
