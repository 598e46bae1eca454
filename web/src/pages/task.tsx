import { useState } from "preact/hooks";
import { get, href, message } from "../lib/api";
import { format, parse, problem } from "../lib/json";
import { aboutFunctions, aboutRuns, useLive } from "../lib/live";
import { navigate, place } from "../lib/router";
import { schedulePayload, tasksApi, time, triggerTask, type TaskInfo, type TaskRun, type Tasks } from "../lib/tasks";
import { JsonField } from "../ui/dialog";
import { Ago, Badge, Empty, PageHead, Problem, Skeleton, toast } from "../ui/parts";
import { Field, State, taskRunPath } from "../ui/tasks";

/** One task: what its version says of it, a form to test it, its latest runs. */
export function TaskPage() {
  const id = place.value.query.get("id") ?? "";
  const live = useLive<Tasks>(tasksApi("/inside/tasks"), aboutFunctions);
  const runs = useLive<{ data: TaskRun[] }>(tasksApi("/api/v1/runs", { "filter[taskIdentifier]": id, "page[size]": 10 }), aboutRuns);
  const task = live.data?.tasks.find((t) => t.id === id);
  return (
    <>
      <PageHead title={id} back={<a href={href("/tasks")}>Tasks</a>} sub={task?.description} />
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {live.data && !task && <Empty title="This environment knows no such task." />}
      {task && <Facts task={task} />}
      {task && <Test task={task} runs={runs.data?.data ?? []} />}
      <section aria-label="Latest runs">
        <div class="section-head"><h2>Latest runs</h2><a href={href("/tasks/runs", { task: id })}>All runs</a></div>
        {runs.data?.data.length === 0 && <p class="none muted">It has not been triggered yet.</p>}
        <ul class="plain-list">
          {runs.data?.data.map((r) => <li key={r.id}><State is={r.status} /> <a href={taskRunPath(r.id)}>…{r.id.slice(-8)}</a> <Ago at={time(r.createdAt)} /> {r.isTest && <Badge>test</Badge>}</li>)}
        </ul>
      </section>
    </>
  );
}

function Facts({ task: t }: { task: TaskInfo }) {
  if (t.missing) return <div class="notice warn"><span>No version of this environment has the task. Its runs wait until one has.</span></div>;
  return (
    <dl class="facts settings">
      <div><dt>File</dt><dd><code>{t.file}</code></dd></div>
      <div><dt>Queue</dt><dd><a href={href("/tasks/queues")}>{t.queue}</a>{t.limit != null ? `, ${t.limit} at a time` : ""}{t.total != null ? `, ${t.total} in total` : ""}{t.limits?.length ? `, within ${t.limits.join(" and ")}` : ""}</dd></div>
      <div><dt>Attempts</dt><dd>{t.maxAttempts}</dd></div>
      <div><dt>Machine</dt><dd>{t.machine}</dd></div>
      {!!t.maxDuration && <div><dt>Longest run</dt><dd>{t.maxDuration} s of computing</dd></div>}
      {t.cron && <div><dt>Schedule</dt><dd><code>{t.cron}</code> in {t.timezone || "UTC"}</dd></div>}
    </dl>
  );
}

const texts = ["delay", "ttl", "queue", "concurrencyKey", "idempotencyKey", "tags", "machine", "maxAttempts", "maxDuration", "priority", "version"] as const;
const labels: Record<(typeof texts)[number], [label: string, hint: string]> = {
  delay: ["Delay", "like 1h, or a date"], ttl: ["TTL", "like 10m: expires when it has not begun by then"], queue: ["Queue", ""], concurrencyKey: ["Concurrency key", ""],
  idempotencyKey: ["Idempotency key", ""], tags: ["Tags", "separated by commas"], machine: ["Machine", ""], maxAttempts: ["Attempts", ""], maxDuration: ["Longest run", "seconds of computing"],
  priority: ["Priority", "seconds by which it goes before others"], version: ["Version", ""],
};
const machines = ["micro", "small-1x", "small-2x", "medium-1x", "medium-2x", "large-1x", "large-2x"];

/** The trigger options of what was typed. */
export function optionsOf(v: Record<string, string>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [k, text] of Object.entries(v)) {
    const s = text.trim();
    if (!s) continue;
    if (k === "tags") out.tags = s.split(",").map((t) => t.trim()).filter(Boolean);
    else if (k === "queue") out.queue = { name: s };
    else if (k === "version") out.lockToVersion = s;
    else if (k === "maxAttempts" || k === "maxDuration" || k === "priority") out[k] = Number(s);
    else if (k === "metadata") out.metadata = s;
    else out[k] = s;
  }
  return out;
}

function Test({ task, runs }: { task: TaskInfo; runs: TaskRun[] }) {
  const scheduled = task.source === "schedule";
  const [payload, setPayload] = useState("{}");
  const [options, setOptions] = useState<Record<string, string>>({});
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    setError("");
    try {
      const id = scheduled
        ? await triggerTask(task.id, schedulePayload(task.timezone || "UTC"), "application/super+json", optionsOf(options))
        : await triggerTask(task.id, payload, "application/json", optionsOf(options));
      toast("The task was triggered.", { link: { href: taskRunPath(id), text: "Show the run" } });
      navigate(taskRunPath(id));
    } catch (err) {
      setError(message(err));
      setBusy(false);
    }
  };
  const copyOf = async (id: string) => {
    try {
      const r = await get<{ payload?: unknown }>(tasksApi(`/api/v3/runs/${id}`));
      setPayload(format(r.payload ?? {}));
    } catch (err) {
      setError(message(err));
    }
  };
  return (
    <section aria-label="Test" class="card">
      <div class="card-head"><h2>Test</h2></div>
      {scheduled ? (
        <p class="hint">It gets what a tick of a schedule would give it now.</p>
      ) : (
        <>
          <JsonField label="Payload" value={payload} onInput={setPayload} rows={6} />
          {runs.length > 0 && <p class="hint">Payload of {runs.slice(0, 5).map((r, i) => <span key={r.id}>{i > 0 && ", "}<button type="button" class="small" onClick={() => void copyOf(r.id)}>…{r.id.slice(-8)}</button></span>)}</p>}
        </>
      )}
      <details>
        <summary>Options</summary>
        <div class="fields">
          {texts.map((k) => (
            <Field key={k} label={labels[k][0]} hint={labels[k][1]} value={options[k] ?? ""} onInput={(v) => setOptions({ ...options, [k]: v })} {...(k === "machine" ? { list: machines } : {})} />
          ))}
        </div>
        <JsonField label="Metadata" value={options.metadata ?? ""} onInput={(v) => setOptions({ ...options, metadata: v })} optional rows={3} />
      </details>
      {error && <Problem text={error} />}
      <p class="actions"><button type="button" class="primary" disabled={busy || (!scheduled && (!payload.trim() || !!problem(payload) || parse(payload) === undefined))} onClick={() => void run()}>{busy ? "One moment…" : "Run test"}</button></p>
    </section>
  );
}
