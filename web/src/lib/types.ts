// What the JSON API at /api/dashboard answers. Payloads of users are `unknown`: see json.ts.

export type RunStatus = "queued" | "running" | "completed" | "failed" | "cancelled" | "skipped";
export const runStatuses: RunStatus[] = ["queued", "running", "completed", "failed", "cancelled", "skipped"];
export const ended = (s: RunStatus) => s !== "queued" && s !== "running";

export type StepState = "planned" | "retrying" | "sleeping" | "waiting" | "invoking" | "done" | "failed" | "input";

export interface Session {
  dev: boolean;
  authenticated: boolean;
  environments?: string[];
  tasks?: boolean; // Trigger.dev clients are let in
  version?: string;
}

export interface Run {
  id: string;
  function: string;
  app: string;
  status: RunStatus;
  trigger: string;
  cron?: string;
  events: string[];
  batch?: string;
  original?: string;
  parent?: string;
  existing?: string;
  reason?: string;
  queuedAt: number;
  startAt?: number;
  startedAt?: number;
  endedAt?: number;
  version: number;
  output?: unknown;
}

export interface QEvent {
  id: string;
  name: string;
  key?: string;
  ts: number;
  received: number;
  internal: boolean;
  source: string;
  runs: Run[];
  data?: unknown;
  user?: unknown;
  v?: string;
  meta?: unknown;
}

export interface Step {
  id: string;
  name: string;
  type: string;
  state: StepState;
  kind: "none" | "data" | "error" | "raw" | "input";
  opts?: { event?: string; if?: string; signal?: string; function?: string; input?: unknown; [k: string]: unknown };
  output?: unknown;
  seq: number;
  attempt: number;
  queuedAt: number;
  startedAt?: number;
  endedAt?: number;
  dueAt?: number;
  childRun?: string;
  event?: string;
}

export interface Attempt {
  step?: string;
  name?: string;
  attempt: number;
  error: unknown;
  final: boolean;
  retryAt?: number;
  startedAt: number;
  endedAt: number;
  httpStatus?: number;
  httpHeaders?: unknown;
  httpBody?: string;
}

export interface Waiting {
  what: string;
  step?: string;
  until?: number;
  text: string;
}

/** What the process of a run measured: of itself, and of what its task liked. */
export interface Measure {
  name: string;
  of?: string; // tells those of a name apart
  unit?: string;
  last: number;
  max: number;
}

export interface RunDetail {
  run: Run;
  events: QEvent[];
  steps: Step[];
  attempts: Attempt[];
  waiting: { found: boolean; state: string; reasons: Waiting[] | null };
  driven: boolean; // its steps are submitted by the app: it can be rerun as a whole only
  tags?: string[];
  metadata?: unknown;
  measures?: Measure[];
  now: number;
}

/** What a run told while it executed: a piece of its work, or, with a level, a line of its log. Times are ms with fractions. */
export interface TraceSpan {
  id: string;
  parent?: string;
  name: string;
  level?: string;
  start: number;
  end?: number; // absent: it goes on
  attempt?: number;
  failed?: boolean;
  cancelled?: boolean;
  message?: string;
}

export interface TraceDetail extends TraceSpan {
  entity?: string;
  entityId?: string;
  attributes?: unknown;
  output?: unknown;
  events: { name: string; time: number; attributes?: unknown }[];
}

export interface RunTrace {
  spans: TraceSpan[];
  more: number; // that are not among them
  now: number;
}

export interface Trigger {
  Event: string;
  If: string;
  Cron: string;
  CronEvent: string;
  CronJitter: number;
}

export interface Rate {
  Limit: number;
  Period: number;
  Burst: number;
  Key: string;
}

export interface Flow {
  Concurrency: { Limit: number; Scope: string; Key: string; PerRun: boolean }[] | null;
  Throttle: Rate | null;
  RateLimit: Rate | null;
  Debounce: { Period: number; Timeout: number; Key: string } | null;
  Batch: { Size: number; Timeout: number; Key: string; If: string } | null;
  Singleton: { Key: string; Cancel: boolean } | null;
  Priority: string;
  StartTimeout: number;
  FinishTimeout: number;
}

export interface QFunction {
  id: string;
  slug: string;
  name: string;
  app: string;
  door: string;
  version: number;
  maxAttempts: number;
  triggers: Trigger[] | null;
  cancel: { Event: string; If: string; Timeout: number }[] | null;
  flow: Flow;
  archived: boolean;
  paused: boolean;
}

export interface App {
  name: string;
  door: string;
  url: string;
  meta?: { sdk?: string; framework?: string; appVersion?: string; method?: string; error?: string; discovered?: boolean };
  error?: string;
}

export interface Overview {
  unfinishedRuns: number;
  callsInFlight: number;
  openBatches: number;
}

export interface Change {
  kinds: string[];
  runs: string[];
  spans: string[];
  more: boolean;
}

// What QStash's API answers.

export const logStates = ["CREATED", "ACTIVE", "RETRY", "ERROR", "DELIVERED", "FAILED", "CANCEL_REQUESTED", "CANCELED"] as const;
export type LogState = (typeof logStates)[number];

type Header = Record<string, string[]>;

/** What log entries, dead letters and schedules say alike about a message. */
interface Configured {
  method?: string;
  header?: Header;
  body?: string;
  callback?: string;
  failureCallback?: string;
  queueName?: string;
  scheduleId?: string;
  label?: string;
  labels?: string[];
  flowControlKey?: string;
  parallelism?: number;
  rate?: number;
  period?: number; // s
  retryDelayExpression?: string;
  timeout?: number; // ms of a log entry, s of a schedule
  callerIP?: string;
}

export interface LogEntry extends Configured {
  time: number;
  messageId: string;
  state: LogState;
  error?: string;
  nextDeliveryTime?: number;
  url?: string;
  topicName?: string;
  endpointName?: string;
  responseStatus?: number;
  responseBody?: string;
  responseHeader?: Header;
  maxRetries?: number;
}

export interface DeadLetter extends Configured {
  dlqId: string;
  messageId: string;
  url: string;
  topicName?: string;
  maxRetries: number;
  createdAt: number;
  responseStatus: number; // 0: no answer
  responseBody?: string; // the answer, or why there was none
  responseBodyBase64?: string;
}

/** A workflow run that failed. */
export interface DeadRun extends DeadLetter {
  workflowRunId: string;
  workflowUrl: string;
  failureCallbackInfo?: { state: string; responseStatus?: number };
}

export interface Schedule extends Configured {
  scheduleId: string;
  cron: string;
  destination: string;
  createdAt: number;
  isPaused: boolean;
  retries: number;
  delay?: number; // s
  lastScheduleTime?: number;
  nextScheduleTime?: number;
  lastScheduleStates?: Record<string, "IN_PROGRESS" | "SUCCESS" | "FAIL">;
  error?: string;
}

export interface Queue {
  name: string;
  parallelism: number;
  lag: number;
  paused: boolean;
}

export interface FlowKey {
  flowControlKey: string;
  waitListSize: number;
  parallelismMax: number; // 0: no limit
  parallelismCount: number;
  rateMax: number; // 0: no limit
  rateCount: number;
  ratePeriod: number; // s
  isPaused: boolean;
  isPinnedParallelism: boolean;
  isPinnedRate: boolean;
}

export interface UrlGroup {
  name: string;
  createdAt: number;
  endpoints: { name?: string; url: string }[];
}
