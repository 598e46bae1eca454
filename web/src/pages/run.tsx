import { useEffect, useState } from "preact/hooks";
import { href, message, post } from "../lib/api";
import { errorParts } from "../lib/json";
import { aboutRun, never, paused, useLive } from "../lib/live";
import { navigate, withQuery } from "../lib/router";
import { duration, now, sawServerTime } from "../lib/time";
import { ended, type Attempt, type Measure, type QEvent, type RunDetail, type Step, type Waiting } from "../lib/types";
import { taskApp, tasksApi } from "../lib/tasks";
import { measured, runDuration, waitingWords } from "../lib/words";
import { AttemptView } from "../ui/attempt";
import { Icon } from "../ui/icons";
import { JsonView } from "../ui/json";
import { Dialog } from "../ui/dialog";
import { At, Countdown, ErrorView, Id, LiveButton, PageHead, Problem, Sentence, Skeleton, Status, toast } from "../ui/parts";
import { ReplayDialog } from "../ui/replay";
import { sending } from "../ui/send";
import { Trace } from "../ui/trace";
import { Waterfall } from "../ui/waterfall";
import { Cause } from "./runs";

export function RunPage({ id }: { id: string }) {
  const live = useLive<RunDetail>(`/runs/${encodeURIComponent(id)}?payload=0`, aboutRun(id));
  const [cancelling, setCancelling] = useState(false);
  const [replaying, setReplaying] = useState(false);
  const d = live.data;
  const run = d?.run;
  const task = run?.app === taskApp ? `run_${id.toLowerCase()}` : ""; // its id in the SDK
  useEffect(() => {
    if (d) sawServerTime(d.now);
  }, [d?.now]);
  useEffect(() => {
    if (run) document.title = `${run.status}: ${run.function} · Quartet`;
  }, [run?.status, run?.function]);
  const rerun = async () => {
    try {
      const { run: next } = await post<{ run: string }>(`/runs/${id}/rerun`);
      toast("A new run was started.");
      navigate(href(`/runs/${next}`));
    } catch (err) {
      toast(message(err), { tone: "bad" });
    }
  };
  return (
    <>
      <PageHead
        title={run ? run.function : "Run"} back={<a href={href("/runs")}>Runs</a>}
        sub={<>{run && <Status is={run.status} />}<Id id={id} what="run id" />{run?.function === "qstash-message" && <a href={href(`/messages/msg_${id}`)}>See its message</a>}</>}
      >
        {run && (task ? <button type="button" onClick={() => setReplaying(true)}><Icon name="rerun" />Replay…</button> : <button type="button" onClick={() => void rerun()}><Icon name="rerun" />Rerun</button>)}
        {run && !ended(run.status) && <button type="button" class="danger" onClick={() => setCancelling(true)}><Icon name="failed" />Cancel…</button>}
        <LiveButton stale={live.stale} />
      </PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {d && <Details d={d} refresh={live.refresh} />}
      {cancelling && (
        <Dialog title="Cancel this run?" submit="Cancel the run" danger onClose={() => setCancelling(false)} onSubmit={async () => {
          await post(task ? tasksApi(`/api/v2/runs/${task}/cancel`) : `/runs/${id}/cancel`);
          toast("The run was cancelled.");
          live.refresh();
        }}>
          <p>{task ? "Its process is told to stop. The runs that it triggered are cancelled too." : "No further step starts. What a step is doing right now in the app is not interrupted, but its result is dropped."}</p>
        </Dialog>
      )}
      {replaying && <ReplayDialog id={task} onClose={() => setReplaying(false)} />}
    </>
  );
}

function Details({ d, refresh }: { d: RunDetail; refresh: () => void }) {
  const { run, attempts } = d;
  const took = runDuration(run, now.value);
  return (
    <>
      {!ended(run.status) && <WaitingPanel d={d} refresh={refresh} />}
      {run.status === "failed" && <FailedPanel d={d} />}
      {run.reason && <div class="notice"><Icon name={run.status === "skipped" ? "skipped" : "cancelled"} /><span>{capital(run.status)}: {run.reason}{run.existing && <>. <a href={href(`/runs/${run.existing}`)}>See the other run</a></>}.</span></div>}
      <dl class="facts">
        <div><dt>Started by</dt><dd><Cause run={run} />{run.parent && <> <a href={href(`/runs/${run.parent}`)}>see that run</a></>}{run.original && <> of <a href={href(`/runs/${run.original}`)}>another run</a></>}</dd></div>
        <div><dt>Function</dt><dd><a href={href(`/functions/${encodeURIComponent(run.function)}`)}>{run.function}</a> of <a href={href("/apps")}>{run.app}</a></dd></div>
        <div><dt>Queued</dt><dd><At at={run.queuedAt} /></dd></div>
        {run.startAt !== undefined && run.startAt > run.queuedAt && !run.startedAt && <div><dt>Due</dt><dd><At at={run.startAt} /></dd></div>}
        <div><dt>Started</dt><dd>{run.startedAt ? <><At at={run.startedAt} />{run.startedAt > run.queuedAt && <span class="muted">, after {duration(run.startedAt - run.queuedAt)} in the queue</span>}</> : <span class="muted">not yet</span>}</dd></div>
        {run.endedAt && <div><dt>Ended</dt><dd><At at={run.endedAt} />{took !== undefined && <span class="muted">, took {duration(took)}</span>}</dd></div>}
        {d.tags && <div><dt>Tags</dt><dd class="tags">{d.tags.map((t) => <span key={t} class="badge">{t}</span>)}</dd></div>}
      </dl>
      <Trace run={run} />
      <section>
        <h2>Steps</h2>
        <Waterfall d={d} />
      </section>
      {run.status === "completed" && <section><h2>Output</h2><JsonView value={run.output ?? null} label="output of the run" /></section>}
      {d.metadata !== undefined && <section><h2>Metadata</h2><JsonView value={d.metadata} label="metadata of the run" /></section>}
      {d.measures && <Measures list={d.measures} />}
      <Input events={d.events} ids={run.events} />
      <OtherAttempts attempts={attempts.filter((a) => !a.step)} above={run.status === "failed" || d.waiting.state === "retrying"} />
    </>
  );
}

function Measures({ list }: { list: Measure[] }) {
  return (
    <section>
      <h2>Measurements</h2>
      <details>
        <summary>What its process measured, every few seconds</summary>
        <table class="list" aria-label="Measurements">
          <thead><tr><th scope="col">Measure</th><th scope="col">Last</th><th scope="col">At most</th></tr></thead>
          <tbody>
            {list.map((m) => <tr key={`${m.name} ${m.of}`}><td class="main"><code>{m.name}</code> {m.of}</td><td class="num">{measured(m.last, m.name, m.unit)}</td><td class="num">{measured(m.max, m.name, m.unit)}</td></tr>)}
          </tbody>
        </table>
      </details>
    </section>
  );
}

const capital = (s: string) => s.charAt(0).toUpperCase() + s.slice(1);

/** Says in words what the run is waiting for and when that ends. */
function WaitingPanel({ d, refresh }: { d: RunDetail; refresh: () => void }) {
  const reasons = d.waiting.reasons ?? [];
  const next = Math.min(...reasons.map((r) => r.until ?? Infinity).filter((u) => u > d.now));
  // What was due may have happened without the stream reaching us, so look again.
  useEffect(() => {
    if (!Number.isFinite(next)) return;
    const t = setTimeout(() => paused.peek() || refresh(), Math.min(next - d.now + 500, 2 ** 31 - 1));
    return () => clearTimeout(t);
  }, [next, d.now]);
  if (reasons.length === 0) return null;
  return (
    <section class="panel waiting-panel" aria-label="What this run waits for">
      <h2>{d.waiting.state === "executing" ? "Right now" : "Waiting"}</h2>
      <ul>
        {reasons.map((w, i) => <Reason key={i} w={named(w, d.steps)} d={d} />)}
      </ul>
    </section>
  );
}

/** A step that is tried again right after it was found is the only one there can be. */
function named(w: Waiting, steps: Step[]): Waiting {
  if (w.step || w.what !== "retrying") return w;
  const [one, ...more] = steps.filter((s) => s.state === "retrying" && s.dueAt === w.until);
  return one && more.length === 0 ? { ...w, step: one.name } : w;
}

function Reason({ w, d }: { w: Waiting; d: RunDetail }) {
  const { text, until } = waitingWords(w);
  const step = d.steps.find((s) => s.name === w.step && s.seq === 0);
  const failed = w.what === "retrying" ? d.attempts.filter((a) => (w.step ? a.name === w.step : !a.step)).at(-1) : undefined;
  const icon = w.what === "sleep" ? "sleeping" : w.what === "retrying" ? "retrying" : w.what === "executing" ? "running" : w.what === "run" ? "invoking" : w.what === "blocked" ? "cancelled" : "waiting";
  return (
    <li class={`reason ${w.what}`}>
      <p class="reason-line">
        <Icon name={icon} />
        <span>{step ? text.map((x, i) => (typeof x === "string" ? x : <StepLink key={i} id={step.id} name={x.code} />)) : <Sentence words={text} />}.</span>
        {w.until ? <span class="due">{until} {w.until > now.value ? "in " : ""}<Countdown until={w.until} /></span> : null}
      </p>
      {w.what === "event" && step?.opts?.if && <p class="under">where <code>{step.opts.if}</code></p>}
      {w.what === "event" && step?.opts?.event && <p><button type="button" class="small" onClick={() => (sending.value = { name: step.opts?.event ?? "" })}><Icon name="send" />Send {step.opts.event}…</button></p>}
      {w.what === "run" && step?.childRun && <p class="under"><a href={href(`/runs/${step.childRun}`)}>See the run it waits for</a></p>}
      {w.what === "blocked" && <p class="under"><a href={href("/runs", { function: d.run.function, status: "running" })}>See what is running of this function</a></p>}
      {failed && <AttemptView attempt={failed} title={`What attempt ${failed.attempt + 1} said`} />}
    </li>
  );
}

/**
 * The step whose error ended the run. The SDKs throw it into the function, which may catch it and end with another, so it
 * counts only if it says the same.
 */
function culprit(d: RunDetail): Step | undefined {
  const text = errorParts(d.run.output)?.message;
  const says = (s: Step) => errorParts(d.attempts.filter((a) => a.step === s.id).at(-1)?.error ?? s.output)?.message;
  return text === undefined ? undefined : d.steps.filter((s) => s.state === "failed" && says(s) === text).at(-1);
}

/** Leads to a step in the list below. */
function StepLink({ id, name }: { id: string; name: string }) {
  return <a href={withQuery({ step: id, steps: undefined })}><code>{name}</code></a>;
}

function FailedPanel({ d }: { d: RunDetail }) {
  const last = d.attempts.at(-1);
  const step = culprit(d);
  return (
    <section class="panel failed-panel" aria-label="Why this run failed">
      <h2>Why it failed</h2>
      {step && <p>In step <StepLink id={step.id} name={step.name} />{step.attempt > 0 && `, after ${step.attempt + 1} attempts`}:</p>}
      {d.run.output !== undefined ? <ErrorView value={d.run.output} open /> : last ? <ErrorView value={last.error} open /> : <p>The server has no error on record.</p>}
      {last && <AttemptView attempt={last} title="The app's last answer" withoutError />}
    </section>
  );
}

/** Attempts of the function itself, outside of any step; above is whether the last one is shown at the top of the page. */
function OtherAttempts({ attempts, above }: { attempts: Attempt[]; above: boolean }) {
  if (attempts.length === 0 || (above && attempts.length === 1)) return null;
  return (
    <section>
      <h2>Failed attempts of the function</h2>
      {attempts.map((a, i) => <AttemptView key={i} attempt={a} title={`Attempt ${a.attempt + 1}`} />)}
    </section>
  );
}

function InputEvent({ event: e }: { event: QEvent }) {
  const payload = useLive<QEvent>(`/events/${e.id}`, never);
  return (
    <div class="input-event">
      <p class="input-head"><a class="mono" href={href(`/events/${e.id}`)}>{e.name}</a> <Id id={e.id} what="event id" short /></p>
      {payload.data ? <JsonView value={payload.data.data ?? {}} label={`data of ${e.name}`} /> : payload.error ? <Problem text={payload.error} retry={payload.refresh} /> : <Skeleton />}
    </div>
  );
}

function Input({ events, ids }: { events: QEvent[]; ids: string[] }) {
  const [shown, setShown] = useState(5);
  const gone = ids.length - events.length;
  return (
    <section>
      <h2>{ids.length > 1 ? `Input: ${ids.length} events` : "Input"}</h2>
      {events.slice(0, shown).map((e) => (
        <InputEvent key={e.id} event={e} />
      ))}
      {events.length > shown && <button type="button" onClick={() => setShown(shown + 20)}>Show more of {events.length} events</button>}
      {gone > 0 && <p class="muted">{gone === ids.length ? "The event is no longer stored." : `${gone} events are no longer stored.`}</p>}
    </section>
  );
}

