import { useState } from "preact/hooks";
import { href, post } from "../lib/api";
import { aboutLogs, aboutRuns, useLive, type Live } from "../lib/live";
import { place } from "../lib/router";
import { duration, now } from "../lib/time";
import { statusWords, taskRunStatuses, tasksApi, time, type BulkAction, type TaskRun, type Tasks } from "../lib/tasks";
import { act } from "../ui/message";
import { Dialog } from "../ui/dialog";
import { Ago, Badge, Choice, Empty, Id, List, LiveButton, PageHead, TextFilter, type Column } from "../ui/parts";
import { State, taskPath, taskRunPath } from "../ui/tasks";

/** Runs of tasks, by everything that the SDK filters by. */
export function TaskRunsPage() {
  const q = place.value.query;
  const f = (name: string) => q.get(name) ?? "";
  const status = f("status");
  const live = useLive<{ data: TaskRun[]; pagination: { next?: string } }>(
    tasksApi("/api/v1/runs", {
      "filter[status]": status, "filter[taskIdentifier]": f("task"), "filter[tag]": f("tag"), "filter[version]": f("version"), "filter[batch]": f("batch"), "filter[schedule]": f("schedule"),
      "filter[createdAt][period]": f("period"), "page[size]": 50, "page[after]": f("before"),
    }),
    aboutRuns,
  );
  const tasks = useLive<Tasks>(tasksApi("/inside/tasks"), () => false).data?.tasks ?? [];
  const bulks = useLive<{ data: BulkAction[] }>(tasksApi("/api/v1/bulk-actions", { "page[size]": 10 }), aboutLogs);
  const [chosen, setChosen] = useState<Set<string>>(new Set());
  const [asking, setAsking] = useState<"cancel" | "replay">();
  const rows = live.data?.data;
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  };
  const columns: Column<TaskRun>[] = [
    { head: "Choose", wide: true, class: "fit", cell: (r) => <input type="checkbox" aria-label={`Choose run ${r.id}`} checked={chosen.has(r.id)} onChange={() => toggle(r.id)} /> },
    { head: "Status", class: "fit", cell: (r) => <State is={r.status} /> },
    {
      head: "Task",
      class: "main",
      cell: (r) => (
        <>
          <a class="row" href={taskRunPath(r.id)}>{r.taskIdentifier}</a>
          {r.isTest && <> <Badge>test</Badge></>}
          {r.tags.map((t) => <span key={t}> <a href={href("/tasks/runs", { tag: t })}><Badge>{t}</Badge></a></span>)}
        </>
      ),
    },
    { head: "Run", wide: true, class: "fit", cell: (r) => <Id id={r.id} what="run id" short /> },
    { head: "Version", wide: true, class: "fit", cell: (r) => r.version ?? <span class="muted">–</span> },
    { head: "Took", wide: true, class: "fit num", cell: (r) => <Took r={r} /> },
    { head: "Triggered", class: "fit num", cell: (r) => <Ago at={time(r.createdAt)} /> },
  ];
  const filtered = ["status", "task", "tag", "version", "batch", "schedule", "period"].some((n) => f(n));
  return (
    <>
      <PageHead title="Task runs">
        {chosen.size > 0 && <><button type="button" onClick={() => setAsking("replay")}>Replay {chosen.size}…</button><button type="button" onClick={() => setAsking("cancel")}>Cancel {chosen.size}…</button></>}
        {rows && rows.length > 0 && <button type="button" onClick={() => setChosen(chosen.size ? new Set() : new Set(rows.map((r) => r.id)))}>{chosen.size ? "Choose none" : "Choose all"}</button>}
        <LiveButton stale={live.stale} />
      </PageHead>
      <BulkActions live={bulks} />
      <div class="filters">
        <Choice label="Status" name="status" value={status} options={[{ value: "", text: "All" }, ...taskRunStatuses.map((s) => ({ value: s as string, text: statusWords(s) }))]} />
        <TextFilter label="Task" name="task" value={f("task")} options={tasks.map((t) => t.id)} />
        <TextFilter label="Tag" name="tag" value={f("tag")} options={[]} />
        <TextFilter label="Version" name="version" value={f("version")} options={[]} />
        <TextFilter label="Period" name="period" value={f("period")} options={["1h", "1d", "7d", "30d"]} />
      </div>
      {(f("batch") || f("schedule")) && <p class="muted">Of {f("batch") ? "batch" : "schedule"} <code>{f("batch") || f("schedule")}</code>. <a href={href("/tasks/runs")}>Show all</a></p>}
      <List
        label="Task runs" live={live} rows={rows} next={live.data?.pagination.next} columns={columns} keyOf={(r) => r.id} to={(r) => taskRunPath(r.id)}
        empty={<Empty title={filtered ? "No run fits these filters." : "No runs of tasks yet."}>{filtered && <a href={href("/tasks/runs")}>Show all runs</a>}</Empty>}
      />
      {asking && <Bulk what={asking} runs={[...chosen]} onClose={() => setAsking(undefined)} done={() => (setChosen(new Set()), bulks.refresh(), live.refresh())} />}
      {f("task") && <p><a href={taskPath(f("task"))}>About {f("task")}</a></p>}
    </>
  );
}

function Took({ r }: { r: TaskRun }) {
  const from = time(r.startedAt);
  if (!from) return <span class="muted">–</span>;
  const end = time(r.finishedAt);
  return <span class={end ? undefined : "muted"}>{duration(end ? end - from : Math.floor((now.value - from) / 1000) * 1000)}</span>;
}

function Bulk({ what, runs, onClose, done }: { what: "cancel" | "replay"; runs: string[]; onClose: () => void; done: () => void }) {
  const submit = async () => {
    await post(tasksApi("/api/v1/bulk-actions"), JSON.stringify({ action: what, runIds: runs }));
    done();
  };
  return (
    <Dialog title={what === "cancel" ? `Cancel ${runs.length} runs?` : `Replay ${runs.length} runs?`} submit={what === "cancel" ? "Cancel them" : "Replay them"} danger={what === "cancel"} onSubmit={submit} onClose={onClose}>
      <p>{what === "cancel" ? "Runs that have ended stay as they are. The runs that they triggered are cancelled too." : "Each starts again with the same payload, as a new run on the current version."}</p>
    </Dialog>
  );
}

/** Actions on many runs: those under way, and the last that ended. */
function BulkActions({ live }: { live: Live<{ data: BulkAction[] }> }) {
  const all = live.data?.data ?? [];
  const shown = all.filter((b, i) => b.status === "PENDING" || i === 0);
  const abort = (b: BulkAction) => act(async () => void (await post(tasksApi(`/api/v1/bulk-actions/${b.id}/abort`))), live.refresh);
  return (
    <>
      {shown.map((b) => (
        <div key={b.id} class="notice" role="status">
          <span>
            {b.type === "CANCEL" ? "Cancelling" : "Replaying"} {b.counts.total} {b.counts.total === 1 ? "run" : "runs"}: {b.counts.success} done{b.counts.failure ? `, ${b.counts.failure} not` : ""}{b.status === "PENDING" ? "" : `, ${statusWords(b.status)}`}.
          </span>
          {b.status === "PENDING" && <button type="button" class="small" onClick={() => void abort(b)}>Abort</button>}
        </div>
      ))}
    </>
  );
}
