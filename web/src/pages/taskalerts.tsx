import { useState } from "preact/hooks";
import { href, post, remove } from "../lib/api";
import { useLive } from "../lib/live";
import { navigate } from "../lib/router";
import { tasksApi, type AlertChannel } from "../lib/tasks";
import { Dialog } from "../ui/dialog";
import { act } from "../ui/message";
import { Badge, Copy, Empty, PageHead, Problem, Skeleton } from "../ui/parts";
import { Field, Table } from "../ui/tasks";

const words: Record<string, string> = { "alert.run.failed": "runs that fail", "alert.deployment.failed": "deployments that fail", "alert.deployment.success": "deployments that succeed" };
const still = () => false; // it changes by one's own hand

/** Who is told when something fails. */
export function TaskAlertsPage() {
  const live = useLive<{ channels: AlertChannel[]; types: string[] }>(tasksApi("/inside/alerts"), still);
  const [adding, setAdding] = useState(false);
  const [made, setMade] = useState<string>();
  const [deleting, setDeleting] = useState<AlertChannel>();
  const rows = live.data?.channels;
  return (
    <>
      <PageHead title="Alerts"><button type="button" onClick={() => setAdding(true)}>New channel…</button></PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {made && (
        <section class="panel" aria-label="Secret of the new channel">
          <p>Its alerts are signed with this secret, which is not shown again: <code>{made}</code> <Copy text={made} what="secret" /></p>
          <p class="hint">The receiver verifies them with <code>webhooks.constructEvent(request, secret)</code> of @trigger.dev/sdk.</p>
        </section>
      )}
      {rows?.length === 0 && <Empty title="Nobody is told yet."><p>A channel is a URL that gets a POST request when a run or a deployment of this environment fails.</p></Empty>}
      {!!rows?.length && (
        <Table label="Alert channels" heads={["Channel", "Is told of", "Do"]}>
          {rows.map((c) => (
            <tr key={c.id}>
              <td class="main"><a href={href("/runs", { function: c.function })}>{c.name}</a><span class="under">{c.url}</span></td>
              <td class="main">{c.types.map((t) => <span key={t}><Badge>{words[t] ?? t}</Badge> </span>)}</td>
              <td class="fit">
                <button type="button" class="small" onClick={() => void act(async () => {
                  const { run } = await post<{ run: string }>(tasksApi(`/inside/alerts/${c.id}/test`));
                  navigate(href(`/runs/${run}`));
                }, live.refresh)}>Send a test</button>{" "}
                <button type="button" class="small" onClick={() => setDeleting(c)}>Delete…</button>
              </td>
            </tr>
          ))}
        </Table>
      )}
      {adding && live.data && <Add types={live.data.types} onClose={() => setAdding(false)} done={(secret) => { setMade(secret); live.refresh(); }} />}
      {deleting && (
        <Dialog title={`Delete the channel ${deleting.name}?`} submit="Delete" danger onClose={() => setDeleting(undefined)} onSubmit={async () => {
          await remove(tasksApi(`/inside/alerts/${deleting.id}`));
          live.refresh();
        }}>
          <p>It is told of nothing more; alerts that have not arrived yet are dropped.</p>
        </Dialog>
      )}
    </>
  );
}

function Add({ types, onClose, done }: { types: string[]; onClose: () => void; done: (secret: string) => void }) {
  const [name, setName] = useState("");
  const [url, setUrl] = useState("");
  const [secret, setSecret] = useState("");
  const [chosen, setChosen] = useState(types.filter((t) => t.endsWith(".failed")));
  return (
    <Dialog title="New alert channel" submit="Create" valid={!!name.trim() && !!url.trim() && chosen.length > 0} onClose={onClose} onSubmit={async () => {
      const c = await post<{ secret: string }>(tasksApi("/inside/alerts"), JSON.stringify({ name: name.trim(), url: url.trim(), secret: secret.trim(), types: chosen }));
      done(c.secret);
    }}>
      <Field label="Name" value={name} onInput={setName} />
      <Field label="URL" value={url} onInput={setUrl} mono hint="It gets a POST request with JSON, again and again for two hours until it answers with a status between 200 and 299." />
      <Field label="Secret" value={secret} onInput={setSecret} mono hint="Empty for one that is made now." />
      {types.map((t) => (
        <label class="check" key={t}><input type="checkbox" checked={chosen.includes(t)} onChange={(e) => setChosen(e.currentTarget.checked ? [...chosen, t] : chosen.filter((o) => o !== t))} /> {words[t] ?? t}</label>
      ))}
    </Dialog>
  );
}
