import { useEffect, useState } from "preact/hooks";
import { href, message, post, query } from "../lib/api";
import { aboutFunctions, aboutRuns, useLive } from "../lib/live";
import { duration } from "../lib/time";
import type { QFunction, Run } from "../lib/types";
import { flowWords, retriesWords, type Words } from "../lib/words";
import { Icon } from "../ui/icons";
import { Badge, Copy, LiveButton, PageHead, Problem, Sentence, Skeleton, toast } from "../ui/parts";
import { InvokeDialog, sending } from "../ui/send";
import { RunList } from "./runs";

export function FunctionPage({ slug }: { slug: string }) {
  const path = `/functions/${encodeURIComponent(slug)}`;
  const live = useLive<QFunction>(path, aboutFunctions);
  const runs = useLive<{ runs: Run[]; next: string }>(query("/runs", { function: slug, limit: 15 }), aboutRuns);
  const [invoking, setInvoking] = useState(false);
  const f = live.data;
  useEffect(() => {
    if (f) document.title = `${f.name} · Quartet`;
  }, [f?.name]);
  const pause = async () => {
    try {
      await post(`${path}/${f?.paused ? "resume" : "pause"}`);
      toast(f?.paused ? "The function starts runs again." : "The function is paused: what would have started it is recorded as skipped.");
      live.refresh();
    } catch (err) {
      toast(message(err), { tone: "bad" });
    }
  };
  return (
    <>
      <PageHead
        title={<>{f?.name ?? slug}{f?.paused && <> <Badge tone="warn">paused</Badge></>}{f?.archived && <> <Badge>no longer registered</Badge></>}</>}
        sub={<span class="id"><span>{slug}</span><Copy text={slug} what="function id" /></span>} back={<a href={href("/functions")}>Functions</a>}
      >
        {f && !f.archived && (
          <>
            <button type="button" class="primary" onClick={() => setInvoking(true)}><Icon name="send" />Invoke…</button>
            <button type="button" onClick={() => void pause()}><Icon name={f.paused ? "running" : "pause"} />{f.paused ? "Resume" : "Pause"} function</button>
          </>
        )}
        <LiveButton stale={live.stale || runs.stale} />
      </PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {f && <Settings fn={f} />}
      <section>
        <div class="section-head">
          <h2>Latest runs</h2>
          <a href={href("/runs", { function: slug })}>All runs</a>
        </div>
        <RunList live={runs} rows={runs.data?.runs} next={undefined} hideFunction />
      </section>
      {invoking && f && <InvokeDialog fn={f} onClose={() => setInvoking(false)} />}
    </>
  );
}

function Settings({ fn }: { fn: QFunction }) {
  const flow = flowWords(fn.flow);
  const cancel = (fn.cancel ?? []).map((c): Words => ["By ", { code: c.Event }, ...(c.If ? [" if ", { code: c.If }] : []), c.Timeout ? `, up to ${duration(c.Timeout)} after the run's creation` : ""]);
  return (
    <dl class="facts settings">
      <div>
        <dt>Starts on</dt>
        <dd>
          {(fn.triggers ?? []).map((t, i) => (
            <p key={i}>
              {t.Cron ? <>Schedule <code>{t.Cron}</code></> : <>Event <code>{t.Event}</code></>}
              {t.If && <> if <code>{t.If}</code></>}
              {t.CronJitter > 0 && <>, up to {duration(t.CronJitter)} late</>}
              {t.Event && !t.Event.endsWith("*") && <> <button type="button" class="small" onClick={() => (sending.value = { name: t.Event })}>Send it</button></>}
            </p>
          ))}
          {!fn.triggers?.length && <p class="muted">Only when it is invoked.</p>}
        </dd>
      </div>
      {flow.map((s, i) => <div key={i}><dt>{s.label}</dt><dd><Sentence words={s.words} />.</dd></div>)}
      {flow.length === 0 && <div><dt>Flow control</dt><dd class="muted">None: runs start at once, without a limit.</dd></div>}
      <div><dt>Attempts</dt><dd>{retriesWords(fn)}.</dd></div>
      {cancel.length > 0 && <div><dt>Cancelled</dt><dd>{cancel.map((w, i) => <p key={i}><Sentence words={w} />.</p>)}</dd></div>}
      <div><dt>App</dt><dd><a href={href("/apps")}>{fn.app}</a>, by {fn.door}, registration {fn.version}</dd></div>
    </dl>
  );
}
