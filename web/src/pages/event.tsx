import { useEffect } from "preact/hooks";
import { href, query } from "../lib/api";
import { aboutEvents, aboutFunctions, never, useLive, type Live } from "../lib/live";
import type { QEvent, QFunction } from "../lib/types";
import { sourceWords, takesEvent } from "../lib/words";
import { Icon } from "../ui/icons";
import { JsonView } from "../ui/json";
import { At, Badge, Copy, Id, LiveButton, PageHead, Problem, Skeleton } from "../ui/parts";
import { sending } from "../ui/send";
import { RunList } from "./runs";

export function EventPage({ id }: { id: string }) {
  const path = `/events/${encodeURIComponent(id)}`;
  const live = useLive<QEvent>(`${path}?payload=0`, aboutEvents);
  const payload = useLive<QEvent>(path, never);
  const e = live.data;
  const p = payload.data;
  useEffect(() => {
    if (e) document.title = `${e.name} · Quartet`;
  }, [e?.name]);
  return (
    <>
      <PageHead title={e ? <span class="mono">{e.name}</span> : "Event"} sub={<Id id={id} what="event id" />} back={<a href={href("/events")}>Events</a>}>
        {e && p && <button type="button" onClick={() => (sending.value = { name: e.name, data: p.data ?? {}, ...(p.user !== undefined ? { user: p.user } : {}) })}><Icon name="send" />Send again…</button>}
        <LiveButton stale={live.stale} />
      </PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {e && <Details event={e} live={live} payload={payload} />}
    </>
  );
}

function Details({ event: e, live, payload }: { event: QEvent; live: Live<QEvent>; payload: Live<QEvent> }) {
  const p = payload.data;
  return (
    <>
      <dl class="facts">
        <div><dt>Received</dt><dd><At at={e.received} /></dd></div>
        {e.ts !== e.received && <div><dt>Happened</dt><dd><At at={e.ts} /></dd></div>}
        <div><dt>Source</dt><dd>{sourceWords(e.source)}{e.internal && <> <Badge>internal</Badge></>}</dd></div>
        {e.key && <div><dt>Idempotency key</dt><dd><code>{e.key}</code> <Copy text={e.key} what="idempotency key" /></dd></div>}
        {p?.v && <div><dt>Version</dt><dd>{p.v}</dd></div>}
      </dl>
      <section>
        <h2>Runs it started</h2>
        {e.runs.length > 0 ? <RunList live={{ ...live, error: "", loading: false }} rows={e.runs} next={undefined} /> : <NoRuns event={e} />}
      </section>
      <section>
        <h2>Data</h2>
        {p ? <JsonView value={p.data ?? {}} label="event data" /> : payload.error ? <Problem text={payload.error} retry={payload.refresh} /> : <Skeleton />}
      </section>
      {p?.user !== undefined && <section><h2>User</h2><JsonView value={p.user} label="event user" /></section>}
      {p?.meta !== undefined && <section><h2>Meta</h2><JsonView value={p.meta} label="event meta" /></section>}
    </>
  );
}

/** Says why an event may have started nothing. */
function NoRuns({ event }: { event: QEvent }) {
  const fns = useLive<{ functions: QFunction[]; next: string }>(query("/functions", { limit: 200 }), aboutFunctions).data;
  if (!fns) return <p class="muted">None.</p>;
  const listening = fns.functions.filter((f) => f.triggers?.some((t) => takesEvent(t, event.name)));
  if (listening.length === 0) {
    return (
      <div class="notice">
        <Icon name="warning" />
        <span>None. {fns.next ? "None of the first 200 functions listens" : "No registered function listens"} to <code>{event.name}</code>. <a href={href("/functions")}>See the functions</a> or <a href={href("/apps")}>the apps</a>.</span>
      </div>
    );
  }
  return (
    <div class="notice">
      <Icon name="waiting" />
      <span>
        None so far, although {listening.map((f, i) => <span key={f.slug}>{i > 0 && ", "}<a href={href(`/functions/${encodeURIComponent(f.slug)}`)}>{f.slug}</a></span>)} listens to it.
        A condition, a rate limit, a debounce, a batch that is not full or the idempotency key may be the reason.
      </span>
    </div>
  );
}
