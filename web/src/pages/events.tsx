import { href, query } from "../lib/api";
import { aboutEvents, useLive } from "../lib/live";
import { navigate, place, withQuery } from "../lib/router";
import type { QEvent, Run } from "../lib/types";
import { Icon } from "../ui/icons";
import { Ago, Badge, Empty, Id, List, LiveButton, PageHead, Status, TextFilter, type Column } from "../ui/parts";
import { sending, useEventNames } from "../ui/send";

const shownRuns = 3;

export function EventsPage() {
  const q = place.value.query;
  const name = q.get("name") ?? "";
  const internal = q.get("internal") === "1";
  const names = useEventNames();
  const live = useLive<{ events: QEvent[]; next: string }>(query("/events", { name, internal: internal ? 1 : "", before: q.get("before") ?? "", limit: 50 }), aboutEvents);
  const columns: Column<QEvent>[] = [
    {
      head: "Event",
      class: "main",
      cell: (e) => (
        <>
          <a class="row mono" href={href(`/events/${e.id}`)}>{e.name}</a>
          {e.internal && <> <Badge>internal</Badge></>}
          <span class="under narrow-only"><Runs runs={e.runs} /></span>
        </>
      ),
    },
    { head: "Runs", wide: true, cell: (e) => <Runs runs={e.runs} /> },
    { head: "Id", wide: true, class: "fit", cell: (e) => <Id id={e.id} what="event id" short /> },
    { head: "Received", class: "fit num", cell: (e) => <Ago at={e.received} /> },
  ];
  return (
    <>
      <PageHead title="Events">
        <button type="button" class="primary" onClick={() => (sending.value = name ? { name } : {})}><Icon name="send" />Send event</button>
        <LiveButton stale={live.stale} />
      </PageHead>
      <div class="filters">
        <TextFilter label="Event name" name="name" value={name} options={names} />
        <label class="check">
          <input type="checkbox" checked={internal} disabled={name !== ""} onChange={(e) => navigate(withQuery({ internal: e.currentTarget.checked ? "1" : undefined, before: undefined }))} />
          Internal events
        </label>
      </div>
      <List
        label="Events" live={live} rows={live.data?.events} next={live.data?.next} columns={columns} keyOf={(e) => e.id} to={(e) => href(`/events/${e.id}`)}
        empty={
          <Empty title={name ? `No event named ${name}.` : "No events yet."}>
            {name ? <a href={href("/events")}>Show all events</a> : <button type="button" onClick={() => (sending.value = {})}>Send a test event</button>}
          </Empty>
        }
      />
    </>
  );
}

function Runs({ runs }: { runs: Run[] }) {
  if (runs.length === 0) return <span class="muted">no runs</span>;
  return (
    <span class="event-runs">
      {runs.slice(0, shownRuns).map((r) => <a key={r.id} href={href(`/runs/${r.id}`)}><Status is={r.status} short />{r.function}</a>)}
      {runs.length > shownRuns && <span class="muted">and {runs.length - shownRuns} more</span>}
    </span>
  );
}
