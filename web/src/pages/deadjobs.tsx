import { jobPath, queuePath, type Job, type QueueRef } from "../lib/jobs";
import { never, useLive, usePolling } from "../lib/live";
import { Icon } from "../ui/icons";
import { change } from "../ui/jobs";
import { act } from "../ui/message";
import { Ago, Empty, List, LiveButton, PageHead, type Column } from "../ui/parts";
import { DeadKinds } from "./deadruns";

type Failed = Job & { queue: QueueRef };

/** The jobs of all queues that failed last. */
export function DeadJobs() {
  const live = useLive<{ jobs: Failed[] }>("/jobs/failed?count=100", never);
  usePolling(live.refresh, 4000);
  const columns: Column<Failed>[] = [
    {
      head: "Job",
      class: "main",
      cell: (j) => (
        <>
          <a class="row" href={jobPath(j.queue, j.id)}>{j.name || j.id}</a>
          <span class="under">{j.id} of <a href={queuePath(j.queue, { state: "failed" })}>{j.queue.name}</a></span>
          {j.error && <span class="reason-text">{j.error}</span>}
        </>
      ),
    },
    { head: "Attempts", wide: true, class: "fit num", cell: (j) => j.attempts },
    { head: "Failed", class: "fit num", cell: (j) => <Ago at={j.endedAt} /> },
    {
      head: "Do",
      class: "fit do",
      cell: (j) => (
        <>
          <button type="button" class="icon-button" title="Retry" aria-label={`Retry job ${j.id}`} onClick={() => void act(async () => void (await change(j.queue, "retry", { id: j.id, state: "failed" })), live.refresh)}><Icon name="rerun" /></button>
          <button type="button" class="icon-button" title="Remove" aria-label={`Remove job ${j.id}`} onClick={() => void act(async () => void (await change(j.queue, "remove", { id: j.id, children: true })), live.refresh)}><Icon name="failed" /></button>
        </>
      ),
    },
  ];
  return (
    <>
      <PageHead title="Dead letters"><LiveButton stale={live.stale} /></PageHead>
      <DeadKinds of="jobs" />
      <List
        label="Dead letters" live={live} rows={live.data?.jobs} next={undefined} columns={columns} keyOf={(j) => `${j.queue.source} ${j.queue.prefix} ${j.queue.name} ${j.id}`} to={(j) => jobPath(j.queue, j.id)}
        empty={<Empty title="No job has failed."><p>A job whose last attempt fails stays here until it is retried or removed, unless its queue removes failed jobs itself.</p></Empty>}
      />
    </>
  );
}
