import { useEffect, useState } from "preact/hooks";
import { get, message, post } from "../lib/api";
import { format } from "../lib/json";
import { navigate } from "../lib/router";
import { tasksApi } from "../lib/tasks";
import { Dialog, JsonField, jsonProblem } from "./dialog";
import { Problem, Skeleton, toast } from "./parts";
import { Field, taskRunPath } from "./tasks";

/** Triggers the task of a run again, with what the person changes. id is the run's in the SDK. */
export function ReplayDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const [payload, setPayload] = useState<string>();
  const [was, setWas] = useState("");
  const [v, setV] = useState({ tags: "", queue: "", machine: "", delay: "", version: "" });
  const [error, setError] = useState("");
  useEffect(() => {
    get<{ payload?: unknown; tags: string[] }>(tasksApi(`/api/v3/runs/${id}`)).then((r) => {
      const text = r.payload === undefined ? "" : format(r.payload);
      setWas(text);
      setPayload(text);
      setV((o) => ({ ...o, tags: r.tags.join(", ") }));
    }, (err: unknown) => setError(message(err)));
  }, [id]);
  const submit = async () => {
    const body: Record<string, unknown> = { tags: v.tags.split(",").map((t) => t.trim()).filter(Boolean) };
    for (const k of ["queue", "machine", "delay", "version"] as const) if (v[k].trim()) body[k] = v[k].trim();
    const json = JSON.stringify(body);
    // What was not touched is repeated as it was, with its dates; what was is taken as JSON.
    const text = payload !== was && payload?.trim() ? `{"payload":${payload},${json.slice(1)}` : json;
    const r = await post<{ id: string }>(tasksApi(`/api/v1/runs/${id}/replay`), text);
    toast("A new run was started.");
    navigate(taskRunPath(r.id));
  };
  const set = (k: keyof typeof v) => (text: string) => setV({ ...v, [k]: text });
  return (
    <Dialog title="Replay this run" submit="Replay" wide valid={payload !== undefined && !jsonProblem(payload, true)} onSubmit={submit} onClose={onClose}>
      {error && <Problem text={error} />}
      {payload === undefined ? !error && <Skeleton /> : <JsonField label="Payload" value={payload} onInput={setPayload} optional rows={8} focus />}
      <div class="fields">
        <Field label="Tags" value={v.tags} onInput={set("tags")} />
        <Field label="Queue" hint="as before, if empty" value={v.queue} onInput={set("queue")} />
        <Field label="Machine" hint="as before, if empty" value={v.machine} onInput={set("machine")} />
        <Field label="Version" hint="the current one, if empty" value={v.version} onInput={set("version")} />
        <Field label="Delay" hint="like 10m" value={v.delay} onInput={set("delay")} />
      </div>
    </Dialog>
  );
}
