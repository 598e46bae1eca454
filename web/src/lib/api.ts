// Requests to the JSON API.
import { computed, signal } from "@preact/signals";
import { parse } from "./json";
import { place } from "./router";
import { sawServerTime, serverAhead } from "./time";
import type { Session } from "./types";

const base = "/api/dashboard";

/** undefined until the server has answered for the first time. */
export const session = signal<Session | undefined>(undefined);

/** The environment that the page shows; "" is the server's first. */
export const environment = computed(() => {
  const wanted = place.value.query.get("env") ?? "";
  const all = session.value?.environments ?? [];
  return all.includes(wanted) && wanted !== all[0] ? wanted : "";
});

/** A link within the environment. */
export function href(path: string, query: Record<string, string | undefined> = {}): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries({ ...query, env: environment.value })) if (v) q.set(k, v);
  const s = q.toString();
  return path + (s ? `?${s}` : "");
}

export class ApiError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** What went wrong, in a sentence. */
export function message(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

async function request(path: string, init: RequestInit): Promise<unknown> {
  let r: Response;
  try {
    r = await fetch(base + path, { ...init, headers: { accept: "application/json", ...(init.body ? { "content-type": "application/json" } : {}) } });
  } catch (err) {
    if (init.signal?.aborted) throw err;
    throw new ApiError(0, "The server cannot be reached.");
  }
  // Headers have whole seconds, so only a clock that is plainly wrong counts.
  const date = Date.parse(r.headers.get("date") ?? "");
  if (date && Math.abs(date - Date.now() - serverAhead.peek()) > 3000) sawServerTime(date);
  const text = await r.text();
  let body: unknown;
  try {
    body = parse(text);
  } catch {
    throw new ApiError(r.status, `The server answered ${r.status} with something that is no JSON.`);
  }
  if (r.ok) return body;
  if (r.status === 401 && session.peek()?.authenticated) void loadSession();
  throw new ApiError(r.status, (body as { error?: string }).error ?? `The server answered ${r.status}.`);
}

const qstashBase = "/qstash/v2";

/** A path of QStash's own API, which has no environments: it is about the server's first. */
export function qstash(path: string, params: Record<string, string | number | undefined> = {}): string {
  return query(qstashBase + path, params);
}

function inEnvironment(path: string): string {
  if (path.startsWith(qstashBase)) return path;
  const env = environment.peek();
  return env ? `${path}${path.includes("?") ? "&" : "?"}env=${encodeURIComponent(env)}` : path;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request(inEnvironment(path), signal ? { signal } : {})) as T;
}

/** body is JSON text, so that what a person typed arrives as it was typed. */
export async function post<T>(path: string, body = "{}"): Promise<T> {
  return (await request(inEnvironment(path), { method: "POST", body })) as T;
}

export async function remove<T = unknown>(path: string): Promise<T> {
  return (await request(inEnvironment(path), { method: "DELETE" })) as T;
}

export async function loadSession(): Promise<void> {
  session.value = (await request("/session", {})) as Session;
}

export async function login(key: string): Promise<void> {
  await request("/login", { method: "POST", body: JSON.stringify({ key }) });
  await loadSession();
}

export async function logout(): Promise<void> {
  await request("/logout", { method: "POST", body: "{}" });
  await loadSession();
}

/** Path and query of an API request. */
export function query(path: string, params: Record<string, string | number | undefined>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) if (v !== undefined && v !== "") q.set(k, String(v));
  const s = q.toString();
  return path + (s ? `?${s}` : "");
}
