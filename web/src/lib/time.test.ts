import { expect, test } from "vitest";
import { countdown, duration, relative } from "./time";

test("durations have at most two units", () => {
  const f = (ms: number, want: string) => expect(duration(ms), String(ms)).toBe(want);
  f(-5, "0 ms");
  f(0, "0 ms");
  f(340, "340 ms");
  f(4210, "4.21 s");
  f(59_999, "59.9 s");
  f(60_000, "1 min");
  f(185_000, "3 min 5 s");
  f(3_600_000, "1 h");
  f(5_400_000, "1 h 30 min");
  f(86_400_000 * 13, "13 d");
  f(86_400_000 * 13 - 1, "12 d 23 h");
});

test("times are relative to a given one", () => {
  const at = 1_000_000_000;
  const f = (d: number, want: string) => expect(relative(at, at + d)).toBe(want);
  f(0, "now");
  f(1500, "now");
  f(42_000, "42 s ago");
  f(7_200_000, "2 h ago");
  f(-300_000, "in 5 min");
});

test("a countdown ends in due now and never shows 0 s", () => {
  expect(countdown(1000, 1000)).toBe("due now");
  expect(countdown(1000, 5000)).toBe("due now");
  expect(countdown(1000, 999)).toBe("1 s");
  expect(countdown(61_000, 500)).toBe("1 min 1 s");
});
