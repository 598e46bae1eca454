import { expect, test } from "vitest";
import { rows } from "./tree";
import type { TraceSpan } from "./types";

const span = (id: string, parent?: string, more: Partial<TraceSpan> = {}): TraceSpan => ({ id, name: id, start: 0, ...(parent === undefined ? {} : { parent }), ...more });
const text = (spans: TraceSpan[], folded: string[] = []) => rows(spans, new Set(folded)).map((r) => `${" ".repeat(r.depth)}${r.span.id} ${r.inside}${r.failedInside ? "!" : ""}`);

test("spans are shown below their parents, whichever comes first", () => {
  const spans = [span("b", "a"), span("a", "elsewhere"), span("c", "b", { failed: true }), span("d", "a"), span("e")];
  expect(text(spans)).toEqual(["a 3!", " b 1!", "  c 0", " d 0", "e 0"]);
  expect(text(spans, ["b"])).toEqual(["a 3!", " b 1!", " d 0", "e 0"]);
  expect(text(spans, ["a", "e"])).toEqual(["a 3!", "e 0"]);
});

test("spans that claim to be below each other are shown once", () => {
  expect(text([span("a", "b"), span("b", "a"), span("c", "c")])).toEqual(["c 0", "a 1", " b 0"]);
});
