// Trigger.dev tasks, through the API that their SDK uses.
import { post, query } from "./api";

/** A path of the tasks' API, in the environment that is shown. */
export function tasksApi(path: string, params: Record<string, string | number | undefined> = {}): string {
  return query(`/trigger${path}`, params);
}

/** The app that all tasks belong to. */
export const taskApp = "trigger.dev";

export type TaskRunStatus =
  | "DELAYED" | "PENDING_VERSION" | "QUEUED" | "DEQUEUED" | "EXECUTING" | "WAITING" | "COMPLETED" | "FAILED" | "CANCELED" | "CRASHED" | "SYSTEM_FAILURE" | "EXPIRED" | "TIMED_OUT";
export const taskRunStatuses: TaskRunStatus[] = ["QUEUED", "DELAYED", "PENDING_VERSION", "EXECUTING", "WAITING", "COMPLETED", "FAILED", "CRASHED", "CANCELED", "EXPIRED", "TIMED_OUT", "SYSTEM_FAILURE"];

export interface TaskRun {
  id: string;
  status: TaskRunStatus;
  taskIdentifier: string;
  version?: string;
  createdAt: string;
  startedAt?: string;
  finishedAt?: string;
  delayedUntil?: string;
  isTest: boolean;
  isCompleted: boolean;
  tags: string[];
  batchId?: string;
}

export interface TaskInfo {
  id: string;
  missing?: boolean;
  file?: string;
  source?: string;
  description?: string;
  queue?: string;
  limit?: number | null;
  /** Of all its concurrency keys together. */
  total?: number | null;
  /** Names of the concurrency limits that it shares. */
  limits?: string[] | null;
  machine?: string;
  maxAttempts?: number;
  maxDuration?: number;
  ttl?: string;
  cron?: string;
  timezone?: string;
}

export interface Tasks {
  tasks: TaskInfo[];
  version?: string;
  sdk?: string;
  createdAt?: string;
}

export interface TaskEnvironment {
  name: string;
  project: string;
  slug: string;
  branch: string;
  apiUrl: string;
  deployed: boolean;
  connected: boolean;
  key: string;
  rotates: boolean;
  version?: string;
}

export interface TaskSchedule {
  id: string;
  type: "DECLARATIVE" | "IMPERATIVE";
  task: string;
  active: boolean;
  timezone: string;
  generator: { expression: string; description: string };
  deduplicationKey?: string;
  externalId?: string;
  nextRun?: string;
}

export interface TaskQueue {
  id: string;
  name: string;
  type: "task" | "custom";
  running: number;
  queued: number;
  paused: boolean;
  concurrencyLimit: number | null;
  /** Absent of a queue whose tasks have concurrency limits instead. */
  concurrency?: Bound;
}

/** How many runs of a concurrency limit are executed at once; null: no bound. */
export interface Bound {
  current: number | null;
  base: number | null;
  override: number | null;
}

/** A limit that one task has, or several share. */
export interface ConcurrencyLimit {
  id: string;
  name: string;
  perKey: Bound;
  total: Bound;
  running: number;
  queued: number;
  paused: boolean;
}

/** An address that is told when something fails. */
export interface AlertChannel {
  id: string;
  name: string;
  url: string;
  types: string[];
  function: string; // whose runs its alerts are
}

/** How many runs an environment executes at once. */
export interface EnvironmentLimit {
  limit: number;
  byHand: boolean;
  default: number;
  running: number;
  queued: number;
  paused: boolean;
}

export interface WaitToken {
  id: string;
  url: string;
  status: "WAITING" | "COMPLETED" | "TIMED_OUT";
  tags: string[];
  createdAt: string;
  timeoutAt?: string;
  completedAt?: string;
}

export interface Batch {
  id: string;
  count: number;
  parent: string;
  sealed: boolean;
  errors: { index: number; error: string }[] | null;
  createdAt: string;
}

export interface Deployment {
  id: string;
  version: string;
  shortCode: string;
  status: string;
  createdAt: string;
  deployedAt?: string;
  isPromoted?: boolean;
  runtime: string | null;
  runtimeVersion: string | null;
  git?: { commitMessage?: string; commitRef?: string; commitSha?: string };
  error?: { name: string; message: string; stack?: string; stderr?: string };
  canceledReason?: string;
  worker?: { tasks: { id: string; filePath: string }[] };
}

export interface BulkAction {
  id: string;
  type: "CANCEL" | "REPLAY";
  status: "PENDING" | "COMPLETED" | "ABORTED";
  counts: { total: number; success: number; failure: number };
}

export interface Variable {
  name: string;
  value: string;
  isSecret: boolean;
}

/** The number by which the dashboard knows a run: its id in the SDK without the prefix, in capitals. */
export const runNumber = (id: string) => id.replace(/^run_/, "").toUpperCase();

export const time = (iso: string | undefined) => (iso ? Date.parse(iso) : undefined);

/** A state in words. */
export const statusWords = (s: string) => s.toLowerCase().replaceAll("_", " ");

/** What a scheduled task gets when somebody tests it: dates that are dates. */
export function schedulePayload(timezone: string, now = new Date()): string {
  const values: Record<string, string[]> = { timestamp: ["Date"], lastTimestamp: ["Date"] };
  const upcoming = [1, 2, 3].map((n, i) => {
    values[`upcoming.${i}`] = ["Date"];
    return new Date(now.getTime() + n * 3600_000).toISOString();
  });
  const json = { scheduleId: "sched_test", type: "IMPERATIVE", timestamp: now.toISOString(), lastTimestamp: new Date(now.getTime() - 3600_000).toISOString(), timezone, upcoming };
  return JSON.stringify({ json, meta: { values } });
}

/** Triggers a task with a payload that is JSON text. */
export async function triggerTask(task: string, payload: string, payloadType: string, options: Record<string, unknown>): Promise<string> {
  const r = await post<{ id: string }>(tasksApi(`/api/v1/tasks/${encodeURIComponent(task)}/trigger`), JSON.stringify({ payload, options: { payloadType, test: true, ...options } }));
  return r.id;
}
