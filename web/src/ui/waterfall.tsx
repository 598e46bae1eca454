// A run's steps and attempts over time, each with its details to unfold.
import { useEffect, useRef, useState } from "preact/hooks";
import { href, post } from "../lib/api";
import { navigate, place, withQuery } from "../lib/router";
import { format } from "../lib/json";
import { makeScale, type Scale } from "../lib/scale";
import { absolute, clockTime, duration, now } from "../lib/time";
import { ended, type Attempt, type RunDetail, type Step } from "../lib/types";
import { stepSegments, stepTypes, type Segment } from "../lib/words";
import { AttemptView } from "./attempt";
import { Dialog, isList, JsonField, jsonProblem } from "./dialog";
import { Icon } from "./icons";
import { JsonView } from "./json";
import { At, Choice, Countdown, ErrorView, Id, Status, toast } from "./parts";

const manySteps = 200; // rows shown before one asks for more
const fewSteps = 12; // up to so many one finds what one looks for without filters

const filters: { value: string; text: string; takes: (s: Step, attempts: Attempt[]) => boolean }[] = [
  { value: "", text: "All", takes: () => true },
  { value: "unfinished", text: "Unfinished", takes: (s) => s.seq === 0 },
  { value: "failed", text: "With failures", takes: (s, attempts) => s.state === "failed" || attempts.length > 0 },
];

export function Waterfall({ d }: { d: RunDetail }) {
  const { run } = d;
  const [shown, setShown] = useState(manySteps);
  const until = run.endedAt ?? Math.max(now.value, d.now);
  const steps = [...d.steps].sort((a, b) => a.queuedAt - b.queuedAt || (a.startedAt ?? Infinity) - (b.startedAt ?? Infinity) || a.seq - b.seq);
  const failed = new Map<string, Attempt[]>();
  for (const a of d.attempts) {
    if (!a.step) continue;
    const of = failed.get(a.step);
    if (of) of.push(a);
    else failed.set(a.step, [a]);
  }
  const rows = steps.map((step) => {
    const attempts = failed.get(step.id) ?? [];
    return { step, attempts, segments: stepSegments(step, attempts, until) };
  });
  const own = d.attempts.filter((a) => !a.step);
  const whole: Segment[] = [];
  if (run.startedAt) {
    if (run.startedAt > run.queuedAt) whole.push({ kind: "queued", from: run.queuedAt, to: run.startedAt, title: "queued" });
    whole.push({ kind: run.status === "failed" ? "failed" : ended(run.status) ? "done" : "working", from: run.startedAt, to: until, title: run.status });
  } else whole.push({ kind: "queued", from: run.queuedAt, to: until, title: "queued" });

  const busy = [...rows.flatMap((r) => r.segments), ...own.map((a): Segment => ({ kind: "failed", from: a.startedAt, to: a.endedAt, title: "" }))].filter((s) => s.kind === "failed" || s.kind === "done" || s.kind === "working");
  const scale = makeScale(run.queuedAt, Math.max(until, ...busy.map((s) => s.to)), busy);
  const chosen = place.value.query.get("step") ?? "";
  const wanted = place.value.query.get("steps") ?? "";
  const filter = filters.find((f) => f.value === wanted)?.takes ?? (() => true);
  const fitting = rows.filter((r) => filter(r.step, r.attempts) || r.step.id === chosen);
  const visible = fitting.slice(0, Math.max(shown, fitting.findIndex((r) => r.step.id === chosen) + 1));
  return (
    <>
      {(rows.length > fewSteps || wanted !== "") && (
        <div class="filters">
          <Choice label="Steps" name="steps" value={wanted} options={filters.map((f) => ({ value: f.value, text: <>{f.text} <span class="muted">{rows.filter((r) => f.takes(r.step, r.attempts)).length}</span></> }))} />
        </div>
      )}
      <div class="waterfall">
        <Axis scale={scale} />
        <div class="step-row whole">
          <span class="step-name"><span class="step-title">Whole run</span></span>
          <Bar scale={scale} segments={whole} />
          <span class="step-took">{run.startedAt ? duration(until - run.startedAt) : ""}</span>
        </div>
        {visible.map((r) => <Row key={r.step.id} {...r} d={d} scale={scale} open={chosen === r.step.id} />)}
        {fitting.length > visible.length && <button type="button" onClick={() => setShown(visible.length + manySteps)}>{fitting.length - visible.length} more steps</button>}
        {rows.length > 0 && fitting.length === 0 && <p class="muted none">No step is {wanted === "failed" ? "failed or was tried again" : "unfinished"}.</p>}
        {rows.length === 0 && <p class="muted none">{run.status === "queued" ? "None yet: the function has not been called." : "None: the function has done its work without steps so far."}</p>}
      </div>
    </>
  );
}

const pct = (x: number) => `${(x * 100).toFixed(3)}%`;

export function Axis({ scale }: { scale: Scale }) {
  return (
    <div class="axis" aria-hidden="true">
      <span title={absolute(scale.from)}>{clockTime(scale.from)}</span>
      <span class="axis-gaps">{scale.gaps.filter((g) => g.right - g.left > 0.08).map((g) => <span key={g.from} style={{ left: pct(g.left), width: pct(g.right - g.left) }}>{duration(g.to - g.from)}</span>)}</span>
      <span title={absolute(scale.to)}>+{duration(scale.to - scale.from)}</span>
    </div>
  );
}

export function Bar({ scale, segments }: { scale: Scale; segments: Segment[] }) {
  return (
    <span class="bar" aria-hidden="true">
      {scale.gaps.map((g) => <span key={`g${g.from}`} class="gap" style={{ left: pct(g.left), width: pct(g.right - g.left) }} title={`${duration(g.to - g.from)}, drawn short`} />)}
      {segments.map((s, i) => {
        const left = scale.at(s.from);
        return <span key={i} class={`seg ${s.kind}`} style={{ left: pct(Math.min(left, 0.996)), width: pct(Math.max(scale.at(s.to) - left, 0)) }} title={`${s.title}: ${duration(s.to - s.from)}`} />;
      })}
    </span>
  );
}

function Row({ step, attempts, segments, d, scale, open }: { step: Step; attempts: Attempt[]; segments: Segment[]; d: RunDetail; scale: Scale; open: boolean }) {
  const work = segments.filter((s) => s.kind !== "queued");
  const took = (work.at(-1)?.to ?? 0) - (work[0]?.from ?? 0);
  const id = `step-${step.id}`;
  const row = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    // It may have been opened by a link from elsewhere; then its details, which are below it, are to be seen too.
    const at = row.current?.getBoundingClientRect();
    if (open && at && (at.top < 0 || at.bottom > innerHeight)) row.current?.scrollIntoView({ block: "start" });
  }, [open]);
  return (
    <div class={`step ${open ? "open" : ""}`}>
      <button type="button" class="step-row" ref={row} aria-expanded={open} aria-controls={id} onClick={() => navigate(withQuery({ step: open ? undefined : step.id }), { replace: true })}>
        <span class="step-name">
          <Icon name="chevron" />
          <span class="step-title">{step.name}</span>
          <span class="step-tags">
            <Status is={step.state} />
            {attempts.length > 0 && <span class="muted">{attempts.length} failed</span>}
          </span>
        </span>
        <Bar scale={scale} segments={segments} />
        <span class="step-took">{step.seq === 0 && step.dueAt && step.dueAt > now.value ? <>in <Countdown until={step.dueAt} /></> : work.length > 0 ? duration(took) : ""}</span>
      </button>
      {open && <div id={id} class="step-details"><StepDetails step={step} attempts={attempts} d={d} /></div>}
    </div>
  );
}

function StepDetails({ step, attempts, d }: { step: Step; attempts: Attempt[]; d: RunDetail }) {
  const [rerunning, setRerunning] = useState(false);
  const o = step.opts ?? {};
  const due = { sleeping: "Wakes up", waiting: "Gives up waiting", invoking: "Gives up waiting", retrying: "Next attempt", planned: "Due" }[step.state as string] ?? "Due";
  const input = step.kind === "input" ? step.output : o.input;
  const began = Math.min(step.startedAt ?? Infinity, attempts[0]?.startedAt ?? Infinity); // a step that failed starts, for the server, when it has
  const made = attempts.length + (step.seq > 0 && step.state !== "failed" ? 1 : 0);
  const rest = Object.fromEntries(Object.entries(o).filter(([k]) => !["event", "if", "signal", "function", "input"].includes(k)));
  return (
    <>
      <dl class="facts">
        <div><dt>Kind</dt><dd>{stepTypes[step.type] ?? step.type}</dd></div>
        {o.event && <div><dt>Event</dt><dd><code>{o.event}</code>{o.if && <> where <code>{o.if}</code></>}{step.event && <>, matched <a href={href(`/events/${step.event}`)}>this event</a></>}</dd></div>}
        {o.signal && <div><dt>Signal</dt><dd><code>{o.signal}</code></dd></div>}
        {o.function && <div><dt>Invokes</dt><dd><a href={href(`/functions/${encodeURIComponent(o.function)}`)}>{o.function}</a></dd></div>}
        {step.childRun && <div><dt>Its run</dt><dd><Id id={step.childRun} what="run id" to={href(`/runs/${step.childRun}`)} /></dd></div>}
        <div><dt>Found</dt><dd><At at={step.queuedAt} /></dd></div>
        {step.seq > 0 && began < Infinity && began !== step.queuedAt && <div><dt>Started</dt><dd>{absolute(began)}<span class="muted">, {duration(began - step.queuedAt)} later</span></dd></div>}
        {step.seq > 0 && step.endedAt && <div><dt>Ended</dt><dd>{absolute(step.endedAt)}{began < Infinity && <span class="muted">, took {duration(step.endedAt - began)}</span>}</dd></div>}
        {step.seq === 0 && step.dueAt && <div><dt>{due}</dt><dd>{absolute(step.dueAt)} <span class="muted">({step.dueAt > now.value ? "in " : ""}<Countdown until={step.dueAt} />)</span></dd></div>}
        {made > 0 && <div><dt>Attempts</dt><dd>{made}{attempts.length > 0 && (attempts.length === made ? ", failed" : `, ${attempts.length} failed`)}</dd></div>}
        <div><dt>Id</dt><dd><Id id={step.id} what="step id" /></dd></div>
      </dl>
      {Object.keys(rest).length > 0 && <><h3>Options</h3><JsonView value={rest} label={`options of ${step.name}`} /></>}
      {input !== undefined && <><h3>Input</h3><JsonView value={input} label={`input of ${step.name}`} /></>}
      {(step.kind === "data" || step.kind === "raw") && <><h3>Output</h3><JsonView value={step.output ?? null} label={`output of ${step.name}`} /></>}
      {step.kind === "error" && attempts.length === 0 && <><h3>Error</h3><ErrorView value={step.output} open /></>}
      {attempts.length > 0 && (
        <>
          <h3>{attempts.length === 1 ? "Failed attempt" : "Failed attempts"}</h3>
          {[...attempts].reverse().map((a) => <AttemptView key={`${a.attempt} ${a.startedAt}`} attempt={a} title={`Attempt ${a.attempt + 1}`} />)}
        </>
      )}
      {!d.driven && <p class="step-actions"><button type="button" onClick={() => setRerunning(true)}><Icon name="rerun" />Rerun from this step…</button></p>}
      {rerunning && <RerunDialog d={d} step={step} input={input} onClose={() => setRerunning(false)} />}
    </>
  );
}

function RerunDialog({ d, step, input, onClose }: { d: RunDetail; step: Step; input: unknown; onClose: () => void }) {
  const editable = stepTypes[step.type] === undefined || step.type === "run";
  const [text, setText] = useState(input === undefined ? "" : format(input));
  const kept = d.steps.slice(0, d.steps.findIndex((s) => s.id === step.id)).filter((s) => s.seq > 0);
  const rerun = async () => {
    const changed = text.trim() !== "" && (input === undefined || text.trim() !== format(input));
    const { run } = await post<{ run: string }>(`/runs/${d.run.id}/rerun`, `{"fromStep":${JSON.stringify(step.id)}${editable && changed ? `,"input":${text}` : ""}}`);
    toast("A new run was started.");
    navigate(href(`/runs/${run}`));
  };
  return (
    <Dialog title={`Rerun from ${step.name}`} submit="Rerun" wide valid={!editable || !jsonProblem(text, true, isList)} onSubmit={rerun} onClose={onClose}>
      <p>
        A new run starts with the same event.{" "}
        {kept.length === 0 ? "No step is kept: all run again." : kept.length <= 4 ? <>It keeps the results of {kept.map((s, i) => <span key={s.id}>{i > 0 && ", "}<code>{s.name}</code></span>)}.</> : `It keeps the results of the ${kept.length} steps before this one.`}
      </p>
      {editable && (
        <JsonField
          label="Input of the step" rows={8} value={text} onInput={setText} optional check={isList} focus
          hint={<>The list of arguments that the step's function is called with, like <code>[{"{"} "id": 7 {"}"}]</code>. Left empty, the step gets what the code gives it.</>}
        />
      )}
    </Dialog>
  );
}
