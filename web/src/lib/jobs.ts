// BullMQ's queues and jobs as the API has them.
import { href } from "./api";

export const jobStates = ["waiting", "paused", "active", "prioritized", "delayed", "waiting-children", "completed", "failed"] as const;
export type JobState = (typeof jobStates)[number] | "unknown";

export interface QueueRef {
  source: string;
  prefix: string;
  name: string;
}

export interface JobQueue extends QueueRef {
  counts: Record<string, number>;
  paused: boolean;
  schedulers: number;
  workers: number;
  concurrency: number; // 0: no limit
  max: number; // 0: no limit
  duration: number; // ms
  limitedFor: number; // ms
  version?: string;
  metrics?: Record<string, { total: number; points: number[] }>;
  workerList?: { name?: string; addr: string; age: number; idle: number }[];
}

export interface JobQueues {
  queues: JobQueue[];
  problems: Record<string, string>;
  sources: { id: string; name: string; loose: boolean }[]; // loose: a change may be lost in the second after it was answered
}

export interface Job {
  id: string;
  name: string;
  state?: JobState;
  data?: unknown;
  options?: Record<string, unknown>;
  progress?: unknown;
  result?: unknown;
  error?: string;
  stack?: string[];
  addedAt: number;
  startedAt?: number;
  endedAt?: number;
  dueAt?: number;
  priority?: number;
  attempts: number;
  attemptsStarted: number;
  maxAttempts: number;
  stalled?: number;
  worker?: string;
  scheduler?: string;
  deduplicationId?: string;
  parent?: QueueRef & { id: string };
  queue?: QueueRef;
}

export interface JobNode extends QueueRef {
  id: string;
  job?: string; // its name; none if it was removed
  state: JobState;
  children?: JobNode[];
  more?: boolean;
}

export interface JobDetail {
  job: Job;
  logs: string[];
  logCount: number;
  flow: JobNode;
  now: number;
}

export interface JobScheduler {
  id: string;
  name: string;
  pattern?: string;
  zone?: string;
  every?: number; // ms
  limit?: number;
  runs: number;
  endAt?: number;
  nextAt: number;
  data?: unknown;
  options?: unknown;
}

/** What names a queue in the API and in links. The usual prefix and the first source go without saying. */
export function queueParams(q: QueueRef): Record<string, string | undefined> {
  return { source: q.source === "own" ? undefined : q.source, prefix: q.prefix === "bull" ? undefined : q.prefix, queue: q.name };
}

export const queuePath = (q: QueueRef, more: Record<string, string | undefined> = {}) => href("/jobs/queue", { ...queueParams(q), ...more });
export const jobPath = (q: QueueRef, id: string) => href("/jobs/job", { ...queueParams(q), id });

/** The queue that the page's address names. */
export function queueOf(query: URLSearchParams): QueueRef {
  return { source: query.get("source") ?? "own", prefix: query.get("prefix") ?? "bull", name: query.get("queue") ?? "" };
}
