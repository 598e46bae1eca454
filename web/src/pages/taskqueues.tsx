import { useState } from "preact/hooks";
import { href, post } from "../lib/api";
import { aboutQueues, useLive, usePolling } from "../lib/live";
import { tasksApi, type Bound, type ConcurrencyLimit, type EnvironmentLimit, type TaskQueue } from "../lib/tasks";
import { Icon } from "../ui/icons";
import { EditNumber } from "../ui/jobs";
import { act } from "../ui/message";
import { Badge, Empty, LiveButton, PageHead, Problem, Skeleton, toast } from "../ui/parts";
import { Table } from "../ui/tasks";

export function TaskQueuesPage() {
  const live = useLive<{ data: TaskQueue[] }>(tasksApi("/api/v1/queues", { perPage: 100 }), aboutQueues);
  usePolling(live.refresh, 2000);
  const [limiting, setLimiting] = useState<TaskQueue>();
  const change = (q: TaskQueue, what: string, body: Record<string, unknown>, said: string) => act(async () => {
    await post(tasksApi(`/api/v1/queues/${q.id}/${what}`), JSON.stringify({ type: "id", ...body }));
    toast(said);
  }, live.refresh);
  return (
    <>
      <PageHead title="Task queues"><LiveButton stale={live.stale} /></PageHead>
      <EnvironmentPanel />
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {live.data?.data.length === 0 && <Empty title="No queues yet."><p>Every task has a queue of its own or a shared one, from when it is registered.</p></Empty>}
      {!!live.data?.data.length && (
        <Table label="Task queues" heads={["Queue", "Running", "Waiting", "Limit", "Do"]}>
          {live.data.data.map((q) => (
            <tr key={q.id}>
              <td class="main">{q.type === "task" ? <a href={href("/tasks/runs", { task: q.name })}>{q.name}</a> : q.name} {q.type === "custom" && <Badge>shared</Badge>} {q.paused && <Badge tone="warn">paused</Badge>}</td>
              <td class="num">{q.running}</td>
              <td class="num">{q.queued}</td>
              <td class="num">{q.concurrency ? <BoundCell bound={q.concurrency} /> : <span class="muted">as its task says</span>}</td>
              <td class="fit">
                {q.concurrency && <><button type="button" class="small" onClick={() => setLimiting(q)}>Limit…</button>{" "}</>}
                {q.concurrency && q.concurrency.override !== null && <><button type="button" class="small" onClick={() => void change(q, "concurrency/reset", {}, "The queue has its declared limit again.")}>Reset</button>{" "}</>}
                <button type="button" class="small" onClick={() => void change(q, "pause", { action: q.paused ? "resume" : "pause" }, q.paused ? "The queue goes on." : "The queue is paused: runs that have begun go on, others wait.")}><Icon name={q.paused ? "running" : "pause"} />{q.paused ? "Resume" : "Pause"}</button>
              </td>
            </tr>
          ))}
        </Table>
      )}
      <LimitsPanel />
      {limiting && (
        <EditNumber title={`Limit of ${limiting.name}`} label="Runs at once" hint="With concurrency keys it holds for each of them. It stays until it is reset, whatever a new version declares; with 0 no run begins." value={limiting.concurrencyLimit ?? 10} onClose={() => setLimiting(undefined)}
          submit={(n) => change(limiting, "concurrency/override", { concurrencyLimit: n }, "The limit was changed.")} />
      )}
    </>
  );
}

function BoundCell({ bound }: { bound: Bound }) {
  return <>{bound.current ?? <span class="muted">none</span>}{bound.override !== null && <span class="muted"> instead of {bound.base ?? "none"}</span>}</>;
}

/** The concurrency limits that tasks have, alone or together. */
function LimitsPanel() {
  const live = useLive<{ data: ConcurrencyLimit[] }>(tasksApi("/api/v1/concurrency-limits", { perPage: 100 }), aboutQueues);
  usePolling(live.refresh, 2000);
  const [limiting, setLimiting] = useState<{ of: ConcurrencyLimit; bound: "total" | "perKey" }>();
  const change = (l: ConcurrencyLimit, what: string, body: Record<string, unknown>, said: string) => act(async () => {
    await post(tasksApi(`/api/v1/concurrency-limits/${encodeURIComponent(l.name)}/${what}`), JSON.stringify(body));
    toast(said);
  }, live.refresh);
  const list = live.data?.data ?? [];
  if (!list.length) return live.error ? <Problem text={live.error} retry={live.refresh} /> : null;
  return (
    <>
      <h2>Concurrency limits</h2>
      <Table label="Concurrency limits" heads={["Limit", "Running", "Waiting", "At once", "Do"]}>
        {list.map((l) => (
          <tr key={l.id}>
            <td class="main">{l.name} {l.paused && <Badge tone="warn">paused</Badge>}</td>
            <td class="num">{l.running}</td>
            <td class="num">{l.queued}</td>
            <td>{[l.total, l.perKey].every((b) => b.current === null) ? <span class="muted">any number</span> : <>
              {l.total.current !== null && <div><BoundCell bound={l.total} /> in total</div>}
              {l.perKey.current !== null && <div><BoundCell bound={l.perKey} /> for each key</div>}
            </>}</td>
            <td class="fit">
              <button type="button" class="small" onClick={() => setLimiting({ of: l, bound: "total" })}>Total…</button>{" "}
              <button type="button" class="small" onClick={() => setLimiting({ of: l, bound: "perKey" })}>Per key…</button>{" "}
              {(l.total.override !== null || l.perKey.override !== null) && <><button type="button" class="small" onClick={() => void change(l, "reset", {}, "The limit is what is declared again.")}>Reset</button>{" "}</>}
              <button type="button" class="small" onClick={() => void change(l, "pause", { action: l.paused ? "resume" : "pause" }, l.paused ? "Runs with the limit go on." : "The limit is paused: runs that have begun go on, others that hold it wait.")}><Icon name={l.paused ? "running" : "pause"} />{l.paused ? "Resume" : "Pause"}</button>
            </td>
          </tr>
        ))}
      </Table>
      {limiting && (
        <EditNumber title={`Limit ${limiting.of.name}`} label={limiting.bound === "total" ? "Runs at once, of all keys together" : "Runs at once, of each concurrency key"} hint="It stays until it is reset, whatever a new version declares; with 0 no run begins." value={limiting.of[limiting.bound].current ?? 10} onClose={() => setLimiting(undefined)}
          submit={(n) => change(limiting.of, "override", { [limiting.bound]: n }, "The limit was changed.")} />
      )}
    </>
  );
}

/** What all queues of the environment share. */
function EnvironmentPanel() {
  const live = useLive<EnvironmentLimit>(tasksApi("/inside/limit"), aboutQueues);
  usePolling(live.refresh, 2000);
  const [limiting, setLimiting] = useState(false);
  const change = (body: Record<string, unknown>, said: string) => act(async () => {
    await post(tasksApi("/inside/limit"), JSON.stringify(body));
    toast(said);
  }, live.refresh);
  const l = live.data;
  if (!l) return null;
  return (
    <section class="panel" aria-label="The environment">
      <p>
        The environment executes <strong>{l.running}</strong> of at most <strong>{l.limit}</strong> runs at once{l.queued > 0 && <>, and <strong>{l.queued}</strong> wait</>}. {l.paused && <Badge tone="warn">paused</Badge>}{l.byHand && <span class="muted"> The server's own limit is {l.default}.</span>}
      </p>
      <p>
        <button type="button" class="small" onClick={() => setLimiting(true)}>Limit of the environment…</button>{" "}
        {l.byHand && <><button type="button" class="small" onClick={() => void change({ reset: true }, "The environment has the server's limit again.")}>Reset the environment's limit</button>{" "}</>}
        <button type="button" class="small" onClick={() => void change({ paused: !l.paused }, l.paused ? "The environment goes on." : "The environment is paused: runs that have begun go on, others wait.")}><Icon name={l.paused ? "running" : "pause"} />{l.paused ? "Resume the environment" : "Pause the environment"}</button>
      </p>
      {limiting && (
        <EditNumber title="Limit of the environment" label="Runs at once" hint="For all its queues together. With 0 no run begins." value={l.limit} onClose={() => setLimiting(false)} submit={(n) => change({ limit: n }, "The limit was changed.")} />
      )}
    </section>
  );
}
