// One failed attempt: the error, and what the app answered over HTTP.
import { useState } from "preact/hooks";
import { clockTime, duration, now } from "../lib/time";
import { format, problem, parse } from "../lib/json";
import type { Attempt } from "../lib/types";
import { httpReason } from "../lib/words";
import { JsonView } from "./json";
import { Ago, Copy, Countdown, ErrorView } from "./parts";

export function AttemptView({ attempt: a, title, withoutError }: { attempt: Attempt; title: string; withoutError?: boolean }) {
  return (
    <div class="attempt">
      <p class="attempt-head">
        <strong>{title}</strong>
        <span class="muted" title={new Date(a.startedAt).toISOString()}>{clockTime(a.startedAt)}, {duration(a.endedAt - a.startedAt)}, <Ago at={a.endedAt} /></span>
        {a.final ? <span class="status bad">not tried again</span> : a.retryAt && a.retryAt > a.endedAt ? <Retry at={a.retryAt} ended={a.endedAt} /> : null}
      </p>
      {!withoutError && <ErrorView value={a.error} />}
      <Answer a={a} />
    </div>
  );
}

function Retry({ at, ended }: { at: number; ended: number }) {
  return <span class="muted">{at > now.value ? <>next attempt in <Countdown until={at} /></> : `tried again after ${duration(at - ended)}`}</span>;
}

/** An HTTP answer, folded. */
export function Answer({ a, who = "The app" }: { a: Pick<Attempt, "httpStatus" | "httpHeaders" | "httpBody">; who?: string }) {
  const [open, setOpen] = useState(false);
  if (!a.httpStatus) return <p class="hint">There was no HTTP answer.</p>;
  return (
    <details class="answer" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{who} answered HTTP <strong>{a.httpStatus}</strong> {httpReason[a.httpStatus] ?? ""}</summary>
      {open && <Headers of={a.httpHeaders} />}
      {!open ? null : a.httpBody ? <Body text={a.httpBody} label="body of the answer" /> : <p class="hint">The body was empty.</p>}
    </details>
  );
}

/** A header's values may be a text or a list of texts. */
export function Headers({ of }: { of: unknown }) {
  const all = Object.entries((of ?? {}) as Record<string, unknown>);
  if (all.length === 0) return null;
  const text = (v: unknown) => (typeof v === "string" ? v : Array.isArray(v) && v.every((x) => typeof x === "string") ? v.join(", ") : format(v, 0));
  return (
    <table class="headers" aria-label="Headers">
      <tbody>{all.map(([k, v]) => <tr key={k}><th scope="row">{k}</th><td>{text(v)}</td></tr>)}</tbody>
    </table>
  );
}

const longBody = 20_000; // characters shown before one asks for more

export function Body({ text, label }: { text: string; label: string }) {
  const [shown, setShown] = useState(longBody);
  if (!problem(text)) return <JsonView value={parse(text)} label={label} />;
  return (
    <>
      <pre class="body" tabIndex={0}>{text.slice(0, shown)}</pre>
      {text.length > shown && <button type="button" class="small" onClick={() => setShown(shown + 10 * longBody)}>{text.length - shown} more characters</button>}
      <Copy text={text} what="body" label="Copy body" />
    </>
  );
}
