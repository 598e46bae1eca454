import { useState } from "preact/hooks";
import { qstash } from "../lib/api";
import { useLive, usePolling } from "../lib/live";
import type { UrlGroup } from "../lib/types";
import { Copy, Empty, LiveButton, PageHead, Problem, Skeleton } from "../ui/parts";

const polled = () => false; // they are not part of the stream
const step = 30; // groups that are shown, and how many more one gets
const mostEndpoints = 50;

/** Groups of endpoints: a message to one goes to each of them. */
export function GroupsPage() {
  const live = useLive<UrlGroup[]>(qstash("/topics"), polled);
  usePolling(live.refresh);
  const [shown, setShown] = useState(step);
  const all = live.data;
  return (
    <>
      <PageHead title="URL groups"><LiveButton stale={live.stale} /></PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {all?.length === 0 && <Empty title="No URL groups yet."><p>A message to a group is delivered to each of its endpoints. Apps make groups with the QStash client.</p></Empty>}
      {all?.slice(0, shown).map((g) => <Group key={g.name} g={g} />)}
      {all && all.length > shown && <p class="more"><button type="button" onClick={() => setShown(shown + step)}>Show more of {all.length} groups</button></p>}
    </>
  );
}

function Group({ g }: { g: UrlGroup }) {
  return (
    <section class="card" aria-label={g.name}>
      <div class="card-head"><h2>{g.name}</h2></div>
      <dl class="facts">
        {g.endpoints.slice(0, mostEndpoints).map((e) => (
          <div key={e.url}><dt>{e.name || "Endpoint"}</dt><dd><span class="id"><span>{e.url}</span><Copy text={e.url} what="URL" /></span></dd></div>
        ))}
      </dl>
      {g.endpoints.length > mostEndpoints && <p class="muted">and {g.endpoints.length - mostEndpoints} more endpoints</p>}
      {g.endpoints.length === 0 && <p class="muted">It has no endpoints.</p>}
    </section>
  );
}
