import { expect, test } from "vitest";
import { makeScale } from "./scale";

const week = 7 * 86_400_000;

test("an axis without long gaps is even", () => {
  const s = makeScale(0, 1000, [{ from: 0, to: 400 }, { from: 500, to: 1000 }]);
  expect(s.gaps).toEqual([]);
  expect(s.at(0)).toBe(0);
  expect(s.at(250)).toBeCloseTo(0.25);
  expect(s.at(1000)).toBe(1);
});

test("a long sleep is drawn short, and what ran keeps its proportions", () => {
  const s = makeScale(0, 1000 + week + 3000, [{ from: 0, to: 1000 }, { from: 1000 + week, to: 4000 + week }]);
  expect(s.gaps).toHaveLength(1);
  const [g] = s.gaps;
  expect(g).toMatchObject({ from: 1000, to: 1000 + week });
  const first = s.at(1000) - s.at(0);
  const second = s.at(4000 + week) - s.at(1000 + week);
  expect(second / first).toBeCloseTo(3);
  expect(s.at(4000 + week)).toBe(1);
});

test("it never goes backwards and stays between 0 and 1", () => {
  const s = makeScale(100, 900_000, [{ from: 50, to: 140 }, { from: 120, to: 180 }, { from: 400_000, to: 400_000 }, { from: 899_000, to: 950_000 }]);
  let last = -1;
  for (let t = 0; t < 1_000_000; t += 977) {
    const x = s.at(t);
    expect(x).toBeGreaterThanOrEqual(Math.max(0, last));
    expect(x).toBeLessThanOrEqual(1);
    last = x;
  }
});

test("nothing that ran and no time at all are fine", () => {
  expect(makeScale(5, 5, []).at(5)).toBe(0);
  expect(makeScale(0, week, []).at(week / 2)).toBeCloseTo(0.5);
});
