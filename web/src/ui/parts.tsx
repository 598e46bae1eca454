// Small parts that every page uses.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { errorParts, format, stackFrames } from "../lib/json";
import { connection, paused, refreshAll, type Live } from "../lib/live";
import { navigate, withQuery } from "../lib/router";
import { absolute, countdown, now, relative } from "../lib/time";
import type { RunStatus, StepState } from "../lib/types";
import type { Words } from "../lib/words";
import { Icon, type IconName } from "./icons";
import { JsonView } from "./json";

const tones: Record<RunStatus | StepState, string> = {
  queued: "quiet", planned: "quiet", skipped: "quiet", cancelled: "quiet", input: "quiet",
  running: "busy", invoking: "busy", sleeping: "busy", waiting: "busy",
  completed: "good", done: "good", failed: "bad", retrying: "warn",
};
const icons: Partial<Record<RunStatus | StepState, IconName>> = { done: "completed" };

/** A state as an icon, a colour and a word. */
export function Status({ is, short }: { is: RunStatus | StepState; short?: boolean }) {
  return (
    <span class={`status ${tones[is]}${short ? " short" : ""}`} title={short ? is : undefined}>
      <Icon name={icons[is] ?? (is as IconName)} />
      <span class={short ? "unseen" : undefined}>{is}</span>
    </span>
  );
}

export function Badge({ tone = "quiet", children }: { tone?: string; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A relative time; the exact one is its title. */
export function Ago({ at }: { at: number | undefined }) {
  if (!at) return <span class="muted">–</span>;
  return (
    <time dateTime={new Date(at).toISOString()} title={`${absolute(at)}\n${new Date(at).toISOString()}`}>
      {relative(at, now.value)}
    </time>
  );
}

export function At({ at }: { at: number | undefined }) {
  if (!at) return <span class="muted">–</span>;
  return (
    <time dateTime={new Date(at).toISOString()} title={new Date(at).toISOString()}>
      {absolute(at)} <span class="muted">({relative(at, now.value)})</span>
    </time>
  );
}

/** What is left until a time, counting down. */
export function Countdown({ until }: { until: number }) {
  return (
    <time class="countdown" role="timer" dateTime={new Date(until).toISOString()} title={`${absolute(until)}\n${new Date(until).toISOString()}`}>
      {countdown(until, now.value)}
    </time>
  );
}

export function Sentence({ words }: { words: Words }) {
  return <>{words.map((w, i) => (typeof w === "string" ? w : <code key={i}>{w.code}</code>))}</>;
}

/** Puts text on the clipboard, also where the page was not loaded over TLS. */
async function toClipboard(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function Copy({ text, what, label }: { text: string | (() => string); what: string; label?: string }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const t = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(t);
  }, [done]);
  const copy = async (e: Event) => {
    e.stopPropagation();
    try {
      await toClipboard(typeof text === "string" ? text : text());
      setDone(true);
    } catch {
      toast("The browser does not allow copying here.", { tone: "bad" });
    }
  };
  return (
    <button type="button" class={label ? "small" : "icon-button"} onClick={(e) => void copy(e)} aria-label={label ? undefined : `Copy ${what}`} title={`Copy ${what}`}>
      <Icon name={done ? "completed" : "copy"} />
      {label && (done ? "Copied" : label)}
    </button>
  );
}

/** An identifier; short shows its end, which is what differs between ids of the same minute. */
export function Id({ id, what, short, to }: { id: string; what: string; short?: boolean; to?: string }) {
  const text = short ? `…${id.slice(-8)}` : id;
  return (
    <span class="id">
      {to ? <a href={to} title={id}>{text}</a> : <span title={short ? id : undefined}>{text}</span>}
      <Copy text={id} what={what} />
    </span>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

export function Problem({ text, retry }: { text: string; retry?: () => void }) {
  return (
    <div class="notice bad" role="alert">
      <Icon name="warning" />
      <span>{text}</span>
      {retry && <button type="button" class="small" onClick={retry}>Try again</button>}
    </div>
  );
}

/** A heading with its actions; it takes the focus when the page opens, so that screen readers say where one is. */
export function PageHead({ title, sub, back, children }: { title: ComponentChildren; sub?: ComponentChildren; back?: ComponentChildren; children?: ComponentChildren }) {
  const ref = useRef<HTMLHeadingElement>(null);
  useEffect(() => ref.current?.focus({ preventScroll: true }), []);
  return (
    <header class="page-head">
      <div class="page-title">
        {back && <p class="back">{back}</p>}
        <h1 tabIndex={-1} ref={ref}>{title}</h1>
        {sub && <div class="sub">{sub}</div>}
      </div>
      <div class="actions">{children}</div>
    </header>
  );
}

export function setPaused(v: boolean): void {
  paused.value = v;
  if (!v) refreshAll();
}

/** Says whether the page follows what happens, and lets it stop. */
export function LiveButton({ stale }: { stale?: boolean }) {
  const p = paused.value;
  const state = p ? "paused" : connection.value;
  const words = { paused: stale ? "Paused, there is news" : "Paused", open: "Live", connecting: "Connecting", lost: "Reconnecting" }[state];
  return (
    <button type="button" class={`live ${state}`} aria-pressed={p} onClick={() => setPaused(!p)} title={p ? "Follow changes again (P)" : "Stop following changes (P)"}>
      <span class="dot" aria-hidden="true" />
      <span aria-live="polite">{words}</span>
      <span class="live-action">{p ? "Resume" : "Pause"}</span>
    </button>
  );
}

export interface Column<T> {
  head: string;
  cell: (row: T) => ComponentChildren;
  wide?: boolean; // hidden where there is little room
  class?: string;
}

/** A list that the server pages. Rows are links: J and K move between them, Enter opens. */
export function List<T>({ label, live, rows, next, columns, to, keyOf, empty, cursor = "before" }: {
  label: string;
  live: Live<unknown>;
  rows: T[] | undefined;
  next: string | undefined;
  columns: Column<T>[];
  to: (row: T) => string;
  keyOf: (row: T) => string;
  empty: ComponentChildren;
  cursor?: string;
}) {
  const first = !new URLSearchParams(location.search).get(cursor);
  return (
    <section aria-label={label} aria-busy={live.loading}>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {rows?.length === 0 && (next ? <Empty title="Nothing among these: there is more further back." /> : first ? empty : <Empty title="Nothing further back." />)}
      {rows && rows.length > 0 && (
        <table class="list">
          <thead>
            <tr>{columns.map((c) => <th scope="col" key={c.head} class={`${c.wide ? "wide " : ""}${c.class ?? ""}`}>{c.head}</th>)}</tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={keyOf(row)} onClick={(e) => openRow(e, to(row))}>
                {columns.map((c) => <td key={c.head} class={`${c.wide ? "wide " : ""}${c.class ?? ""}`}>{c.cell(row)}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Pager first={first} next={next} cursor={cursor} />
    </section>
  );
}

function openRow(e: MouseEvent, to: string): void {
  if (e.target instanceof Element && e.target.closest("a, button, time, input, select")) return;
  if (getSelection()?.toString()) return;
  if (e.metaKey || e.ctrlKey) open(to, "_blank");
  else navigate(to);
}

function Pager({ first, next, cursor }: { first: boolean; next: string | undefined; cursor: string }) {
  if (first && !next) return null;
  return (
    <nav class="pager" aria-label="Pages">
      {first ? <span class="muted">First page</span> : <a class="button" href={withQuery({ [cursor]: undefined })}>First page</a>}
      {next ? <a class="button" href={withQuery({ [cursor]: next })} rel="next">Next page</a> : <span class="muted">Last page</span>}
    </nav>
  );
}

export function Skeleton() {
  return (
    <div class="skeleton" role="status">
      <span class="unseen">Loading</span>
      <div /><div /><div />
    </div>
  );
}

/** Links that filter, of which one is current. */
export function Choice({ label, name, value, options }: { label: string; name: string; value: string; options: { value: string; text: ComponentChildren }[] }) {
  return (
    <nav class="choice" aria-label={label}>
      {options.map((o) => (
        <a key={o.value} href={withQuery({ [name]: o.value || undefined, before: undefined })} aria-current={o.value === value ? "true" : undefined}>{o.text}</a>
      ))}
    </nav>
  );
}

/** A filter that one types or picks. It takes effect on Enter, on leaving it and on picking. */
export function TextFilter({ label, name, value, options }: { label: string; name: string; value: string; options: string[] }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const apply = (v: string) => {
    if (v.trim() !== value) navigate(withQuery({ [name]: v.trim() || undefined, before: undefined }));
  };
  const id = `filter-${name}`;
  return (
    <div class="filter">
      <label for={id} class="unseen">{label}</label>
      <Icon name="search" />
      <input
        id={id} type="search" list={`${id}-list`} placeholder={label} value={text} data-filter autocomplete="off" spellcheck={false}
        onInput={(e) => {
          const v = e.currentTarget.value;
          setText(v);
          if (v === "" || options.includes(v)) apply(v);
        }}
        onKeyDown={(e) => e.key === "Enter" && apply(text)} onBlur={() => apply(text)}
      />
      <datalist id={`${id}-list`}>{options.map((o) => <option key={o} value={o} />)}</datalist>
    </div>
  );
}

/** An error as its message, its stack, its cause and what else it carries. */
export function ErrorView({ value, open = false, cause = false }: { value: unknown; open?: boolean; cause?: boolean }) {
  const e = errorParts(value);
  if (!e) return <JsonView value={value} label="error" />;
  const frames = stackFrames(e);
  return (
    <div class="error">
      <p class="error-message"><strong>{e.name || "Error"}</strong>{e.message && <>: <span>{e.message}</span></>}</p>
      {frames && (
        <details open={open}>
          <summary>Stack</summary>
          <pre tabIndex={0}>{frames}</pre>
        </details>
      )}
      {e.cause !== undefined && e.cause !== null && (
        <div class="cause">
          <p class="label">Caused by</p>
          <ErrorView value={e.cause} cause />
        </div>
      )}
      {Object.keys(e.rest).length > 0 && <JsonView value={e.rest} label="more of the error" />}
      {!cause && <div><Copy text={() => format(value)} what="error" label="Copy error" /></div>}
    </div>
  );
}

interface Toast {
  id: number;
  text: string;
  tone: string;
  link: { href: string; text: string } | undefined;
}
export const toasts = signal<Toast[]>([]);
let toastId = 0;

export function toast(text: string, { tone = "good", link }: { tone?: string; link?: { href: string; text: string } } = {}): void {
  const id = ++toastId;
  toasts.value = [...toasts.value.slice(-2), { id, text, tone, link }];
  setTimeout(() => (toasts.value = toasts.value.filter((t) => t.id !== id)), 7000);
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((t) => (
        <div key={t.id} class={`toast ${t.tone}`}>
          <span>{t.text}</span>
          {t.link && <a href={t.link.href}>{t.link.text}</a>}
          <button type="button" class="icon-button" aria-label="Dismiss" onClick={() => (toasts.value = toasts.value.filter((o) => o.id !== t.id))}><Icon name="failed" /></button>
        </div>
      ))}
    </div>
  );
}
