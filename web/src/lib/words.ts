// The engine's settings and states in plain words.
import { duration } from "./time";
import type { Attempt, DeadLetter, Flow, QFunction, Rate, Run, Step, Trigger, Waiting } from "./types";

/** One sentence, with the parts that are code apart. */
export type Words = (string | { code: string })[];

const code = (text: string) => ({ code: text });
const per = (key: string): Words => (key ? [" for each value of ", code(key)] : []);
const calls = (n: number, one: string, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

function rate(r: Rate): string {
  return `${calls(r.Limit, "start")} per ${duration(r.Period)}${r.Burst ? `, ${r.Burst} more at once` : ""}`;
}

/** A function's flow control, one line per setting. */
export function flowWords(f: Flow): { label: string; words: Words }[] {
  const out: { label: string; words: Words }[] = [];
  const add = (label: string, ...words: Words) => out.push({ label, words });
  for (const c of f.Concurrency ?? []) {
    if (!c.Limit) continue;
    const scope = c.Scope === "env" ? ", shared with the functions of this environment that use the same key" : c.Scope === "account" ? ", shared with all functions of this server that use the same key" : "";
    add("Concurrency", `At most ${c.PerRun ? calls(c.Limit, "run") : calls(c.Limit, "call")} at a time`, ...per(c.Key), scope);
  }
  if (f.Throttle) add("Throttle", `Starts are spread out: ${rate(f.Throttle)}`, ...per(f.Throttle.Key));
  if (f.RateLimit) add("Rate limit", `Events beyond ${rate(f.RateLimit)} start nothing`, ...per(f.RateLimit.Key));
  if (f.Debounce) {
    add("Debounce", `Starts once no event has come for ${duration(f.Debounce.Period)}`, ...per(f.Debounce.Key), f.Debounce.Timeout ? `, or ${duration(f.Debounce.Timeout)} after the first` : "");
  }
  if (f.Batch) {
    add("Batch", `One run for up to ${calls(f.Batch.Size, "event")}, started at the latest ${duration(f.Batch.Timeout)} after the first`, ...per(f.Batch.Key));
    if (f.Batch.If) add("Batch", "Only events for which ", code(f.Batch.If), " are collected");
  }
  if (f.Singleton) add("Singleton", "One unfinished run", ...per(f.Singleton.Key), f.Singleton.Cancel ? "; a newer one cancels it" : "; newer ones are skipped");
  if (f.Priority) add("Priority", "Runs are moved ahead by the seconds that ", code(f.Priority), " gives");
  if (f.StartTimeout) add("Start timeout", `Cancelled if not started within ${duration(f.StartTimeout)}`);
  if (f.FinishTimeout) add("Finish timeout", `Cancelled if not finished ${duration(f.FinishTimeout)} after its start`);
  return out;
}

/** Which of the settings a function has, in a few words for lists. */
export function flowSummary(f: Flow): string {
  return [...new Set(flowWords(f).map((w) => w.label.toLowerCase()))].join(", ");
}

export function triggerText(t: Trigger): string {
  return t.Cron || t.Event;
}

/** Whether a trigger takes events of this name: exactly, or by a prefix that ends in "/*" or ".*". */
export function takesEvent(t: Trigger, name: string): boolean {
  if (!t.Event) return false;
  if (t.Event === name) return true;
  return /[/.]\*$/.test(t.Event) && name.startsWith(t.Event.slice(0, -1));
}

export function retriesWords(f: QFunction): string {
  return f.maxAttempts === 1 ? "One attempt, no retries" : `Up to ${f.maxAttempts} attempts of each step`;
}

/** What a run waits for, as a heading; the countdown is shown beside it. */
export function waitingWords(w: Waiting): { text: Words; until: string } {
  const step: Words = w.step ? ["Step ", code(w.step), " "] : [];
  const say = (text: string, bare = text.charAt(0).toUpperCase() + text.slice(1)): Words => (w.step ? [...step, text] : [bare]);
  switch (w.what) {
    case "sleep":
      return { text: say("sleeps", "Sleeps"), until: "Wakes up" };
    case "event":
    case "signal":
    case "run":
      return { text: say(w.text), until: "Gives up waiting" };
    case "retrying":
      return { text: w.step ? [...step, "failed; ", w.text.replace(" follows after a failure", " follows")] : ["Failed; " + w.text.replace(" follows after a failure", " follows")], until: "Next attempt" };
    case "delayed":
      return { text: say(w.text), until: "Due" };
    case "blocked":
      return { text: w.step ? [...step, "has to wait: ", millis(w.text)] : ["Has to wait: " + millis(w.text)], until: "Next free slot" };
    case "executing":
      return { text: w.step ? [...step, "runs: the app has been called and has not answered yet"] : ["The app has been called and has not answered yet"], until: "" };
    case "ready":
      return { text: say(w.text), until: "" };
  }
  return { text: say(w.text), until: "Due" };
}

/** The server gives periods in milliseconds. */
function millis(text: string): string {
  return text.replace(/(\d+) ms\b/g, (_, n: string) => duration(Number(n)));
}

export const stepTypes: Record<string, string> = {
  run: "step",
  sleep: "sleep",
  waitForEvent: "wait for event",
  waitForSignal: "wait for signal",
  invoke: "invoke",
  initial: "first call",
  plan: "start of a parallel step",
  call: "third-party call",
  callback: "outcome of a third-party call",
  notify: "notification",
  createWebhook: "webhook",
  waitForWebhook: "wait for webhook",
};

export function sourceWords(source: string): string {
  const known: Record<string, string> = { api: "sent by an app", dashboard: "sent from the dashboard", invoke: "made by an invoke", cron: "made by a schedule", lifecycle: "made by the server when a run ended" };
  return known[source] ?? source;
}

/** One segment of a waterfall's bar. */
export interface Segment {
  kind: "queued" | "failed" | "backoff" | "done" | "working" | "waiting";
  from: number;
  to: number;
  title: string;
}

/** The segments of a step's bar; until is where unfinished ones end. */
export function stepSegments(step: Step, attempts: Attempt[], until: number): Segment[] {
  const out: Segment[] = [];
  let t = step.queuedAt;
  for (const a of attempts) {
    if (a.startedAt > t) out.push({ kind: out.length ? "backoff" : "queued", from: t, to: a.startedAt, title: out.length ? "waiting to try again" : "queued" });
    out.push({ kind: "failed", from: a.startedAt, to: a.endedAt, title: `attempt ${a.attempt + 1} failed` });
    t = a.endedAt;
  }
  const finished = step.seq > 0;
  if (finished && step.state !== "failed") {
    const from = Math.max(step.startedAt ?? t, attempts.length ? t : step.queuedAt);
    if (from > t) out.push({ kind: out.length ? "backoff" : "queued", from: t, to: from, title: out.length ? "waiting to try again" : "queued" });
    const waits = step.type !== "run" && (step.type === "sleep" || step.type.startsWith("wait") || step.type === "invoke");
    out.push({ kind: waits ? "waiting" : "done", from, to: Math.max(from, step.endedAt ?? from), title: waits ? "waited" : `attempt ${step.attempt + 1} succeeded` });
  } else if (finished && attempts.length === 0) {
    const from = step.startedAt ?? step.queuedAt;
    out.push({ kind: "failed", from, to: Math.max(from, step.endedAt ?? from), title: "failed" });
  } else if (!finished) {
    const kind = step.state === "retrying" ? "backoff" : step.state === "planned" ? (attempts.length ? "backoff" : "queued") : step.state === "sleeping" || step.state === "waiting" || step.state === "invoking" ? "waiting" : "working";
    out.push({ kind, from: t, to: Math.max(t, until), title: step.state });
  }
  return out;
}

/** How long a run took or has taken so far; undefined before its start. */
export function runDuration(r: Run, at: number): number | undefined {
  if (!r.startedAt) return undefined;
  return (r.endedAt ?? Math.max(at, r.startedAt)) - r.startedAt;
}

export const httpReason: Record<number, string> = {
  200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
  405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
  503: "Service Unavailable", 504: "Gateway Timeout",
};

/** Why a dead letter could not be delivered, in one line. */
export function deadReason(d: DeadLetter): string {
  const text = (d.responseBody ?? "").replace(/\s+/g, " ").trim();
  const short = text.length > 160 ? `${text.slice(0, 160)}…` : text;
  if (!d.responseStatus) return short || "there was no answer";
  const status = `HTTP ${d.responseStatus}${httpReason[d.responseStatus] ? ` ${httpReason[d.responseStatus]}` : ""}`;
  return short && short !== httpReason[d.responseStatus] ? `${status}: ${short}` : status;
}

/** The body of a log entry: text where it is text. */
export function bodyOf(base64: string): { text: string } | { bytes: number } {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch {
    return { bytes: bytes.length };
  }
}

/** The limits of a flow-control key. */
export function limitWords(parallelism: number | undefined, rate: number | undefined, period: number | undefined): string {
  const parts = [
    ...(parallelism ? [`${parallelism} at a time`] : []),
    ...(rate ? [`${rate} per ${duration((period || 1) * 1000)}`] : []),
  ];
  return parts.join(", ");
}

/** A measured number with its unit, which is one of UCUM's. */
export function measured(value: number, name: string, unit = ""): string {
  const short = (n: number) => String(Number(n.toPrecision(3)));
  if (unit === "By" || (!unit && name.includes(".memory."))) return value >= 2 ** 30 ? `${short(value / 2 ** 30)} GiB` : `${short(value / 2 ** 20)} MiB`;
  if (unit === "s" && value < 1) return `${short(value * 1000)} ms`;
  if ((unit === "" || unit === "1") && name.endsWith(".utilization")) return `${short(value * 100)} %`;
  return unit && unit !== "1" ? `${short(value)} ${unit}` : short(value);
}
