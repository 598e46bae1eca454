import { expect, test } from "vitest";
import { match } from "./router";

test("patterns give their parameters decoded", () => {
  expect(match("/runs/:id", "/runs/01ABC")).toEqual({ id: "01ABC" });
  expect(match("/functions/:slug", "/functions/a%2Fb%20c")).toEqual({ slug: "a/b c" });
  expect(match("/runs", "/runs/")).toEqual({});
  expect(match("/", "/")).toEqual({});
  expect(match("/runs/:id", "/runs")).toBeUndefined();
  expect(match("/runs/:id", "/events/1")).toBeUndefined();
  expect(match("/runs/:id", "/runs/%E0%A4%A")).toBeUndefined();
});
