// What a run told while it executed: a tree of spans with their times, lines of its log among them, each with its details to unfold.
import { useState } from "preact/hooks";
import { href } from "../lib/api";
import { aboutTrace, never, useLive } from "../lib/live";
import { navigate, place, withQuery } from "../lib/router";
import { makeScale, type Scale } from "../lib/scale";
import { absolute, duration, now } from "../lib/time";
import { rows, type TraceRow } from "../lib/tree";
import type { Run, RunTrace, TraceDetail, TraceSpan } from "../lib/types";
import type { Segment } from "../lib/words";
import { Icon } from "./icons";
import { JsonView } from "./json";
import { Choice, ErrorView, Id, Problem, Skeleton } from "./parts";
import { Axis, Bar } from "./waterfall";

const manyRows = 300; // shown before one asks for more

const filters: { value: string; text: string; takes: (s: TraceSpan) => boolean }[] = [
  { value: "", text: "All", takes: () => true },
  { value: "errors", text: "Errors", takes: (s) => s.failed === true },
  { value: "log", text: "Log", takes: (s) => s.level !== undefined },
];

/** The section of a run's page; nothing for a run that told nothing. */
export function Trace({ run }: { run: Run }) {
  const live = useLive<RunTrace>(`/runs/${encodeURIComponent(run.id)}/trace`, aboutTrace(run.id));
  const [folded, setFolded] = useState<Set<string>>(new Set());
  const [shown, setShown] = useState(manyRows);
  if (live.error) return <section><h2>Trace</h2><Problem text={live.error} retry={live.refresh} /></section>;
  const d = live.data;
  const first = d?.spans[0];
  if (!d || !first) return null;
  const until = run.endedAt ?? Math.max(now.value, d.now);
  const wanted = place.value.query.get("trace") ?? "";
  const chosen = place.value.query.get("span") ?? "";
  const filter = filters.find((f) => f.value === wanted)?.takes;
  const all = wanted && filter ? d.spans.filter(filter).map((span): TraceRow => ({ span, depth: 0, inside: 0, failedInside: false })) : rows(d.spans, folded);
  const visible = all.slice(0, Math.max(shown, all.findIndex((r) => r.span.id === chosen) + 1));
  const busy = d.spans.filter((s) => s.level === undefined).map((s) => ({ from: s.start, to: s.end ?? until }));
  const scale = makeScale(first.start, Math.max(...d.spans.map((s) => s.end ?? until)), busy);
  const fold = (id: string) => setFolded((old) => {
    const next = new Set(old);
    if (!next.delete(id)) next.add(id);
    return next;
  });
  return (
    <section aria-label="Trace">
      <h2>Trace</h2>
      <div class="filters">
        <Choice label="Show" name="trace" value={wanted} options={filters.map((f) => ({ value: f.value, text: <>{f.text} <span class="muted">{d.spans.filter(f.takes).length}</span></> }))} />
        {wanted === "" && <button type="button" class="small" onClick={() => setFolded(folded.size > 0 ? new Set() : new Set(rows(d.spans, new Set()).filter((r) => r.inside > 0).map((r) => r.span.id)))}>{folded.size > 0 ? "Unfold all" : "Fold all"}</button>}
      </div>
      <div class="waterfall trace">
        <Axis scale={scale} />
        {visible.map((r) => <Row key={r.span.id} row={r} run={run} scale={scale} until={until} folded={folded.has(r.span.id)} fold={fold} open={chosen === r.span.id} />)}
        {all.length > visible.length && <button type="button" onClick={() => setShown(visible.length + manyRows)}>{all.length - visible.length} more</button>}
        {all.length === 0 && <p class="muted none">There is nothing like that.</p>}
        {d.more > 0 && <p class="muted none">{d.more} later ones are not shown.</p>}
      </div>
    </section>
  );
}

const maxIndent = 12; // levels; what is deeper stands below the last

function Row({ row, run, scale, until, folded, fold, open }: { row: TraceRow; run: Run; scale: Scale; until: number; folded: boolean; fold: (id: string) => void; open: boolean }) {
  const { span: s } = row;
  const end = s.end ?? until;
  const log = s.level !== undefined;
  const segments: Segment[] = [{ kind: s.failed ? "failed" : s.cancelled ? "queued" : s.end === undefined ? "working" : log ? "waiting" : "done", from: s.start, to: end, title: s.name }];
  const id = `span-${s.id}`;
  const choose = () => navigate(withQuery({ span: open ? undefined : s.id }), { replace: true });
  return (
    <div class={`step span ${open ? "open" : ""} ${log ? "log" : ""} ${s.failed ? "failed" : ""}`}>
      <div class="step-row">
        <span class="step-name" style={{ paddingLeft: `${Math.min(row.depth, maxIndent) * 14}px` }}>
          {row.inside > 0 ? (
            <button type="button" class="twist" aria-expanded={!folded} aria-label={`${folded ? "Unfold" : "Fold"} ${s.name}`} onClick={() => fold(s.id)}><Icon name="chevron" /></button>
          ) : <span class="twist" />}
          <button type="button" class="span-title" aria-expanded={open} aria-controls={id} onClick={choose}>
            {log && <span class={`badge level ${s.level}`}>{s.level}</span>}
            <span class="step-title">{s.name || "(nothing)"}</span>
            {s.failed && !log && <span class="badge bad"><Icon name="failed" />failed</span>}
            {s.cancelled && <span class="badge"><Icon name="cancelled" />cancelled</span>}
            {folded && <span class="muted">{row.inside} inside{row.failedInside && ", with errors"}</span>}
          </button>
        </span>
        <Bar scale={scale} segments={segments} />
        <span class="step-took">{log ? `+${duration(s.start - scale.from)}` : s.end === undefined ? <>{duration(end - s.start)}…</> : duration(end - s.start)}</span>
      </div>
      {open && <div id={id} class="step-details"><Details span={s} run={run} /></div>}
    </div>
  );
}

function Details({ span: s, run }: { span: TraceSpan; run: Run }) {
  // Nothing about it changes once it has ended.
  const live = useLive<TraceDetail>(`/runs/${encodeURIComponent(run.id)}/spans/${s.id}${s.end === undefined ? "" : "?ended=1"}`, s.end === undefined ? aboutTrace(run.id) : never);
  const d = live.data;
  if (live.error) return <Problem text={live.error} retry={live.refresh} />;
  if (!d) return <Skeleton />;
  const other = relatedRun(d, run.id);
  return (
    <>
      {d.level !== undefined && <pre class="body">{d.name}</pre>}
      <dl class="facts">
        {d.level === undefined && <div><dt>Started</dt><dd>{absolute(d.start)}</dd></div>}
        {d.level === undefined && <div><dt>Ended</dt><dd>{d.end === undefined ? <span class="muted">not yet</span> : <>{absolute(d.end)}<span class="muted">, took {duration(d.end - d.start)}</span></>}</dd></div>}
        {d.level !== undefined && <div><dt>Written</dt><dd>{absolute(d.start)}</dd></div>}
        {d.level !== undefined && <div><dt>Level</dt><dd>{d.level}</dd></div>}
        {d.attempt !== undefined && <div><dt>Attempt</dt><dd>{d.attempt}</dd></div>}
        {d.entity && <div><dt>About</dt><dd>{d.entity}{d.entityId && <> <Id id={d.entityId} what={d.entity} short /></>}</dd></div>}
        {other && <div><dt>Its run</dt><dd><a href={href(`/runs/${other}`)}>See that run</a></dd></div>}
        <div><dt>Id</dt><dd><Id id={d.id} what="span id" /></dd></div>
      </dl>
      {d.message && <p class="error-message"><strong>{d.message}</strong></p>}
      {d.attributes !== undefined && <><h3>Attributes</h3><JsonView value={d.attributes} label={`attributes of ${d.level === undefined ? d.name : "the line"}`} /></>}
      {d.output !== undefined && <><h3>Output</h3><JsonView value={d.output} label={`output of ${d.name}`} /></>}
      {d.events.length > 0 && (
        <>
          <h3>Events</h3>
          {d.events.map((e, i) => (
            <div key={i} class="span-event">
              <p><strong>{e.name}</strong> <span class="muted">{absolute(e.time)}</span></p>
              {exception(e.attributes) ? <ErrorView value={exception(e.attributes)} /> : e.attributes !== undefined && <JsonView value={e.attributes} label={`attributes of ${e.name}`} />}
            </div>
          ))}
        </>
      )}
    </>
  );
}

/** What was thrown, as errors are shown; undefined if the attributes of an event say nothing of the kind. */
function exception(attributes: unknown): unknown {
  const e = (attributes as { exception?: { type?: unknown; message?: unknown; stacktrace?: unknown } } | null | undefined)?.exception;
  return typeof e?.message === "string" ? { name: e.type ?? "Error", message: e.message, stack: e.stacktrace } : undefined;
}

/** The run that a span triggered and waited for, as its page is called. */
function relatedRun(d: TraceDetail, own: string): string | undefined {
  const named = (d.attributes as { runId?: unknown } | null | undefined)?.runId;
  const id = typeof named === "string" ? /^run_([0-9a-z]{26})$/.exec(named)?.[1]?.toUpperCase() : undefined;
  return id === own ? undefined : id;
}
