import { expect, test } from "vitest";
import type { Attempt, DeadLetter, Flow, Step, Trigger } from "./types";
import { bodyOf, deadReason, flowWords, limitWords, measured, stepSegments, takesEvent, waitingWords, type Words } from "./words";

const plain = (w: Words) => w.map((x) => (typeof x === "string" ? x : `\`${x.code}\``)).join("");
const none: Flow = { Concurrency: null, Throttle: null, RateLimit: null, Debounce: null, Batch: null, Singleton: null, Priority: "", StartTimeout: 0, FinishTimeout: 0 };

test("flow control reads as sentences", () => {
  const f = (flow: Partial<Flow>, ...want: string[]) => expect(flowWords({ ...none, ...flow }).map((w) => plain(w.words))).toEqual(want);
  f({});
  f({ Concurrency: [{ Limit: 1, Scope: "fn", Key: "", PerRun: false }] }, "At most 1 call at a time");
  f({ Concurrency: [{ Limit: 5, Scope: "fn", Key: "event.data.user", PerRun: true }] }, "At most 5 runs at a time for each value of `event.data.user`");
  f({ Throttle: { Limit: 100, Period: 60_000, Burst: 0, Key: "" } }, "Starts are spread out: 100 starts per 1 min");
  f({ Debounce: { Period: 5000, Timeout: 60_000, Key: "" } }, "Starts once no event has come for 5 s, or 1 min after the first");
  f({ Batch: { Size: 50, Timeout: 30_000, Key: "", If: "event.data.ok" } }, "One run for up to 50 events, started at the latest 30 s after the first", "Only events for which `event.data.ok` are collected");
  f({ Singleton: { Key: "event.data.doc", Cancel: true } }, "One unfinished run for each value of `event.data.doc`; a newer one cancels it");
});

test("waiting reads as a sentence", () => {
  const f = (what: string, step: string, text: string, want: string) => expect(plain(waitingWords({ what, step, text }).text)).toBe(want);
  f("sleep", "nap", "sleeps", "Step `nap` sleeps");
  f("event", "answer", "waits for the event a/b", "Step `answer` waits for the event a/b");
  f("retrying", "pay", "attempt 3 follows after a failure", "Step `pay` failed; attempt 3 follows");
  f("retrying", "", "attempt 3 follows after a failure", "Failed; attempt 3 follows");
  f("blocked", "", "throttled to 10 starts per 60000 ms", "Has to wait: throttled to 10 starts per 1 min");
  f("delayed", "", "is not due yet", "Is not due yet");
});

test("triggers take exact names and prefixes", () => {
  const f = (event: string, name: string, want: boolean) => expect(takesEvent({ Event: event } as Trigger, name)).toBe(want);
  f("a/b", "a/b", true);
  f("a/b", "a/bc", false);
  f("a/*", "a/b", true);
  f("a.*", "a.b.c", true);
  f("a/*", "ab", false);
  f("", "a", false);
});

test("a step's bar shows its queue, its failures, the waits between and its end", () => {
  const step = { id: "s", name: "s", type: "run", state: "done", kind: "data", seq: 1, attempt: 1, queuedAt: 0, startedAt: 110, endedAt: 130 } as Step;
  const failed = { step: "s", attempt: 0, startedAt: 10, endedAt: 30 } as Attempt;
  expect(stepSegments(step, [failed], 500).map((s) => [s.kind, s.from, s.to])).toEqual([["queued", 0, 10], ["failed", 10, 30], ["backoff", 30, 110], ["done", 110, 130]]);
  const retrying = { ...step, seq: 0, state: "retrying" } as Step;
  expect(stepSegments(retrying, [failed], 500).map((s) => [s.kind, s.from, s.to])).toEqual([["queued", 0, 10], ["failed", 10, 30], ["backoff", 30, 500]]);
  const sleeping = { ...step, type: "sleep", state: "sleeping", seq: 0 } as Step;
  expect(stepSegments(sleeping, [], 500).map((s) => s.kind)).toEqual(["waiting"]);
});

test("a dead letter says why in one line", () => {
  const reason = (responseStatus: number, responseBody?: string) => deadReason({ responseStatus, responseBody } as DeadLetter);
  expect(reason(500, "the disk\n  is full")).toBe("HTTP 500 Internal Server Error: the disk is full");
  expect(reason(404, "Not Found")).toBe("HTTP 404 Not Found");
  expect(reason(418)).toBe("HTTP 418");
  expect(reason(0, "connection refused")).toBe("connection refused");
  expect(reason(0)).toBe("there was no answer");
  expect(reason(500, "x".repeat(1000)).length).toBeLessThan(220);
});

test("a body is text if it can be, and limits read as words", () => {
  expect(bodyOf(btoa("{\"a\":1}"))).toEqual({ text: "{\"a\":1}" });
  expect(bodyOf("4oKs")).toEqual({ text: "€" });
  expect(bodyOf("//79")).toEqual({ bytes: 3 });
  expect(limitWords(2, 5, 60)).toBe("2 at a time, 5 per 1 min");
  expect(limitWords(0, 0, 1)).toBe("");
});

test("measured numbers have units that people read", () => {
  expect([
    measured(57_800_000, "process.memory.usage"), measured(3.2e9, "heap", "By"), measured(0.0123, "nodejs.event_loop.delay.p95", "s"), measured(12.5, "process.cpu.time", "s"),
    measured(0.123, "process.cpu.utilization"), measured(7, "orders", "{order}"), measured(7, "orders", "1"),
  ]).toEqual(["55.1 MiB", "2.98 GiB", "12.3 ms", "12.5 s", "12.3 %", "7 {order}", "7"]);
});
