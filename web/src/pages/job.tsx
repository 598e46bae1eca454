import { useState } from "preact/hooks";
import { query as apiPath } from "../lib/api";
import { jobPath, queueOf, queueParams, queuePath, type JobDetail, type JobNode } from "../lib/jobs";
import { never, useLive, usePolling } from "../lib/live";
import { navigate, place } from "../lib/router";
import { duration, now } from "../lib/time";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { AddJob, change, EditData, EditNumber, JobStateView } from "../ui/jobs";
import { JsonView } from "../ui/json";
import { act } from "../ui/message";
import { At, Countdown, Id, LiveButton, PageHead, Problem, Skeleton, toast } from "../ui/parts";

type Ask = "remove" | "data" | "delay" | "priority" | "again";

/** Everything about one job. */
export function JobPage() {
  const q = place.value.query;
  const ref = queueOf(q);
  const id = q.get("id") ?? "";
  const live = useLive<JobDetail>(apiPath("/jobs/job", { ...queueParams(ref), id }), never);
  usePolling(live.refresh, 1500);
  const [asking, setAsking] = useState<Ask>();
  const d = live.data;
  const j = d?.job;
  const ended = j?.state === "failed" || j?.state === "completed";
  const act1 = (action: string, body: Record<string, unknown>, said: string) =>
    act(async () => {
      await change(ref, action, { id, ...body });
      toast(said);
    }, live.refresh);
  return (
    <>
      <PageHead title={j ? j.name || `Job ${id}` : "Job"} back={<a href={queuePath(ref)}>{ref.name}</a>} sub={<>{j?.state && <JobStateView is={j.state} />}<Id id={id} what="job id" /></>}>
        {ended && <button type="button" onClick={() => void act1("retry", { state: j?.state }, "The job is in line again.")}><Icon name="rerun" />Retry</button>}
        {j?.state === "delayed" && <button type="button" onClick={() => void act1("promote", {}, "The job is in line.")}><Icon name="running" />Promote</button>}
        {j?.state === "delayed" && <button type="button" onClick={() => setAsking("delay")}>Delay…</button>}
        {(j?.state === "waiting" || j?.state === "prioritized") && <button type="button" onClick={() => setAsking("priority")}>Priority…</button>}
        {j && <button type="button" onClick={() => setAsking("again")}><Icon name="copy" />Add one like it…</button>}
        {j && j.state !== "active" && <button type="button" class="danger" onClick={() => setAsking("remove")}><Icon name="failed" />Remove…</button>}
        <LiveButton stale={live.stale} />
      </PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {d && j && (
        <>
          {j.error && (
            <section class={`panel ${j.state === "failed" ? "failed-panel" : ""}`} aria-label="Why it failed">
              <h2>{j.state === "failed" ? "Why it failed" : "What its last failed attempt said"}</h2>
              <p><strong>{j.error}</strong></p>
              {j.stack && j.stack.length > 0 && [...j.stack].reverse().map((s, i) => <details key={i} open={i === 0}><summary>{i === 0 ? "Its stack" : `The attempt before${i > 1 ? ` (${i})` : ""}`}</summary><pre class="mono">{s}</pre></details>)}
            </section>
          )}
          <dl class="facts">
            <div><dt>Added</dt><dd><At at={j.addedAt} />{j.scheduler && <span class="muted">, by the scheduler {j.scheduler}</span>}</dd></div>
            {j.dueAt && <div><dt>Due</dt><dd><At at={j.dueAt} /> <span class="muted">(<Countdown until={j.dueAt} />)</span></dd></div>}
            {j.startedAt && <div><dt>{ended ? "Last attempt" : "Began"}</dt><dd><At at={j.startedAt} />{j.worker && <span class="muted">, by {j.worker}</span>}{j.startedAt > j.addedAt && <span class="muted">, {duration(j.startedAt - j.addedAt)} after it was added</span>}</dd></div>}
            {j.endedAt && <div><dt>Ended</dt><dd><At at={j.endedAt} />{j.startedAt && <span class="muted">, took {duration(j.endedAt - j.startedAt)}</span>}</dd></div>}
            {j.state === "active" && j.startedAt && <div><dt>Running for</dt><dd>{duration(Math.max(0, now.value - j.startedAt))}</dd></div>}
            <div><dt>Attempts</dt><dd>{j.attempts} of {j.maxAttempts}{j.attemptsStarted !== j.attempts && <span class="muted">, {j.attemptsStarted} begun</span>}{j.stalled ? <span class="muted">, its worker was lost {j.stalled}×</span> : null}</dd></div>
            {j.priority ? <div><dt>Priority</dt><dd>{j.priority}</dd></div> : null}
            {j.deduplicationId && <div><dt>Deduplication</dt><dd><code>{j.deduplicationId}</code></dd></div>}
            {j.progress !== undefined && <div><dt>Progress</dt><dd>{typeof j.progress === "number" ? <><progress max={100} value={j.progress} aria-label="Progress" /> {j.progress} %</> : <JsonView value={j.progress} label="progress" />}</dd></div>}
            {j.parent && <div><dt>Parent</dt><dd><a href={jobPath(j.parent, j.parent.id)}>{j.parent.id}</a> of {j.parent.name}</dd></div>}
          </dl>
          {d.flow.children && <section><h2>Flow</h2><ul class="flow"><FlowNode node={d.flow} here={id} /></ul></section>}
          <section>
            <h2>Data</h2>
            <JsonView value={j.data ?? null} label={`data of job ${id}`} />
            <p><button type="button" class="small" onClick={() => setAsking("data")}>Edit data…</button></p>
          </section>
          {j.state === "completed" && <section><h2>Result</h2><JsonView value={j.result ?? null} label={`result of job ${id}`} /></section>}
          <section><h2>Options</h2><JsonView value={j.options ?? {}} label={`options of job ${id}`} /></section>
          {d.logCount > 0 && <section><h2>Log</h2>{d.logCount > d.logs.length && <p class="muted">The first {d.logs.length} of {d.logCount} rows.</p>}<pre class="mono">{d.logs.join("\n")}</pre></section>}
        </>
      )}
      {asking === "again" && j && <AddJob queue={ref} from={j} onClose={() => setAsking(undefined)} added={(next) => navigate(jobPath(ref, next))} />}
      {asking === "data" && j && <EditData queue={ref} job={j} onClose={() => setAsking(undefined)} changed={live.refresh} />}
      {asking === "priority" && j && <EditNumber title="Priority" label="Priority" hint="1 comes before 2, and 0 before all of them." value={j.priority ?? 0} onClose={() => setAsking(undefined)} submit={(n) => act1("priority", { priority: n }, "The priority was changed.")} />}
      {asking === "delay" && j && <EditNumber title="Delay from now" label="Seconds" value={60} onClose={() => setAsking(undefined)} submit={(n) => act1("delay", { delay: n * 1000 }, "The delay was changed.")} />}
      {asking === "remove" && (
        <Dialog title="Remove this job?" submit="Remove" danger onClose={() => setAsking(undefined)} onSubmit={async () => {
          await change(ref, "remove", { id, children: true });
          toast("The job was removed.");
          navigate(queuePath(ref));
        }}>
          <p>It goes with its log{d?.flow.children ? " and the jobs that it waits for" : ""}.</p>
        </Dialog>
      )}
    </>
  );
}

function FlowNode({ node, here }: { node: JobNode; here: string }) {
  const title = node.job || node.id;
  return (
    <li>
      <JobStateView is={node.state} /> {node.id === here ? <strong>{title}</strong> : <a href={jobPath(node, node.id)}>{title}</a>} <span class="muted">of {node.name}</span>
      {node.children && <ul class="flow">{node.children.map((c) => <FlowNode key={`${c.prefix} ${c.name} ${c.id}`} node={c} here={here} />)}</ul>}
      {node.more && <p class="muted">It has more children than are shown.</p>}
    </li>
  );
}
