import { href, post } from "../lib/api";
import { aboutQueues, useLive, usePolling } from "../lib/live";
import { tasksApi, type TaskQueue } from "../lib/tasks";
import { Icon } from "../ui/icons";
import { act } from "../ui/message";
import { Badge, Empty, LiveButton, PageHead, Problem, Skeleton, toast } from "../ui/parts";
import { Table } from "../ui/tasks";

export function TaskQueuesPage() {
  const live = useLive<{ data: TaskQueue[] }>(tasksApi("/api/v1/queues", { perPage: 100 }), aboutQueues);
  usePolling(live.refresh, 2000);
  const pause = (q: TaskQueue) => act(async () => {
    await post(tasksApi(`/api/v1/queues/${q.id}/pause`), JSON.stringify({ type: "id", action: q.paused ? "resume" : "pause" }));
    toast(q.paused ? "The queue goes on." : "The queue is paused: runs that have begun go on, others wait.");
  }, live.refresh);
  return (
    <>
      <PageHead title="Task queues"><LiveButton stale={live.stale} /></PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {live.data?.data.length === 0 && <Empty title="No queues yet."><p>A task has a queue of its own once it is triggered.</p></Empty>}
      {!!live.data?.data.length && (
        <Table label="Task queues" heads={["Queue", "Running", "Waiting", "Limit", "Do"]}>
          {live.data.data.map((q) => (
            <tr key={q.id}>
              <td class="main">{q.type === "task" ? <a href={href("/tasks/runs", { task: q.name })}>{q.name}</a> : q.name} {q.type === "custom" && <Badge>shared</Badge>} {q.paused && <Badge tone="warn">paused</Badge>}</td>
              <td class="num">{q.running}</td>
              <td class="num">{q.queued}</td>
              <td class="num">{q.concurrencyLimit ?? <span class="muted">none</span>}</td>
              <td class="fit"><button type="button" class="small" onClick={() => void pause(q)}><Icon name={q.paused ? "running" : "pause"} />{q.paused ? "Resume" : "Pause"}</button></td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}
