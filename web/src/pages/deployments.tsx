import { useState } from "preact/hooks";
import { href, post } from "../lib/api";
import { useLive, usePolling } from "../lib/live";
import { tasksApi, time, type Deployment, type TaskEnvironment } from "../lib/tasks";
import { Dialog } from "../ui/dialog";
import { act } from "../ui/message";
import { Ago, Badge, Copy, Empty, LiveButton, PageHead, Problem, Skeleton, toast } from "../ui/parts";
import { State, taskPath } from "../ui/tasks";
import { Start } from "./tasks";

const polled = () => false; // they are not part of the stream

/** The versions that were deployed to an environment. */
export function DeploymentsPage() {
  const live = useLive<{ data: Deployment[]; pagination: { next?: string } }>(tasksApi("/api/v1/deployments", { "page[size]": 50 }), polled);
  const env = useLive<TaskEnvironment>(tasksApi("/inside/environment"), polled).data;
  usePolling(live.refresh, 2000);
  const all = live.data?.data;
  const current = all?.find((d) => d.isPromoted);
  return (
    <>
      <PageHead title="Deployments"><LiveButton stale={live.stale} /></PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {all?.length === 0 && (
        <Empty title="No deployments yet.">
          {env?.deployed ? <Start env={env} /> : <p>This environment runs what <code>trigger dev</code> offers. Deploy to another, like prod, and choose it above.</p>}
        </Empty>
      )}
      {all?.map((d) => <Card key={d.id} d={d} current={current} changed={live.refresh} />)}
    </>
  );
}

function Card({ d, current, changed }: { d: Deployment; current: Deployment | undefined; changed: () => void }) {
  const [promoting, setPromoting] = useState(false);
  const older = !!current && d.createdAt < current.createdAt;
  const cancel = () => act(async () => {
    await post(tasksApi(`/api/v1/deployments/${d.id}/cancel`));
  }, changed);
  return (
    <section class="card" aria-label={`Version ${d.version}`}>
      <div class="card-head">
        <h2>{d.version}</h2>
        <State is={d.status} />
        {d.isPromoted && <Badge tone="good">current</Badge>}
        <div class="actions">
          {d.status === "DEPLOYED" && !d.isPromoted && <button type="button" class="small" onClick={() => setPromoting(true)}>{older ? "Roll back to it…" : "Promote…"}</button>}
          {["PENDING", "BUILDING", "DEPLOYING"].includes(d.status) && <button type="button" class="small" onClick={() => void cancel()}>Cancel</button>}
        </div>
      </div>
      {d.error && (
        <div class="error">
          <p class="error-message"><strong>{d.error.name}</strong>: {d.error.message}</p>
          {(d.error.stderr || d.error.stack) && <details open><summary>Output</summary><pre tabIndex={0}>{d.error.stderr || d.error.stack}</pre></details>}
        </div>
      )}
      <dl class="facts">
        <div><dt>Deployed</dt><dd><Ago at={time(d.deployedAt ?? d.createdAt)} /></dd></div>
        {d.git?.commitMessage && <div><dt>Commit</dt><dd>{d.git.commitMessage.split("\n")[0]} <span class="muted">{d.git.commitRef} {d.git.commitSha?.slice(0, 8)}</span></dd></div>}
        {d.runtimeVersion && <div><dt>Runtime</dt><dd>{d.runtime} {d.runtimeVersion}</dd></div>}
        {d.canceledReason && <div><dt>Cancelled</dt><dd>{d.canceledReason}</dd></div>}
        {d.worker && <div><dt>Tasks</dt><dd>{d.worker.tasks.map((t, i) => <span key={t.id}>{i > 0 && ", "}<a href={taskPath(t.id)}>{t.id}</a></span>)}</dd></div>}
        <div><dt>Runs</dt><dd><a href={href("/tasks/runs", { version: d.version })}>Show them</a></dd></div>
        <div><dt>Id</dt><dd><span class="id"><span>{d.id}</span><Copy text={d.id} what="deployment id" /></span></dd></div>
      </dl>
      {promoting && (
        <Dialog title={`Make ${d.version} the current version?`} submit={older ? "Roll back" : "Promote"} onClose={() => setPromoting(false)} onSubmit={async () => {
          await post(tasksApi(`/api/v1/deployments/${d.version}/promote`, { allowRollbacks: "true" }));
          toast(`${d.version} is the current version.`);
          changed();
        }}>
          <p>Runs that have begun go on with the version that they began with. All others get this one.</p>
        </Dialog>
      )}
    </section>
  );
}
