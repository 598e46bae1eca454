// The stream of changes, and data that follows it.
//
// The stream carries no content: each view fetches again what it shows, at most a few times a second. It is closed
// while the page is hidden, since a browser has few connections to one server and people leave many tabs open.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { environment, get, loadSession, message, session } from "./api";
import { tick } from "./time";
import type { Change } from "./types";

export type Connection = "connecting" | "open" | "lost";
export const connection = signal<Connection>("connecting");

/** When the server was last heard of, by this page's clock. */
export const heardAt = signal(Date.now());

/** While true, views keep what they show. */
export const paused = signal(false);

type Listener = (c: Change | undefined) => void; // undefined: anything may have changed
const listeners = new Set<Listener>();
const tellAll = (c?: Change) => listeners.forEach((l) => l(c));

let source: EventSource | undefined;
let retry: ReturnType<typeof setTimeout> | undefined;
let wait = 500;

// The server says something every 15 seconds. A connection whose other end has vanished breaks only after minutes, and
// until then a page would call itself live that shows the past.
const silence = 40_000; // ms
let heard = 0;

function hear(): void {
  heard = performance.now();
}

function lose(): void {
  close();
  if (connection.peek() !== "lost") heardAt.value = Date.now() - Math.max(0, performance.now() - heard);
  connection.value = "lost";
  retry = setTimeout(() => {
    loadSession().catch(() => undefined).finally(open);
  }, wait);
  wait = Math.min(wait * 2, 5000);
}

function open(): void {
  clearTimeout(retry);
  if (source || document.hidden || !session.peek()?.authenticated) return;
  const s = new EventSource("/api/dashboard/live");
  source = s;
  hear();
  s.onopen = () => {
    hear();
    wait = 500;
    connection.value = "open";
    tellAll();
  };
  s.addEventListener("change", (e) => {
    hear();
    tellAll(JSON.parse((e as MessageEvent<string>).data) as Change);
  });
  s.addEventListener("beat", hear);
  s.onerror = lose; // browsers try again by themselves after a broken connection, but not after an answer like 502
}

function close(): void {
  clearTimeout(retry);
  source?.close();
  source = undefined;
}

/** Connects and stays connected while the page is visible. */
export function startLive(): void {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      if (connection.peek() === "open") connection.value = "connecting";
    } else open();
  });
  addEventListener("pagehide", close);
  session.subscribe((s) => (s?.authenticated ? open() : close()));
  setInterval(() => {
    if (document.hidden) return;
    tick();
    if (source && performance.now() - heard > silence) lose();
  }, 1000);
}

/** Everything that is shown is fetched again. */
export function refreshAll(): void {
  tellAll();
}

export interface Live<T> {
  data: T | undefined;
  error: string;
  loading: boolean; // nothing to show yet
  stale: boolean; // paused, and something changed since
  refresh: () => void;
}

const pace = 300; // ms between two requests of one view
const longest = 5000; // and if the last answer was slow
const cacheSize = 40;
const cache = new Map<string, unknown>(); // what was shown before, so that going back shows something at once

function remember(key: string, value: unknown): void {
  cache.delete(key);
  cache.set(key, value);
  if (cache.size > cacheSize) cache.delete(cache.keys().next().value as string);
}

/** For what cannot change once it is there: it is fetched once, also when the stream was lost in between. */
export const never = (_: Change) => false;

/**
 * useLive fetches a path of the API and again whenever the stream says that it may have changed. about says which
 * changes count; path undefined fetches nothing.
 */
export function useLive<T>(path: string | undefined, about: (c: Change) => boolean): Live<T> {
  const key = path === undefined ? undefined : `${environment.value} ${path}`;
  const [state, setState] = useState<{ key: string | undefined; data: T | undefined; error: string; stale: boolean }>({ key: undefined, data: undefined, error: "", stale: false });
  const relevant = useRef(about);
  relevant.current = about;
  const again = useRef<() => void>(() => undefined);

  useEffect(() => {
    if (key === undefined || path === undefined) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let busy = false;
    let dirty = false;
    let last = 0;
    let gap = pace;
    let loaded = false;
    let asked = false; // somebody asked for the next answer, so it is shown even while paused
    const outdated = () => setState((s) => (s.stale ? s : { ...s, stale: true }));
    setState({ key, data: cache.get(key) as T | undefined, error: "", stale: false });

    const load = async () => {
      timer = undefined;
      const wanted = asked || !loaded;
      asked = false;
      if (paused.peek() && !wanted) return outdated();
      busy = true;
      dirty = false;
      const began = performance.now();
      try {
        const data = await get<T>(path, abort.signal);
        if (abort.signal.aborted) return;
        if (paused.peek() && !wanted) return outdated(); // it was paused since, and what is shown must stay
        loaded = true;
        remember(key, data);
        setState({ key, data, error: "", stale: false });
      } catch (err) {
        if (abort.signal.aborted) return;
        setState((s) => ({ ...s, error: message(err) }));
      } finally {
        busy = false;
        last = performance.now();
        gap = Math.min(Math.max(pace, 3 * (last - began)), longest); // a slow answer is not asked for more often, unless it was the server that stood still
        if (dirty && !abort.signal.aborted) soon();
      }
    };
    const soon = () => {
      if (busy) dirty = true;
      else timer ??= setTimeout(() => void load(), Math.max(0, last + gap - performance.now()));
    };
    const listen: Listener = (c) => {
      if (relevant.current === never ? loaded : c && !relevant.current(c)) return;
      if (paused.peek() && loaded) outdated();
      else soon();
    };
    listeners.add(listen);
    again.current = () => {
      asked = true;
      soon();
    };
    void load();
    return () => {
      abort.abort();
      clearTimeout(timer);
      listeners.delete(listen);
    };
  }, [key]);

  const current = state.key === key;
  const data = current ? state.data : key !== undefined ? (cache.get(key) as T | undefined) : undefined;
  return {
    data,
    error: current ? state.error : "",
    loading: data === undefined && !(current && state.error) && key !== undefined,
    stale: current && state.stale,
    refresh: () => again.current(),
  };
}

export const aboutRuns = (c: Change) => c.kinds.includes("runs");
export const aboutEvents = (c: Change) => c.kinds.includes("events") || c.kinds.includes("runs");
export const aboutFunctions = (c: Change) => c.kinds.includes("functions");
export const aboutApps = (c: Change) => c.kinds.includes("apps") || c.kinds.includes("functions");
export const aboutRun = (id: string) => (c: Change) => c.more || c.runs.includes(id);
/** What a run tells, and its end, which ends what is open. */
export const aboutTrace = (id: string) => (c: Change) => c.more || c.spans.includes(id) || c.runs.includes(id);
export const aboutLogs = (c: Change) => c.kinds.includes("logs");
export const aboutDead = (c: Change) => c.kinds.includes("dead");
export const aboutQueues = (c: Change) => c.kinds.includes("queues");
export const aboutSchedules = (c: Change) => c.kinds.includes("functions") || c.kinds.includes("runs");

/** Looks again every few seconds, for what is not part of the stream. */
export function usePolling(refresh: () => void, every = 5000): void {
  const latest = useRef(refresh);
  latest.current = refresh;
  useEffect(() => {
    const t = setInterval(() => document.hidden || paused.peek() || latest.current(), every);
    return () => clearInterval(t);
  }, []);
}
