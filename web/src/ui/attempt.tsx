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

function Answer({ a }: { a: Attempt }) {
  const [open, setOpen] = useState(false);
  if (!a.httpStatus) return <p class="hint">There was no HTTP answer.</p>;
  const headers = Object.entries((a.httpHeaders ?? {}) as Record<string, unknown>);
  return (
    <details class="answer" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>The app answered HTTP <strong>{a.httpStatus}</strong> {httpReason[a.httpStatus] ?? ""}</summary>
      {open && headers.length > 0 && (
        <table class="headers" aria-label="Headers">
          <tbody>{headers.map(([k, v]) => <tr key={k}><th scope="row">{k}</th><td>{typeof v === "string" ? v : format(v, 0)}</td></tr>)}</tbody>
        </table>
      )}
      {!open ? null : a.httpBody ? <Body text={a.httpBody} /> : <p class="hint">The body was empty.</p>}
    </details>
  );
}

const longBody = 20_000; // characters shown before one asks for more

function Body({ text }: { text: string }) {
  const [shown, setShown] = useState(longBody);
  if (!problem(text)) return <JsonView value={parse(text)} label="body of the answer" />;
  return (
    <>
      <pre class="body" tabIndex={0}>{text.slice(0, shown)}</pre>
      {text.length > shown && <button type="button" class="small" onClick={() => setShown(shown + 10 * longBody)}>{text.length - shown} more characters</button>}
      <Copy text={text} what="body" label="Copy body" />
    </>
  );
}
