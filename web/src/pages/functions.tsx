import { href, query } from "../lib/api";
import { aboutFunctions, useLive } from "../lib/live";
import { place } from "../lib/router";
import type { QFunction } from "../lib/types";
import { flowSummary, triggerText } from "../lib/words";
import { Badge, Empty, List, LiveButton, PageHead, type Column } from "../ui/parts";

export function FunctionsPage() {
  const after = place.value.query.get("after") ?? "";
  const live = useLive<{ functions: QFunction[]; next: string }>(query("/functions", { after, limit: 50 }), aboutFunctions);
  const columns: Column<QFunction>[] = [
    {
      head: "Function",
      class: "main",
      cell: (f) => (
        <>
          <a class="row" href={href(`/functions/${encodeURIComponent(f.slug)}`)}>{f.name}</a>
          {f.paused && <> <Badge tone="warn">paused</Badge></>}
          <span class="under mono">{f.slug}</span>
        </>
      ),
    },
    { head: "Starts on", cell: (f) => <Triggers fn={f} /> },
    { head: "Flow control", wide: true, cell: (f) => flowSummary(f.flow) || <span class="muted">none</span> },
    { head: "App", wide: true, class: "fit", cell: (f) => f.app },
  ];
  return (
    <>
      <PageHead title="Functions"><LiveButton stale={live.stale} /></PageHead>
      <List
        label="Functions" live={live} rows={live.data?.functions} next={live.data?.next} columns={columns} cursor="after" keyOf={(f) => f.slug}
        to={(f) => href(`/functions/${encodeURIComponent(f.slug)}`)}
        empty={<Empty title="No functions yet."><p>Functions appear when an app registers. <a href={href("/apps")}>Connect an app</a></p></Empty>}
      />
    </>
  );
}

export function Triggers({ fn }: { fn: QFunction }) {
  const all = fn.triggers ?? [];
  if (all.length === 0) return <span class="muted">only when invoked</span>;
  return <span class="triggers">{all.map((t, i) => <span key={i}>{t.Cron && <Badge>cron</Badge>} <code>{triggerText(t)}</code></span>)}</span>;
}
