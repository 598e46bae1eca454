import { useState } from "preact/hooks";
import { href, message, post, query, remove } from "../lib/api";
import { aboutApps, useLive, usePolling } from "../lib/live";
import { place } from "../lib/router";
import type { App } from "../lib/types";
import { Icon } from "../ui/icons";
import { Badge, Copy, Empty, LiveButton, PageHead, Problem, Skeleton, toast } from "../ui/parts";
import { Dialog } from "../ui/dialog";
import { withQuery } from "../lib/router";

export function AppsPage() {
  const after = place.value.query.get("after") ?? "";
  const live = useLive<{ apps: App[]; next: string }>(query("/apps", { after, limit: 50 }), aboutApps);
  const [adding, setAdding] = useState(false);
  usePolling(live.refresh); // whether an app answers is not part of the stream
  const apps = live.data?.apps;
  return (
    <>
      <PageHead title="Apps">
        <button type="button" class="primary" onClick={() => setAdding(true)}>Add app…</button>
        <LiveButton stale={live.stale} />
      </PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {apps?.length === 0 && <Onboarding add={() => setAdding(true)} />}
      {apps?.map((a) => <AppCard key={a.name} app={a} changed={live.refresh} />)}
      {(after || live.data?.next) && (
        <nav class="pager" aria-label="Pages">
          {after ? <a class="button" href={withQuery({ after: undefined })}>First page</a> : <span class="muted">First page</span>}
          {live.data?.next ? <a class="button" rel="next" href={withQuery({ after: live.data.next })}>Next page</a> : <span class="muted">Last page</span>}
        </nav>
      )}
      {adding && <AddDialog onClose={() => setAdding(false)} added={live.refresh} />}
    </>
  );
}

export function appProblem(a: App): string {
  return a.error || a.meta?.error || "";
}

function AppCard({ app, changed }: { app: App; changed: () => void }) {
  const [removing, setRemoving] = useState(false);
  const [busy, setBusy] = useState(false);
  const wrong = appProblem(app);
  const resync = async () => {
    setBusy(true);
    try {
      await post("/apps", JSON.stringify({ url: app.url }));
      toast(`${app.name} registered its functions again.`);
    } catch (err) {
      toast(message(err), { tone: "bad" });
    }
    setBusy(false);
    changed();
  };
  return (
    <section class="card" aria-label={app.name}>
      <div class="card-head">
        <h2>{app.name}</h2>
        {wrong ? <span class="status bad"><Icon name="warning" />does not answer as it should</span> : <span class="status good"><Icon name="completed" />connected</span>}
        {app.meta?.discovered && <Badge>found by discovery</Badge>}
        <div class="actions">
          {app.url && <button type="button" class="small" disabled={busy} onClick={() => void resync()}><Icon name="rerun" />{busy ? "Asking…" : "Resync"}</button>}
          <button type="button" class="small" onClick={() => setRemoving(true)}>Remove…</button>
        </div>
      </div>
      {wrong && <div class="notice bad"><Icon name="warning" /><span>{wrong}</span></div>}
      <dl class="facts">
        <div><dt>URL</dt><dd>{app.url ? <span class="id"><span>{app.url}</span><Copy text={app.url} what="URL" /></span> : <span class="muted">none</span>}</dd></div>
        <div><dt>SDK</dt><dd>{app.meta?.sdk ?? <span class="muted">unknown</span>}{app.meta?.framework && `, ${app.meta.framework}`}{app.meta?.appVersion && `, app version ${app.meta.appVersion}`}</dd></div>
        <div><dt>Connected by</dt><dd>{app.door}{app.meta?.method && `, ${app.meta.method}`}</dd></div>
      </dl>
      {removing && (
        <Dialog title={`Remove ${app.name}?`} submit="Remove" danger onClose={() => setRemoving(false)} onSubmit={async () => {
          await remove(`/apps/${encodeURIComponent(app.name)}`);
          toast(`${app.name} was removed.`);
          changed();
        }}>
          <p>Its functions start nothing new until it registers again. What they have done so far stays.</p>
        </Dialog>
      )}
    </section>
  );
}

function AddDialog({ onClose, added }: { onClose: () => void; added: () => void }) {
  const [url, setUrl] = useState("");
  const add = async () => {
    await post("/apps", JSON.stringify({ url: url.trim() }));
    toast("The app registered its functions.", { link: { href: href("/functions"), text: "See them" } });
    added();
  };
  return (
    <Dialog title="Add an app" submit="Add" valid={/^https?:\/\/./.test(url.trim())} onSubmit={add} onClose={onClose}>
      <div class="field">
        <div class="field-head"><label for="app-url">URL that serves its functions</label></div>
        <input id="app-url" type="url" class="mono" autofocus required value={url} placeholder="http://localhost:3000/api/inngest" onInput={(e) => setUrl(e.currentTarget.value)} />
      </div>
    </Dialog>
  );
}

/** What to do when nothing is connected yet. */
export function Onboarding({ add }: { add?: () => void }) {
  const env = `INNGEST_DEV=${location.origin}`;
  return (
    <Empty title="No app is connected yet.">
      <p>Start your app with</p>
      <p class="command"><code>{env}</code> <Copy text={env} what="environment variable" /></p>
      <p>so that it finds this server, or add it by its URL.</p>
      {add ? <button type="button" class="primary" onClick={add}>Add app…</button> : <a class="button primary" href={href("/apps")}>Add an app</a>}
    </Empty>
  );
}
