import { useState } from "preact/hooks";
import { jobStates, queuePath, type JobQueue, type JobQueues } from "../lib/jobs";
import { never, useLive, usePolling } from "../lib/live";
import { place } from "../lib/router";
import { Icon } from "../ui/icons";
import { change } from "../ui/jobs";
import { act } from "../ui/message";
import { Badge, Empty, List, LiveButton, PageHead, Problem, TextFilter, toast, type Column } from "../ui/parts";

const count = (q: JobQueue, ...states: string[]) => states.reduce((n, s) => n + (q.counts[s] ?? 0), 0);

/** All queues of BullMQ, with what is in them. */
export function JobQueuesPage() {
  const live = useLive<JobQueues>("/jobs/queues", never);
  usePolling(live.refresh, 2500);
  const part = place.value.query.get("name") ?? "";
  const [busy, setBusy] = useState(false);
  const all = live.data?.queues;
  const rows = all?.filter((q) => q.name.toLowerCase().includes(part.toLowerCase()));
  const several = (live.data?.sources.length ?? 0) > 1;
  const failed = (rows ?? []).filter((q) => count(q, "failed") > 0);
  const retryAll = async () => {
    setBusy(true);
    await act(async () => {
      let n = 0;
      for (const q of failed) n += (await change<{ count: number }>(q, "retry-all", { state: "failed" })).count;
      toast(`${n} failed ${n === 1 ? "job was" : "jobs were"} put in line again.`);
    }, live.refresh);
    setBusy(false);
  };
  const allPaused = (rows ?? []).every((q) => q.paused);
  const setAll = (paused: boolean) =>
    act(async () => {
      for (const q of rows ?? []) await change(q, paused ? "pause" : "resume");
      toast(paused ? "They are paused: what is active goes on." : "They go on.");
    }, live.refresh);
  const columns: Column<JobQueue>[] = [
    {
      head: "Queue",
      class: "main",
      cell: (q) => (
        <>
          <a class="row" href={queuePath(q)}>{q.name}</a>
          {q.paused && <> <Badge tone="warn">paused</Badge></>}
          {q.prefix !== "bull" && <> <Badge>{q.prefix}</Badge></>}
          {several && <> <Badge>{live.data?.sources.find((s) => s.id === q.source)?.name}</Badge></>}
          <span class="under">{q.workers === 0 ? (count(q, "waiting", "paused", "prioritized", "delayed", "active") > 0 ? "no worker is connected" : "no workers") : `${q.workers} ${q.workers === 1 ? "worker" : "workers"}`}</span>
        </>
      ),
    },
    { head: "Waiting", class: "fit num", cell: (q) => count(q, "waiting", "paused", "prioritized", "waiting-children") },
    { head: "Active", wide: true, class: "fit num", cell: (q) => count(q, "active") },
    { head: "Delayed", wide: true, class: "fit num", cell: (q) => count(q, "delayed") },
    { head: "Completed", wide: true, class: "fit num", cell: (q) => count(q, "completed") },
    { head: "Failed", class: "fit num", cell: (q) => (count(q, "failed") ? <a href={queuePath(q, { state: "failed" })}>{count(q, "failed")}</a> : 0) },
    {
      head: "Do",
      class: "fit",
      cell: (q) => (
        <button type="button" class="small" aria-label={`${q.paused ? "Resume" : "Pause"} the queue ${q.name}`} onClick={() => void act(async () => void (await change(q, q.paused ? "resume" : "pause")), live.refresh)}>
          <Icon name={q.paused ? "running" : "pause"} />{q.paused ? "Resume" : "Pause"}
        </button>
      ),
    },
  ];
  return (
    <>
      <PageHead title="Job queues">
        {(rows?.length ?? 0) > 1 && <button type="button" onClick={() => void setAll(!allPaused)}><Icon name={allPaused ? "running" : "pause"} />{allPaused ? "Resume" : "Pause"} all{part && " of these"}</button>}
        {failed.length > 0 && <button type="button" disabled={busy} onClick={() => void retryAll()}><Icon name="rerun" />Retry all failed{part && " of these"}</button>}
        <LiveButton stale={live.stale} />
      </PageHead>
      {live.data?.sources.some((s) => s.loose) && <div class="notice"><Icon name="warning" /><span>This server answers before a change is on disk (<code>--redis-durability=everysec</code>): a crash may lose the last second.</span></div>}
      {Object.entries(live.data?.problems ?? {}).map(([name, text]) => <Problem key={name} text={`${name}: ${text}`} retry={live.refresh} />)}
      <div class="filters"><TextFilter label="Part of the name" name="name" value={part} options={(all ?? []).map((q) => q.name)} /></div>
      <List
        label="Job queues" live={live} rows={rows} next={undefined} columns={columns} keyOf={(q) => `${q.source} ${q.prefix} ${q.name}`} to={(q) => queuePath(q)}
        empty={part ? <Empty title={`No queue has ${part} in its name.`} /> : <Empty title="No job queues yet."><p>Point a BullMQ client at this server's Redis address, and its queues appear here.</p></Empty>}
      />
    </>
  );
}

/** The states that a queue has jobs in, or that one may want to look at anyway. */
export const shownStates = (q: JobQueue | undefined) => jobStates.filter((s) => s !== "paused" || (q?.counts.paused ?? 0) > 0);
