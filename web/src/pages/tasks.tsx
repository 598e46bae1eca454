import { aboutFunctions, useLive, usePolling } from "../lib/live";
import { tasksApi, time, type TaskEnvironment, type TaskInfo, type Tasks } from "../lib/tasks";
import { Ago, Badge, Copy, Empty, List, LiveButton, PageHead, type Column } from "../ui/parts";
import { taskPath } from "../ui/tasks";

/** The tasks of an environment, as its current version has them. */
export function TasksPage() {
  const live = useLive<Tasks>(tasksApi("/inside/tasks"), aboutFunctions);
  const env = useLive<TaskEnvironment>(tasksApi("/inside/environment"), aboutFunctions);
  usePolling(env.refresh);
  const columns: Column<TaskInfo>[] = [
    {
      head: "Task",
      class: "main",
      cell: (t) => (
        <>
          <a class="row" href={taskPath(t.id)}>{t.id}</a>
          {t.source === "schedule" && <> <Badge>scheduled</Badge></>}
          {t.missing && <> <Badge tone="warn">in no version</Badge></>}
          <span class="under">{t.description || t.file}</span>
        </>
      ),
    },
    { head: "Queue", wide: true, class: "fit", cell: (t) => (t.queue ? <>{t.queue}{t.limit != null && <span class="muted"> {t.limit} at a time</span>}</> : <span class="muted">–</span>) },
    { head: "Machine", wide: true, class: "fit", cell: (t) => t.machine ?? <span class="muted">–</span> },
    { head: "Attempts", wide: true, class: "fit num", cell: (t) => t.maxAttempts ?? <span class="muted">–</span> },
  ];
  const e = env.data;
  return (
    <>
      <PageHead
        title="Tasks"
        sub={live.data?.version && <>Version {live.data.version}, <Ago at={time(live.data.createdAt)} />{e && !e.deployed && <> {e.connected ? <Badge tone="good">trigger dev is connected</Badge> : <Badge tone="warn">trigger dev is not connected</Badge>}</>}</>}
      >
        <LiveButton stale={live.stale} />
      </PageHead>
      <List
        label="Tasks" live={live} rows={live.data?.tasks} next={undefined} columns={columns} keyOf={(t) => t.id} to={(t) => taskPath(t.id)}
        empty={<Empty title="No tasks yet."><p>{e?.deployed ? "Deploy some from your project:" : "Start the CLI in your project:"}</p>{e && <Start env={e} />}</Empty>}
      />
    </>
  );
}

/** What to type in a project. */
export function Start({ env }: { env: TaskEnvironment }) {
  const command = `TRIGGER_API_URL=${env.apiUrl} npx trigger.dev@latest ${env.deployed ? `deploy${env.slug === "prod" ? "" : ` --env ${env.slug}`}` : "dev"}`;
  return <div class="command"><code>{command}</code> <Copy text={command} what="command" /></div>;
}
