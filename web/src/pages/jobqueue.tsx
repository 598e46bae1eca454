import { useState } from "preact/hooks";
import { href, query as apiPath } from "../lib/api";
import { jobPath, queueOf, queueParams, queuePath, type Job, type JobQueue, type JobScheduler, type JobState } from "../lib/jobs";
import { never, useLive, usePolling } from "../lib/live";
import { navigate, place } from "../lib/router";
import { absolute, duration } from "../lib/time";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { AddJob, change, EditNumber } from "../ui/jobs";
import { act } from "../ui/message";
import { Ago, Badge, Choice, Countdown, Empty, List, LiveButton, PageHead, Problem, Skeleton, TextFilter, toast, type Column } from "../ui/parts";
import { shownStates } from "./jobqueues";

const retryable: JobState[] = ["failed", "completed", "delayed"];

type Ask = "add" | "clean" | "drain" | "obliterate" | "concurrency" | "rate";

/** One queue: its jobs by state, its workers, schedulers and limits. */
export function JobQueuePage() {
  const q = place.value.query;
  const ref = queueOf(q);
  const state = (q.get("state") ?? "waiting") as JobState;
  const search = q.get("search") ?? "";
  const queue = useLive<JobQueue>(apiPath("/jobs/queue", queueParams(ref)), never);
  const jobs = useLive<{ jobs: Job[]; next: string }>(apiPath("/jobs", { ...queueParams(ref), state, search, start: q.get("start") ?? "" }), never);
  const [asking, setAsking] = useState<Ask>();
  const refresh = () => {
    queue.refresh();
    jobs.refresh();
  };
  usePolling(refresh, 2000);
  const d = queue.data;
  const rows = jobs.data?.jobs;
  const retryAll = () =>
    act(async () => {
      const { count } = await change<{ count: number }>(ref, "retry-all", { state });
      toast(`${count} ${count === 1 ? "job was" : "jobs were"} put in line.`);
    }, refresh);
  const columns: Column<Job>[] = [
    {
      head: "Job",
      class: "main",
      cell: (j) => (
        <>
          <a class="row" href={jobPath(ref, j.id)}>{j.name || <span class="muted">no name</span>}</a> <code>{j.id}</code>
          {j.priority ? <> <Badge>priority {j.priority}</Badge></> : null}
          {j.scheduler && <> <Badge>scheduled</Badge></>}
          {j.stalled ? <> <Badge tone="warn">stalled {j.stalled}×</Badge></> : null}
          {j.error && <span class="reason-text">{j.error}</span>}
        </>
      ),
    },
    { head: "Attempts", wide: true, class: "fit num", cell: (j) => `${j.attempts} of ${j.maxAttempts}` },
    { head: "Added", wide: true, class: "fit num", cell: (j) => <Ago at={j.addedAt} /> },
    state === "delayed"
      ? { head: "Due", class: "fit num", cell: (j) => (j.dueAt ? <Countdown until={j.dueAt} /> : "") }
      : { head: j0(state), class: "fit num", cell: (j) => <Ago at={j.endedAt ?? j.startedAt ?? j.addedAt} /> },
    { head: "Do", class: "fit do", cell: (j) => <JobButtons job={j} state={state} queue={ref} refresh={refresh} /> },
  ];
  return (
    <>
      <PageHead title={ref.name} back={<a href={href("/jobs")}>Job queues</a>} sub={<>{d?.paused && <Badge tone="warn">paused</Badge>}{d?.version && <span class="muted">{d.version}</span>}</>}>
        <button type="button" onClick={() => setAsking("add")}><Icon name="send" />Add job…</button>
        {d && <button type="button" onClick={() => void act(async () => void (await change(ref, d.paused ? "resume" : "pause")), refresh)}><Icon name={d.paused ? "running" : "pause"} />{d.paused ? "Resume" : "Pause"}</button>}
        <LiveButton stale={queue.stale || jobs.stale} />
      </PageHead>
      {queue.error && <Problem text={queue.error} retry={queue.refresh} />}
      {queue.loading && <Skeleton />}
      {d && <Facts d={d} ask={setAsking} refresh={refresh} />}
      <h2 class="unseen">Jobs</h2>
      <div class="filters">
        <Choice label="State" name="state" value={state === "waiting" ? "" : state} options={shownStates(d).map((s) => ({ value: s === "waiting" ? "" : s, text: <>{s} <span class="muted">{d?.counts[s] ?? ""}</span></> }))} />
      </div>
      <div class="filters many">
        <TextFilter label="Id, or part of a name, data or error" name="search" value={search} options={[]} />
        {retryable.includes(state) && (d?.counts[state] ?? 0) > 0 && <button type="button" class="small" onClick={() => void retryAll()}><Icon name="rerun" />{state === "delayed" ? "Promote all" : "Retry all"}</button>}
        {state !== "waiting-children" && (d?.counts[state] ?? 0) > 0 && <button type="button" class="small danger" onClick={() => setAsking("clean")}><Icon name="failed" />Clean…</button>}
      </div>
      <List
        label="Jobs" live={jobs} rows={rows} next={jobs.data?.next || undefined} cursor="start" columns={columns} keyOf={(j) => j.id} to={(j) => jobPath(ref, j.id)}
        empty={<Empty title={search ? "No job has this in it." : `No ${state} jobs.`}>{search && <a href={queuePath(ref, { state })}>Show all {state} jobs</a>}</Empty>}
      />
      {d && d.schedulers > 0 && <Schedulers queue={ref} />}
      {d && <Throughput d={d} />}
      {d?.workerList && <Workers d={d} />}
      {asking === "add" && <AddJob queue={ref} onClose={() => setAsking(undefined)} added={(id) => navigate(jobPath(ref, id))} />}
      {asking === "clean" && (
        <Dialog title={`Remove all ${state} jobs?`} submit="Remove" danger onClose={() => setAsking(undefined)} onSubmit={async () => {
          const { count } = await change<{ count: number }>(ref, "clean", { state });
          toast(`${count} removed.`);
          refresh();
        }}>
          <p>Jobs that a worker is working on and the next runs of schedulers stay.</p>
        </Dialog>
      )}
      {asking === "drain" && (
        <Dialog title={`Empty ${ref.name}?`} submit="Empty" danger onClose={() => setAsking(undefined)} onSubmit={async () => {
          const { count } = await change<{ count: number }>(ref, "drain", { state: "delayed" });
          toast(`${count} removed.`);
          refresh();
        }}>
          <p>All jobs that wait or are delayed are removed. Those that are active or have ended stay.</p>
        </Dialog>
      )}
      {asking === "obliterate" && (
        <Dialog title={`Delete the queue ${ref.name}?`} submit="Delete" danger onClose={() => setAsking(undefined)} onSubmit={async () => {
          await change(ref, "pause");
          await change(ref, "obliterate", { force: true });
          toast(`The queue ${ref.name} is gone.`);
          navigate(href("/jobs"));
        }}>
          <p>The queue goes with all its jobs, the active ones too, its schedulers and its events.</p>
        </Dialog>
      )}
      {asking === "concurrency" && d && (
        <EditNumber title="Jobs at a time in the whole queue" label="At most" hint="0 takes the limit away." value={d.concurrency} onClose={() => setAsking(undefined)} submit={async (n) => {
          await change(ref, "concurrency", { concurrency: n });
          refresh();
        }} />
      )}
      {asking === "rate" && d && (
        <EditNumber title="Jobs that may begin each second" label="At most" hint="0 takes the limit away." value={d.max && d.duration ? Math.round((d.max * 1000) / d.duration) : 0} onClose={() => setAsking(undefined)} submit={async (n) => {
          await change(ref, "rate-limit", { max: n, duration: 1000 });
          refresh();
        }} />
      )}
    </>
  );
}

/** What the last column is about. */
const j0 = (state: JobState) => ({ active: "Began", completed: "Ended", failed: "Failed" })[state as string] ?? "Since";

function JobButtons({ job, state, queue, refresh }: { job: Job; state: JobState; queue: ReturnType<typeof queueOf>; refresh: () => void }) {
  const what = `job ${job.id}`;
  return (
    <>
      {(state === "failed" || state === "completed") && <button type="button" class="icon-button" title="Retry" aria-label={`Retry ${what}`} onClick={() => void act(async () => void (await change(queue, "retry", { id: job.id, state })), refresh)}><Icon name="rerun" /></button>}
      {state === "delayed" && <button type="button" class="icon-button" title="Promote: run it now" aria-label={`Promote ${what}`} onClick={() => void act(async () => void (await change(queue, "promote", { id: job.id })), refresh)}><Icon name="running" /></button>}
      {state !== "active" && <button type="button" class="icon-button" title="Remove" aria-label={`Remove ${what}`} onClick={() => void act(async () => void (await change(queue, "remove", { id: job.id, children: true })), refresh)}><Icon name="failed" /></button>}
    </>
  );
}

function Facts({ d, ask, refresh }: { d: JobQueue; ask: (what: Ask) => void; refresh: () => void }) {
  void refresh;
  const minute = (s: string) => d.metrics?.[s]?.points[0];
  const counted = (d.metrics?.completed?.total ?? 0) + (d.metrics?.failed?.total ?? 0) > 0;
  return (
    <dl class="facts">
      <div><dt>Workers</dt><dd>{d.workers === 0 ? <>none{(d.counts.waiting ?? 0) > 0 && <>: <strong>nobody takes the jobs that wait</strong></>}</> : d.workers}</dd></div>
      <div><dt>At a time</dt><dd>{d.concurrency ? `${d.concurrency} in the whole queue` : "as many as the workers take"} <button type="button" class="small" onClick={() => ask("concurrency")}>Change…</button></dd></div>
      <div><dt>Rate limit</dt><dd>{d.max ? `${d.max} in ${duration(d.duration)}` : "none of the queue's own"}{d.limitedFor > 0 && <span class="muted">, a period ends in {duration(d.limitedFor)}</span>} <button type="button" class="small" onClick={() => ask("rate")}>Change…</button></dd></div>
      {counted && <div><dt>Last minute</dt><dd>{minute("completed") ?? 0} completed, {minute("failed") ?? 0} failed<span class="muted">, of {(d.metrics?.completed?.total ?? 0) + (d.metrics?.failed?.total ?? 0)} that were counted</span></dd></div>}
      <div><dt>All of it</dt><dd><button type="button" class="small" onClick={() => ask("drain")}>Empty…</button> <button type="button" class="small danger" onClick={() => ask("obliterate")}>Delete…</button></dd></div>
    </dl>
  );
}

/** What ended in each of the last minutes, the newest on the right. */
function Throughput({ d }: { d: JobQueue }) {
  const minutes = 60;
  const bars = Array.from({ length: minutes }, (_, i) => ({ done: d.metrics?.completed?.points[minutes - 1 - i] ?? 0, failed: d.metrics?.failed?.points[minutes - 1 - i] ?? 0 }));
  const most = Math.max(...bars.map((b) => b.done + b.failed));
  if (most === 0) return null;
  const total = bars.reduce((n, b) => n + b.done, 0), lost = bars.reduce((n, b) => n + b.failed, 0);
  return (
    <section>
      <h2>The last hour</h2>
      <p class="muted">{total} completed, {lost} failed; at most {most} in a minute.</p>
      <svg class="throughput" viewBox={`0 0 ${minutes * 10} 60`} preserveAspectRatio="none" role="img" aria-label={`Jobs that ended in each of the last ${minutes} minutes`}>
        {bars.map((b, i) => {
          const done = (b.done / most) * 56, failed = (b.failed / most) * 56;
          return <g key={i}><rect class="done" x={i * 10 + 1} y={58 - done} width={8} height={done} /><rect class="failed" x={i * 10 + 1} y={58 - done - failed} width={8} height={failed} /></g>;
        })}
      </svg>
    </section>
  );
}

function Workers({ d }: { d: JobQueue }) {
  return (
    <section>
      <h2>Workers</h2>
      <table class="list">
        <thead><tr><th scope="col" class="main">Worker</th><th scope="col" class="wide fit num">Connected for</th><th scope="col" class="fit num">Last asked for work</th></tr></thead>
        <tbody>{d.workerList?.map((w) => <tr key={w.addr}><td class="main">{w.name || <span class="muted">no name</span>} <code>{w.addr}</code></td><td class="wide fit num">{duration(w.age * 1000)}</td><td class="fit num">{duration(w.idle * 1000)} ago</td></tr>)}</tbody>
      </table>
    </section>
  );
}

function Schedulers({ queue }: { queue: ReturnType<typeof queueOf> }) {
  const live = useLive<{ schedulers: JobScheduler[] }>(apiPath("/jobs/schedulers", queueParams(queue)), never);
  usePolling(live.refresh, 5000);
  const [removing, setRemoving] = useState<JobScheduler>();
  return (
    <section>
      <h2>Schedulers</h2>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      <table class="list">
        <thead><tr><th scope="col" class="main">Scheduler</th><th scope="col" class="wide fit num">Runs</th><th scope="col" class="fit num">Next</th><th scope="col" class="fit">Do</th></tr></thead>
        <tbody>
          {live.data?.schedulers.map((s) => (
            <tr key={s.id}>
              <td class="main"><strong>{s.id}</strong> <span class="under">{s.pattern ? <><code>{s.pattern}</code>{s.zone && ` in ${s.zone}`}</> : `every ${duration(s.every ?? 0)}`}, makes {s.name}</span></td>
              <td class="wide fit num">{s.runs}{s.limit ? ` of ${s.limit}` : ""}</td>
              <td class="fit num" title={absolute(s.nextAt)}>in <Countdown until={s.nextAt} /></td>
              <td class="fit do">
                <button type="button" class="icon-button" title="Run now" aria-label={`Run ${s.id} now`} onClick={() => void act(async () => void toast(`The job ${(await change<{ id: string }>(queue, "run-scheduler", { id: s.id })).id} was added.`), live.refresh)}><Icon name="running" /></button>
                <button type="button" class="icon-button" title="Remove…" aria-label={`Remove ${s.id}…`} onClick={() => setRemoving(s)}><Icon name="failed" /></button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {removing && (
        <Dialog title={`Remove the scheduler ${removing.id}?`} submit="Remove" danger onClose={() => setRemoving(undefined)} onSubmit={async () => {
          await change(queue, "unschedule", { id: removing.id });
          live.refresh();
        }}>
          <p>It makes no more jobs, and the one that it made for its next time goes too.</p>
        </Dialog>
      )}
    </section>
  );
}
