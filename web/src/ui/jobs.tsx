// What the pages of BullMQ's jobs share.
import { useState } from "preact/hooks";
import { post } from "../lib/api";
import { format, parse } from "../lib/json";
import { queueParams, type Job, type JobState, type QueueRef } from "../lib/jobs";
import { query as apiPath } from "../lib/api";
import { Dialog, isObject, JsonField, jsonProblem } from "./dialog";
import { Icon, type IconName } from "./icons";
import { toast } from "./parts";

const looks: Record<JobState, [tone: string, icon: IconName]> = {
  waiting: ["quiet", "queued"],
  paused: ["warn", "pause"],
  active: ["busy", "running"],
  prioritized: ["quiet", "queued"],
  delayed: ["quiet", "sleeping"],
  "waiting-children": ["quiet", "waiting"],
  completed: ["good", "completed"],
  failed: ["bad", "failed"],
  unknown: ["quiet", "planned"],
};

export function JobStateView({ is }: { is: JobState }) {
  const [tone, icon] = looks[is] ?? looks.unknown;
  return <span class={`status ${tone}`}><Icon name={icon} />{is === "unknown" ? "in no state" : is}</span>;
}

/** Does something with a queue or a job of it. */
export function change<T = unknown>(q: QueueRef, action: string, body: Record<string, unknown> = {}): Promise<T> {
  return post<T>(apiPath(`/jobs/${action}`, queueParams(q)), JSON.stringify(body));
}

/** A form for a new job; from is one that it is made like. */
export function AddJob({ queue, from, onClose, added }: { queue: QueueRef; from?: Job; onClose: () => void; added: (id: string) => void }) {
  const [name, setName] = useState(from?.name ?? "");
  const [data, setData] = useState(from ? format(from.data ?? {}) : "{}");
  const [options, setOptions] = useState(() => {
    const { jobId: _, de: __, ...rest } = (from?.options ?? {}) as Record<string, unknown>;
    return format(from ? rest : {});
  });
  const wrong = !name.trim() || jsonProblem(data) || jsonProblem(options, true, isObject);
  const submit = async () => {
    // What a person typed arrives as it was typed, numbers of any length included.
    const body = `{"name":${JSON.stringify(name.trim())},"data":${data},"options":${options.trim() || "{}"}}`;
    const { id } = await post<{ id: string }>(apiPath("/jobs/add", queueParams(queue)), body);
    toast(`The job ${id} was added.`);
    added(id);
  };
  return (
    <Dialog title={from ? `Add a job like ${from.id}` : `Add a job to ${queue.name}`} submit="Add" wide valid={!wrong} onSubmit={submit} onClose={onClose}>
      <div class="field">
        <div class="field-head"><label for="job-name">Name</label></div>
        <input id="job-name" value={name} autocomplete="off" spellcheck={false} autofocus onInput={(e) => setName(e.currentTarget.value)} />
      </div>
      <JsonField label="Data" value={data} onInput={setData} rows={8} />
      <JsonField label="Options" value={options} onInput={setOptions} optional check={isObject} rows={5} hint={<>As BullMQ has them, like <code>{'{ "delay": 5000, "attempts": 3, "priority": 1 }'}</code>.</>} />
    </Dialog>
  );
}

/** A form for one value that is JSON. */
export function EditData({ queue, job, onClose, changed }: { queue: QueueRef; job: Job; onClose: () => void; changed: () => void }) {
  const [data, setData] = useState(format(job.data ?? {}));
  return (
    <Dialog title={`Data of job ${job.id}`} submit="Save" wide valid={!jsonProblem(data)} onClose={onClose} onSubmit={async () => {
      parse(data);
      await post(apiPath("/jobs/data", queueParams(queue)), `{"id":${JSON.stringify(job.id)},"data":${data}}`);
      toast("The data was changed.");
      changed();
    }}>
      <JsonField label="Data" value={data} onInput={setData} rows={14} focus />
    </Dialog>
  );
}

/** A form for one number. */
export function EditNumber({ title, label, hint, value, submit, onClose }: { title: string; label: string; hint?: string; value: number; submit: (n: number) => Promise<void>; onClose: () => void }) {
  const [text, setText] = useState(String(value));
  const n = Number(text);
  return (
    <Dialog title={title} submit="Save" valid={text.trim() !== "" && Number.isInteger(n) && n >= 0} onClose={onClose} onSubmit={() => submit(n)}>
      <div class="field">
        <div class="field-head"><label for="number">{label}</label></div>
        {hint && <p class="hint">{hint}</p>}
        <input id="number" inputMode="numeric" value={text} autofocus onInput={(e) => setText(e.currentTarget.value)} />
      </div>
    </Dialog>
  );
}
