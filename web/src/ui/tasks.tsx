// What the pages of Trigger.dev tasks share.
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { href } from "../lib/api";
import { runNumber, statusWords, type TaskRunStatus } from "../lib/tasks";
import { Icon, type IconName } from "./icons";

const looks: Record<string, [tone: string, icon: IconName]> = {
  DELAYED: ["quiet", "sleeping"], PENDING_VERSION: ["warn", "waiting"], QUEUED: ["quiet", "queued"], DEQUEUED: ["busy", "running"], EXECUTING: ["busy", "running"],
  WAITING: ["busy", "waiting"], COMPLETED: ["good", "completed"], FAILED: ["bad", "failed"], CANCELED: ["quiet", "cancelled"], CRASHED: ["bad", "failed"],
  SYSTEM_FAILURE: ["bad", "failed"], EXPIRED: ["warn", "skipped"], TIMED_OUT: ["bad", "queued"],
  PENDING: ["quiet", "queued"], BUILDING: ["busy", "running"], DEPLOYING: ["busy", "running"], DEPLOYED: ["good", "completed"],
};

/** The state of a task's run, a deployment or a token as an icon, a colour and a word. */
export function State({ is }: { is: TaskRunStatus | string }) {
  const [tone, icon] = looks[is] ?? ["quiet", "planned"];
  return <span class={`status ${tone}`}><Icon name={icon} />{statusWords(is)}</span>;
}

export const taskRunPath = (id: string) => href(`/runs/${runNumber(id)}`);
export const taskPath = (id: string) => href("/tasks/task", { id });

/** A table whose rows go nowhere. */
export function Table({ label, heads, children }: { label: string; heads: string[]; children: ComponentChildren }) {
  return (
    <table class="list" aria-label={label}>
      <thead><tr>{heads.map((h) => <th scope="col" key={h}>{h}</th>)}</tr></thead>
      <tbody>{children}</tbody>
    </table>
  );
}

/** A one-line field. */
export function Field({ label, hint, value, onInput, list, mono, secret }: {
  label: string; hint?: ComponentChildren; value: string; onInput: (v: string) => void; list?: string[]; mono?: boolean; secret?: boolean;
}) {
  const id = useId();
  const common = {
    id, value, class: mono ? "mono" : "", autocomplete: "off", spellcheck: false, "aria-describedby": hint ? `${id}-hint` : "",
    onInput: (e: { currentTarget: HTMLInputElement }) => onInput(e.currentTarget.value),
  };
  return (
    <div class="field">
      <div class="field-head"><label for={id}>{label}</label></div>
      {secret ? <input {...common} type="password" /> : list ? <input {...common} type="text" list={`${id}-list`} /> : <input {...common} type="text" />}
      {list && <datalist id={`${id}-list`}>{list.map((o) => <option key={o} value={o} />)}</datalist>}
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}
