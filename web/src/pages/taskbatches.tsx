import { href } from "../lib/api";
import { aboutLogs, useLive } from "../lib/live";
import { place, withQuery } from "../lib/router";
import { tasksApi, time, type Batch } from "../lib/tasks";
import { Ago, Badge, Empty, Id, LiveButton, PageHead, Problem, Skeleton } from "../ui/parts";
import { Table, taskRunPath } from "../ui/tasks";

export function TaskBatchesPage() {
  const live = useLive<{ batches: Batch[]; next: string }>(tasksApi("/inside/batches", { after: place.value.query.get("before") ?? "" }), aboutLogs);
  const rows = live.data?.batches;
  return (
    <>
      <PageHead title="Batches"><LiveButton stale={live.stale} /></PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {rows?.length === 0 && <Empty title="No batches yet."><p><code>batchTrigger</code> makes one.</p></Empty>}
      {!!rows?.length && (
        <Table label="Batches" heads={["Batch", "Runs", "Parent", "Made"]}>
          {rows.map((b) => (
            <tr key={b.id}>
              <td class="main"><Id id={b.id} what="batch id" to={href("/tasks/runs", { batch: b.id })} />{!b.sealed && <> <Badge tone="warn">incomplete</Badge></>}{!!b.errors?.length && <span class="under">{b.errors.length} not triggered: {b.errors[0]?.error}</span>}</td>
              <td class="num">{b.count}</td>
              <td class="fit">{b.parent ? <a href={taskRunPath(b.parent)}>…{b.parent.slice(-8)}</a> : <span class="muted">–</span>}</td>
              <td class="fit num"><Ago at={time(b.createdAt)} /></td>
            </tr>
          ))}
        </Table>
      )}
      {live.data?.next && <nav class="pager" aria-label="Pages"><a class="button" href={href("/tasks/batches")}>First page</a><a class="button" rel="next" href={withQuery({ before: live.data.next })}>Next page</a></nav>}
    </>
  );
}
