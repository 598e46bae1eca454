// The tree of what a run told.
import type { TraceSpan } from "./types";

export interface TraceRow {
  span: TraceSpan;
  depth: number;
  inside: number; // spans below it
  failedInside: boolean;
}

/**
 * rows are the spans as a tree that is read from top to bottom, without what is below those in folded. A span whose parent is not there
 * stands at the top: it was triggered from elsewhere, or its parent has not been told of.
 */
export function rows(spans: TraceSpan[], folded: Set<string>): TraceRow[] {
  const known = new Set(spans.map((s) => s.id));
  const below = new Map<string, TraceSpan[]>();
  const top: TraceSpan[] = [];
  for (const s of spans) {
    if (s.parent === undefined || s.parent === s.id || !known.has(s.parent)) top.push(s);
    else {
      const list = below.get(s.parent);
      if (list) list.push(s);
      else below.set(s.parent, [s]);
    }
  }
  const out: TraceRow[] = [];
  const seen = new Set<string>();
  const add = (span: TraceSpan, depth: number, shown: boolean): { count: number; failed: boolean } => {
    if (seen.has(span.id)) return { count: 0, failed: false };
    seen.add(span.id);
    const row: TraceRow = { span, depth, inside: 0, failedInside: false };
    if (shown) out.push(row);
    for (const child of below.get(span.id) ?? []) {
      const { count, failed } = add(child, depth + 1, shown && !folded.has(span.id));
      row.inside += count;
      row.failedInside ||= failed;
    }
    return { count: row.inside + 1, failed: row.failedInside || span.failed === true };
  };
  for (const s of top) add(s, 0, true);
  for (const s of spans) add(s, 0, true); // those that claim to be below each other
  return out;
}
