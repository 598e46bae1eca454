// Sending an event and invoking a function.
import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { href, post, query } from "../lib/api";
import { format, parse } from "../lib/json";
import { aboutFunctions, useLive } from "../lib/live";
import { navigate } from "../lib/router";
import type { QFunction } from "../lib/types";
import { Dialog, isObject, JsonField, jsonProblem } from "./dialog";
import { toast } from "./parts";

export interface Draft {
  name?: string;
  data?: unknown;
  user?: unknown;
}

/** The event that is being written, if one is. */
export const sending = signal<Draft | undefined>(undefined);

/** Names of events that functions listen to. */
export function useEventNames(): string[] {
  const fns = useLive<{ functions: QFunction[] }>(query("/functions", { limit: 200 }), aboutFunctions).data?.functions ?? [];
  return [...new Set(fns.flatMap((f) => f.triggers ?? []).map((t) => t.Event).filter(Boolean))].sort();
}

const asList = (v: unknown) => (Array.isArray(v) ? (v.length ? "" : "The list is empty.") : isObject(v) && "This must be an event { … } or a list of events [ … ]");

export function SendDialog() {
  const draft = sending.value ?? {};
  const names = useEventNames();
  const [name, setName] = useState(draft.name ?? "");
  const [data, setData] = useState(format(draft.data ?? {}));
  const [whole, setWhole] = useState(draft.user !== undefined ? format(draft) : "");
  const raw = whole !== "";
  const close = () => (sending.value = undefined);
  const text = () => (raw ? whole : `{"name":${JSON.stringify(name.trim())},"data":${data.trim() || "{}"}}`);
  const send = async () => {
    const { ids } = await post<{ ids: string[] }>("/events", text());
    const [id] = ids;
    if (ids.length === 1 && id) {
      toast("The event was sent.");
      navigate(href(`/events/${id}`));
    } else {
      toast(`${ids.length} events were sent.`);
      navigate(href("/events"));
    }
  };
  const valid = raw ? !jsonProblem(whole, false, asList) : name.trim() !== "" && !jsonProblem(data, true, isObject);
  const toRaw = () => setWhole(format({ name: name.trim() || "app/something.happened", data: jsonProblem(data, true, isObject) || !data.trim() ? {} : parse(data) }));
  const toFields = () => {
    const v = jsonProblem(whole, false, isObject) ? {} : (parse(whole) as Draft);
    if (typeof v.name === "string") setName(v.name);
    if (v.data !== undefined) setData(format(v.data));
    setWhole("");
  };
  return (
    <Dialog title="Send an event" submit="Send" wide valid={valid} onSubmit={send} onClose={close}>
      {raw ? (
        <JsonField label="Event, or a list of events" rows={14} value={whole} onInput={(v) => setWhole(v || " ")} check={asList} focus
          hint={<>With <code>name</code>, <code>data</code>, and if you like <code>id</code> (sent once), <code>user</code>, <code>ts</code>, <code>v</code>.</>} />
      ) : (
        <>
          <div class="field">
            <div class="field-head"><label for="event-name">Name</label></div>
            <input id="event-name" class="mono" list="event-names" required autofocus value={name} placeholder="app/something.happened" autocomplete="off" spellcheck={false} onInput={(e) => setName(e.currentTarget.value)} />
            <datalist id="event-names">{names.map((n) => <option key={n} value={n} />)}</datalist>
          </div>
          <JsonField label="Data" rows={10} value={data} onInput={setData} optional check={isObject} />
        </>
      )}
      <button type="button" class="small" onClick={raw ? toFields : toRaw}>{raw ? "Write name and data only" : "Write the whole event, or several"}</button>
    </Dialog>
  );
}

export function InvokeDialog({ fn, onClose }: { fn: QFunction; onClose: () => void }) {
  const [data, setData] = useState("{}");
  const invoke = async () => {
    const { event } = await post<{ event: string }>(`/functions/${encodeURIComponent(fn.slug)}/invoke`, `{"data":${data.trim() || "{}"}}`);
    toast("The function was invoked.");
    navigate(href(`/events/${event}`));
  };
  return (
    <Dialog title={`Invoke ${fn.name}`} submit="Invoke" wide valid={!jsonProblem(data, true, isObject)} onSubmit={invoke} onClose={onClose}>
      <JsonField label="Data" hint={<>What the function finds in <code>event.data</code>.</>} rows={10} value={data} onInput={setData} optional check={isObject} focus />
    </Dialog>
  );
}
