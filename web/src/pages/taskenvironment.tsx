import { useState } from "preact/hooks";
import { loadSession, post, remove } from "../lib/api";
import { useLive } from "../lib/live";
import { tasksApi, time, type TaskEnvironment, type Variable } from "../lib/tasks";
import { Dialog } from "../ui/dialog";
import { Ago, Badge, Copy, PageHead, Problem, Skeleton, toast } from "../ui/parts";
import { Field, Table } from "../ui/tasks";

const still = () => false; // it changes by one's own hand

/** Keys, variables and access tokens. */
export function TaskEnvironmentPage() {
  const live = useLive<TaskEnvironment>(tasksApi("/inside/environment"), still);
  const e = live.data;
  return (
    <>
      <PageHead title="Keys and variables" sub={e && <>{e.slug}{e.branch && ` / ${e.branch}`} of {e.project}</>} />
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {e && <Key env={e} changed={live.refresh} />}
      <Tokens
        kind="keys" title="Additional keys" add="New key…" asks="New key"
        hint={(any) => any ? "A development server accepts any key that begins like the environment's own." : "They open the environment like its secret key, and are revoked one by one: make one and hand it out before you replace the secret key."}
      />
      {e && <Variables env={e} />}
      <Tokens
        kind="tokens" title="Access tokens of the CLI" label="Access tokens" add="New token…" asks="New access token"
        hint={(any) => `Whoever has one may deploy to every environment. ${any ? "A development server accepts any that begins with tr_pat_." : "npx trigger.dev login makes one too."}`}
      />
      <Others />
    </>
  );
}

function Key({ env, changed }: { env: TaskEnvironment; changed: () => void }) {
  const [shown, setShown] = useState(false);
  const [rotating, setRotating] = useState(false);
  return (
    <section class="card" aria-label="Secret key">
      <div class="card-head">
        <h2>Secret key</h2>
        <div class="actions">
          <button type="button" class="small" aria-pressed={shown} onClick={() => setShown(!shown)}>{shown ? "Hide" : "Show"}</button>
          <Copy text={`TRIGGER_API_URL=${env.apiUrl}\nTRIGGER_SECRET_KEY=${env.key}\n`} what="lines for .env" label="Copy for .env" />
          {env.rotates && <button type="button" class="small" onClick={() => setRotating(true)}>Replace…</button>}
        </div>
      </div>
      <dl class="facts">
        <div><dt>TRIGGER_API_URL</dt><dd><code>{env.apiUrl}</code></dd></div>
        <div><dt>TRIGGER_SECRET_KEY</dt><dd><code>{shown ? env.key : `${env.key.slice(0, env.key.indexOf("_", 3) + 1)}…`}</code></dd></div>
      </dl>
      {rotating && (
        <Dialog title="Replace the secret key?" submit="Replace" danger onClose={() => setRotating(false)} onSubmit={async () => {
          await post(tasksApi("/inside/key"));
          toast("The key was replaced.");
          changed();
        }}>
          <p>Apps that have the old key are refused at once; those with an additional key are not. Deployed tasks get the new one with their next attempt.</p>
        </Dialog>
      )}
    </section>
  );
}

function Variables({ env }: { env: TaskEnvironment }) {
  const path = `/api/v1/projects/${env.project}/envvars/${env.slug}`;
  const live = useLive<Variable[]>(tasksApi(path), still);
  const [editing, setEditing] = useState<Variable>();
  const [importing, setImporting] = useState(false);
  const [deleting, setDeleting] = useState<string>();
  return (
    <section class="card" aria-label="Environment variables">
      <div class="card-head">
        <h2>Environment variables</h2>
        <div class="actions">
          <button type="button" class="small" onClick={() => setImporting(true)}>Import…</button>
          <button type="button" class="small" onClick={() => setEditing({ name: "", value: "", isSecret: false })}>Add…</button>
        </div>
      </div>
      <p class="hint">Tasks get them with each attempt, without another deployment. They are encrypted in the store.</p>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.data?.length === 0 && <p class="none muted">There are none.</p>}
      {!!live.data?.length && (
        <Table label="Environment variables" heads={["Name", "Value", "Do"]}>
          {live.data.map((v) => (
            <tr key={v.name}>
              <td class="main"><code>{v.name}</code> {v.isSecret && <Badge>secret</Badge>}</td>
              <td class="main"><code>{v.isSecret ? "••••••" : v.value}</code></td>
              <td class="fit"><button type="button" class="small" onClick={() => setEditing({ ...v, value: v.isSecret ? "" : v.value })}>Edit…</button> <button type="button" class="small" onClick={() => setDeleting(v.name)}>Delete…</button></td>
            </tr>
          ))}
        </Table>
      )}
      {editing && <Edit v={editing} path={path} fresh={!live.data?.some((o) => o.name === editing.name)} onClose={() => setEditing(undefined)} done={live.refresh} />}
      {importing && <Import path={path} onClose={() => setImporting(false)} done={live.refresh} />}
      {deleting && (
        <Dialog title={`Delete ${deleting}?`} submit="Delete" danger onClose={() => setDeleting(undefined)} onSubmit={async () => {
          await remove(tasksApi(`${path}/${deleting}`));
          live.refresh();
        }}>
          <p>Attempts that begin from now on go without it.</p>
        </Dialog>
      )}
    </section>
  );
}

function Edit({ v, path, fresh, onClose, done }: { v: Variable; path: string; fresh: boolean; onClose: () => void; done: () => void }) {
  const [name, setName] = useState(v.name);
  const [value, setValue] = useState(v.value);
  const [secret, setSecret] = useState(v.isSecret);
  return (
    <Dialog title={fresh ? "Add a variable" : `Change ${v.name}`} submit={fresh ? "Add" : "Change"} valid={!!name.trim()} onClose={onClose} onSubmit={async () => {
      await post(tasksApi(path), JSON.stringify({ name: name.trim(), value, isSecret: secret }));
      done();
    }}>
      {fresh && <Field label="Name" value={name} onInput={setName} mono />}
      <Field label="Value" value={value} onInput={setValue} mono secret={secret} />
      <label class="check"><input type="checkbox" checked={secret} onChange={(e) => setSecret(e.currentTarget.checked)} /> Secret: its value is not shown again</label>
    </Dialog>
  );
}

/** Lines of a dotenv file as variables; what is no such line is left out. */
export function dotenv(text: string): Record<string, string> {
  const out: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const m = /^\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(.*?)\s*$/.exec(line);
    if (m?.[1]) out[m[1]] = (m[2] ?? "").replace(/^(["'])(.*)\1$/, "$2");
  }
  return out;
}

function Import({ path, onClose, done }: { path: string; onClose: () => void; done: () => void }) {
  const [text, setText] = useState("");
  const variables = dotenv(text);
  const n = Object.keys(variables).length;
  return (
    <Dialog title="Import variables" submit={`Import ${n}`} valid={n > 0} onClose={onClose} onSubmit={async () => {
      await post(tasksApi(`${path}/import`), JSON.stringify({ variables, override: true }));
      toast(`${n} variables were imported.`);
      done();
    }}>
      <div class="field">
        <div class="field-head"><label for="dotenv">Lines of a .env file</label></div>
        <textarea id="dotenv" class="mono" rows={10} value={text} spellcheck={false} onInput={(e) => setText(e.currentTarget.value)} />
      </div>
    </Dialog>
  );
}

interface AccessToken {
  hash: string;
  name: string;
  hint: string;
  configured: boolean;
  createdAt?: string;
}

/** What opens something and is shown once, when it is made. */
function Tokens({ kind, title, label = title, add, asks, hint }: { kind: "keys" | "tokens"; title: string; label?: string; add: string; asks: string; hint: (any: boolean) => string }) {
  const live = useLive<{ tokens: AccessToken[]; any: boolean }>(tasksApi(`/inside/${kind}`), still);
  const [creating, setCreating] = useState(false);
  const [name, setName] = useState("");
  const [made, setMade] = useState("");
  return (
    <section class="card" aria-label={label}>
      <div class="card-head"><h2>{title}</h2><div class="actions"><button type="button" class="small" onClick={() => setCreating(true)}>{add}</button></div></div>
      {live.data && <p class="hint">{hint(live.data.any)}</p>}
      {made && <div class="notice good"><span>This is shown once: <code>{made}</code></span> <Copy text={made} what={kind === "keys" ? "key" : "token"} /></div>}
      {!!live.data?.tokens.length && (
        <Table label={label} heads={["Name", "Made", "Do"]}>
          {live.data.tokens.map((t) => (
            <tr key={t.hash}>
              <td class="main">{t.name} {t.hint && <span class="muted">…{t.hint}</span>}</td>
              <td class="fit">{t.createdAt ? <Ago at={time(t.createdAt)} /> : <span class="muted">by the server's flags</span>}</td>
              <td class="fit">{!t.configured && <button type="button" class="small" onClick={() => void remove(tasksApi(`/inside/tokens/${t.hash}`)).then(live.refresh)}>Revoke</button>}</td>
            </tr>
          ))}
        </Table>
      )}
      {creating && (
        <Dialog title={asks} submit="Make" valid={!!name.trim()} onClose={() => setCreating(false)} onSubmit={async () => {
          setMade((await post<{ token: string }>(tasksApi(`/inside/${kind}`), JSON.stringify({ name }))).token);
          setName("");
          live.refresh();
        }}>
          <Field label="Name" hint="Who or what uses it, like CI." value={name} onInput={setName} />
        </Dialog>
      )}
    </section>
  );
}

function Others() {
  const live = useLive<{ environments: { name: string; project: string; slug: string; branch: string }[] }>(tasksApi("/inside/environments"), still);
  const [v, setV] = useState({ project: "", slug: "staging", branch: "" });
  const [adding, setAdding] = useState(false);
  return (
    <section class="card" aria-label="Environments">
      <div class="card-head"><h2>Environments</h2><div class="actions"><button type="button" class="small" onClick={() => (setV({ ...v, project: live.data?.environments[0]?.project ?? "" }), setAdding(true))}>Add…</button></div></div>
      <p class="hint">They also appear when the CLI names them first.</p>
      <ul class="plain-list">{live.data?.environments.map((e) => <li key={e.name}><a href={`/tasks?env=${encodeURIComponent(e.name)}`}>{e.slug}{e.branch && ` / ${e.branch}`}</a> <span class="muted">of {e.project}</span></li>)}</ul>
      {adding && (
        <Dialog title="Add an environment" submit="Add" valid={!!v.project.trim()} onClose={() => setAdding(false)} onSubmit={async () => {
          await post(tasksApi("/inside/environments"), JSON.stringify(v));
          await loadSession();
          live.refresh();
        }}>
          <Field label="Project" hint="The ref in trigger.config.ts, like proj_shop." value={v.project} onInput={(project) => setV({ ...v, project })} mono />
          <Field label="Environment" value={v.slug} onInput={(slug) => setV({ ...v, slug })} list={["dev", "staging", "prod", "preview"]} />
          <Field label="Branch" hint="Of preview or dev only." value={v.branch} onInput={(branch) => setV({ ...v, branch })} />
        </Dialog>
      )}
    </section>
  );
}
