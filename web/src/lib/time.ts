// Times and durations as people read them.
import { signal } from "@preact/signals";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** How far the server's clock is ahead of this one, ms. */
export const serverAhead = signal(0);

/** The server's time, renewed every second while the page is visible. */
export const now = signal(Date.now());

export function tick(): void {
  now.value = Date.now() + serverAhead.peek();
}

/** Takes note of the server's time as an answer gave it. */
export function sawServerTime(ms: number): void {
  serverAhead.value = ms - Date.now();
  tick();
}

/** A duration with at most two units: "340 ms", "4.2 s", "3 min 5 s", "13 d". */
export function duration(ms: number): string {
  if (ms < 0) ms = 0;
  if (ms < second) return `${Math.round(ms)} ms`;
  if (ms < 10 * second) return `${trim(ms / second, 2)} s`;
  if (ms < minute) return `${trim(ms / second, 1)} s`;
  if (ms < hour) return two(ms, minute, "min", second, "s");
  if (ms < day) return two(ms, hour, "h", minute, "min");
  return two(ms, day, "d", hour, "h");
}

function trim(n: number, digits: number): string {
  return String(Math.floor(n * 10 ** digits) / 10 ** digits);
}

function two(ms: number, big: number, bigName: string, small: number, smallName: string): string {
  const b = Math.floor(ms / big);
  const s = Math.floor((ms - b * big) / small);
  return s ? `${b} ${bigName} ${s} ${smallName}` : `${b} ${bigName}`;
}

/** How long ago: "now", "42 s ago", "3 h ago"; or "in 5 min". One unit, for lists. */
export function relative(at: number, from: number): string {
  const d = from - at;
  const a = Math.abs(d);
  if (a < 2 * second) return "now";
  const text =
    a < minute ? `${Math.floor(a / second)} s` : a < hour ? `${Math.floor(a / minute)} min` : a < day ? `${Math.floor(a / hour)} h` : `${Math.floor(a / day)} d`;
  return d > 0 ? `${text} ago` : `in ${text}`;
}

/** What is left until a time, in whole seconds: "4 s", "2 min 3 s", "12 d 23 h". */
export function countdown(until: number, from: number): string {
  const left = until - from;
  return left <= 0 ? "due now" : duration(Math.ceil(left / second) * second);
}

const two2 = (n: number, w = 2) => String(n).padStart(w, "0");

/** A time of day with milliseconds. */
export function clockTime(at: number): string {
  const d = new Date(at);
  return `${two2(d.getHours())}:${two2(d.getMinutes())}:${two2(d.getSeconds())}.${two2(d.getMilliseconds(), 3)}`;
}

/** The full local time. */
export function absolute(at: number): string {
  const d = new Date(at);
  return `${d.getFullYear()}-${two2(d.getMonth() + 1)}-${two2(d.getDate())} ${clockTime(at)}`;
}
