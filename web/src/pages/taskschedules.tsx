import { useState } from "preact/hooks";
import { href, post, remove } from "../lib/api";
import { aboutSchedules, useLive } from "../lib/live";
import { tasksApi, time, type Tasks, type TaskSchedule } from "../lib/tasks";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { act } from "../ui/message";
import { At, Badge, Copy, Empty, LiveButton, PageHead, Problem, Skeleton, toast } from "../ui/parts";
import { Field, taskPath } from "../ui/tasks";

export function TaskSchedulesPage() {
  const live = useLive<{ data: TaskSchedule[] }>(tasksApi("/api/v1/schedules", { perPage: 100 }), aboutSchedules);
  const tasks = useLive<Tasks>(tasksApi("/inside/tasks"), () => false).data?.tasks.filter((t) => t.source === "schedule") ?? [];
  const [creating, setCreating] = useState(false);
  const all = live.data?.data;
  return (
    <>
      <PageHead title="Task schedules">
        {tasks.length > 0 && <button type="button" onClick={() => setCreating(true)}>New schedule…</button>}
        <LiveButton stale={live.stale} />
      </PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {all?.length === 0 && <Empty title="No schedules yet."><p>A task with a <code>cron</code> has one; others are made here and by <code>schedules.create</code>, for tasks made with <code>schedules.task</code>.</p></Empty>}
      {all?.map((s) => <Card key={s.id} s={s} changed={live.refresh} />)}
      {creating && <Create tasks={tasks.map((t) => t.id)} onClose={() => setCreating(false)} done={live.refresh} />}
    </>
  );
}

function Card({ s, changed }: { s: TaskSchedule; changed: () => void }) {
  const [deleting, setDeleting] = useState(false);
  const path = tasksApi(`/api/v1/schedules/${s.id}`);
  const toggle = () => act(async () => {
    await post(`${path}/${s.active ? "deactivate" : "activate"}`);
    toast(s.active ? "The schedule triggers nothing until it is resumed." : "The schedule goes on.");
  }, changed);
  return (
    <section class="card" aria-label={`${s.task} ${s.generator.expression}`}>
      <div class="card-head">
        <h2><a href={taskPath(s.task)}>{s.task}</a></h2>
        {!s.active && <Badge tone="warn">paused</Badge>}
        <Badge>{s.type === "DECLARATIVE" ? "in the code" : "made by hand"}</Badge>
        <div class="actions">
          <button type="button" class="small" onClick={() => void toggle()}><Icon name={s.active ? "pause" : "running"} />{s.active ? "Pause" : "Resume"}</button>
          {s.type === "IMPERATIVE" && <button type="button" class="small" onClick={() => setDeleting(true)}>Delete…</button>}
        </div>
      </div>
      <dl class="facts">
        <div><dt>Cron</dt><dd>{s.generator.description}, {s.timezone} <span class="muted">(<code>{s.generator.expression}</code>)</span></dd></div>
        <div><dt>Next run</dt><dd>{s.nextRun ? <At at={time(s.nextRun)} /> : <span class="muted">none while it is paused</span>}</dd></div>
        {s.externalId && <div><dt>External id</dt><dd>{s.externalId}</dd></div>}
        {s.deduplicationKey && <div><dt>Deduplication key</dt><dd>{s.deduplicationKey}</dd></div>}
        <div><dt>Id</dt><dd><span class="id"><span>{s.id}</span><Copy text={s.id} what="schedule id" /></span></dd></div>
        <div><dt>Runs</dt><dd><a href={href("/tasks/runs", { schedule: s.id })}>Show them</a></dd></div>
      </dl>
      {deleting && (
        <Dialog title="Delete this schedule?" submit="Delete" danger onClose={() => setDeleting(false)} onSubmit={async () => {
          await remove(path);
          toast("The schedule was deleted.");
          changed();
        }}>
          <p>It triggers no more runs. Those it has triggered go on.</p>
        </Dialog>
      )}
    </section>
  );
}

function Create({ tasks, onClose, done }: { tasks: string[]; onClose: () => void; done: () => void }) {
  const [v, setV] = useState({ task: tasks[0] ?? "", cron: "0 9 * * *", timezone: "UTC", externalId: "", deduplicationKey: "" });
  const set = (k: keyof typeof v) => (text: string) => setV({ ...v, [k]: text });
  return (
    <Dialog title="New schedule" submit="Create" valid={!!v.task && !!v.cron.trim()} onClose={onClose} onSubmit={async () => {
      const body = Object.fromEntries(Object.entries(v).filter(([, text]) => text.trim()));
      await post(tasksApi("/api/v1/schedules"), JSON.stringify(body));
      toast("The schedule was made.");
      done();
    }}>
      <Field label="Task" value={v.task} onInput={set("task")} list={tasks} />
      <Field label="Cron" hint="minute, hour, day, month, day of the week" value={v.cron} onInput={set("cron")} mono />
      <Field label="Time zone" value={v.timezone} onInput={set("timezone")} />
      <Field label="External id" hint="The task gets it with each run." value={v.externalId} onInput={set("externalId")} />
      <Field label="Deduplication key" hint="A second schedule with the same key changes the first." value={v.deduplicationKey} onInput={set("deduplicationKey")} />
    </Dialog>
  );
}
