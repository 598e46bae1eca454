import { href, query } from "../lib/api";
import { aboutFunctions, aboutRuns, useLive, type Live } from "../lib/live";
import { place } from "../lib/router";
import { duration, now } from "../lib/time";
import { runStatuses, type QFunction, type Run } from "../lib/types";
import { runDuration } from "../lib/words";
import { Ago, Badge, Choice, Empty, Id, List, LiveButton, PageHead, Status, TextFilter, type Column } from "../ui/parts";

export function RunsPage() {
  const q = place.value.query;
  const status = q.get("status") ?? "";
  const fn = q.get("function") ?? "";
  const live = useLive<{ runs: Run[]; next: string }>(query("/runs", { status, function: fn, before: q.get("before") ?? "", limit: 50 }), aboutRuns);
  const fns = useLive<{ functions: QFunction[] }>(query("/functions", { limit: 200 }), aboutFunctions).data?.functions ?? [];
  return (
    <>
      <PageHead title="Runs"><LiveButton stale={live.stale} /></PageHead>
      <div class="filters">
        <Choice label="Status" name="status" value={status} options={[{ value: "", text: "All" }, ...runStatuses.map((s) => ({ value: s, text: <Status is={s} /> }))]} />
        <TextFilter label="Function" name="function" value={fn} options={fns.map((f) => f.slug)} />
      </div>
      <RunList live={live} rows={live.data?.runs} next={live.data?.next} filtered={!!(status || fn)} />
    </>
  );
}

export function RunList({ live, rows, next, filtered, hideFunction }: { live: Live<unknown>; rows: Run[] | undefined; next: string | undefined; filtered?: boolean; hideFunction?: boolean }) {
  const columns: Column<Run>[] = [
    { head: "Status", class: "fit", cell: (r) => <Status is={r.status} /> },
    {
      head: hideFunction ? "Started by" : "Function",
      class: "main",
      cell: (r) => (
        <>
          <a class="row" href={href(`/runs/${r.id}`)}>{hideFunction ? <Cause run={r} /> : r.function}</a>
          {!hideFunction && <span class="under"><Cause run={r} /></span>}
        </>
      ),
    },
    { head: "Run", wide: true, class: "fit", cell: (r) => <Id id={r.id} what="run id" short /> },
    { head: "Took", wide: true, class: "fit num", cell: (r) => <Took run={r} /> },
    { head: "Queued", class: "fit num", cell: (r) => <Ago at={r.queuedAt} /> },
  ];
  return (
    <List
      label="Runs" live={live} rows={rows} next={next} columns={columns} keyOf={(r) => r.id} to={(r) => href(`/runs/${r.id}`)}
      empty={
        <Empty title={filtered ? "No run fits these filters." : "No runs yet."}>
          {filtered ? <a href={href("/runs")}>Show all runs</a> : <p>A run starts when an event arrives that a function listens to.</p>}
        </Empty>
      }
    />
  );
}

/** What started a run, in a few words. */
export function Cause({ run }: { run: Run }) {
  const what = run.cron ? <>schedule <code>{run.cron}</code></> : run.trigger === "inngest/function.invoked" ? <>{run.parent ? "invoked by a run" : "invoked by hand"}</> : <code>{run.trigger}</code>;
  return (
    <>
      {what}
      {run.batch && <> <Badge>batch of {run.events.length}</Badge></>}
      {run.original && <> <Badge>rerun</Badge></>}
    </>
  );
}

function Took({ run }: { run: Run }) {
  const d = runDuration(run, now.value);
  return d === undefined ? <span class="muted">–</span> : <span class={run.endedAt ? undefined : "muted"}>{duration(run.endedAt ? d : Math.floor(d / 1000) * 1000)}</span>;
}
