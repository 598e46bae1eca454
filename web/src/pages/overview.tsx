import { href, query } from "../lib/api";
import { aboutApps, aboutFunctions, aboutRuns, useLive } from "../lib/live";
import type { App, Overview, QFunction, Run } from "../lib/types";
import { Icon } from "../ui/icons";
import { LiveButton, PageHead, Problem } from "../ui/parts";
import { appProblem, Onboarding } from "./apps";
import { RunList } from "./runs";

const rows = 8;

export function OverviewPage() {
  const counts = useLive<Overview>("/overview", aboutRuns);
  const apps = useLive<{ apps: App[] }>(query("/apps", { limit: 200 }), aboutApps);
  const fns = useLive<{ functions: QFunction[]; next: string }>(query("/functions", { limit: 200 }), aboutFunctions);
  const running = useLive<{ runs: Run[]; next: string }>(query("/runs", { status: "running", limit: rows }), aboutRuns);
  const queued = useLive<{ runs: Run[]; next: string }>(query("/runs", { status: "queued", limit: rows }), aboutRuns);
  const failed = useLive<{ runs: Run[]; next: string }>(query("/runs", { status: "failed", limit: rows }), aboutRuns);
  const broken = (apps.data?.apps ?? []).filter(appProblem);
  const stopped = (fns.data?.functions ?? []).filter((f) => f.paused);
  const c = counts.data;
  const fresh = apps.data?.apps.length === 0;
  return (
    <>
      <PageHead title="Overview"><LiveButton stale={counts.stale || running.stale} /></PageHead>
      {counts.error && <Problem text={counts.error} retry={counts.refresh} />}
      {broken.map((a) => (
        <div class="notice bad" key={a.name}><Icon name="warning" /><span>The app <a href={href("/apps")}>{a.name}</a> does not answer as it should: {appProblem(a)}</span></div>
      ))}
      {stopped.map((f) => (
        <div class="notice warn" key={f.slug}><Icon name="pause" /><span>The function <a href={href(`/functions/${encodeURIComponent(f.slug)}`)}>{f.name}</a> is paused.</span></div>
      ))}
      <dl class="numbers">
        <Number label="unfinished runs" value={c?.unfinishedRuns} />
        <Number label="calls to apps right now" value={c?.callsInFlight} />
        <Number label="open batches and debounces" value={c?.openBatches} />
        <Number label="functions" value={fns.data?.functions.length} more={!!fns.data?.next} />
      </dl>
      {fresh && !failed.data?.runs.length ? <Onboarding /> : (
        <>
          <Part title="Failed lately" status="failed" live={failed} none="No run has failed." />
          <Part title="Running or waiting" status="running" live={running} none="Nothing is running." />
          <Part title="Queued" status="queued" live={queued} none="Nothing is queued." />
        </>
      )}
    </>
  );
}

function Number({ label, value, more }: { label: string; value: number | undefined; more?: boolean }) {
  return <div><dt>{label}</dt><dd>{value === undefined ? "–" : value.toLocaleString("en")}{more && "+"}</dd></div>;
}

function Part({ title, status, live, none }: { title: string; status: string; live: ReturnType<typeof useLive<{ runs: Run[]; next: string }>>; none: string }) {
  return (
    <section>
      <div class="section-head">
        <h2>{title}</h2>
        {live.data?.next && <a href={href("/runs", { status })}>All</a>}
      </div>
      {live.data?.runs.length === 0 ? <p class="muted none">{none}</p> : <RunList live={live} rows={live.data?.runs} next={undefined} />}
    </section>
  );
}
