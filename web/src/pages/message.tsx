import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { href, qstash, remove } from "../lib/api";
import { aboutRun, never, paused, useLive } from "../lib/live";
import { clockTime, duration, now } from "../lib/time";
import type { LogEntry } from "../lib/types";
import { bodyOf, limitWords } from "../lib/words";
import { Answer, Body, Headers } from "../ui/attempt";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { Delivery } from "../ui/message";
import { At, Badge, Countdown, Empty, Id, LiveButton, PageHead, Problem, Skeleton, toast } from "../ui/parts";

const most = 500; // entries of one message that are shown, the latest
const shownAnswer = 20_000; // bytes of each answer

/** Entries of one moment come in the order in which they were written. */
const over = (e: LogEntry | undefined) => !!e && ["DELIVERED", "FAILED", "CANCELED"].includes(e.state);

export function MessagePage({ id }: { id: string }) {
  const live = useLive<{ logs: LogEntry[]; cursor?: string }>(qstash("/logs", { messageId: id, count: most, trimBody: shownAnswer }), aboutRun(id.replace(/^msg_/, "")));
  const whole = useLive<{ logs: LogEntry[] }>(qstash("/logs", { messageId: id, order: "earliestFirst", count: 1 }), never); // its creation, with the body, which does not change
  const [cancelling, setCancelling] = useState(false);
  const log = live.data?.logs.toReversed();
  const first = whole.data?.logs[0] ?? log?.[0];
  const last = log?.at(-1);
  const due = last && !over(last) ? last.nextDeliveryTime : undefined;
  // What was due may have happened without the stream reaching us, so look again.
  useEffect(() => {
    if (!due || due < now.peek()) return;
    const t = setTimeout(() => paused.peek() || live.refresh(), Math.min(due - now.peek() + 500, 2 ** 31 - 1));
    return () => clearTimeout(t);
  }, [due]);
  useEffect(() => {
    if (last) document.title = `${last.state.toLowerCase()}: ${last.url ?? id} · Quartet`;
  }, [last?.state, last?.url]);
  return (
    <>
      <PageHead
        title={first ? `${first.method ?? ""} ${first.url ?? id}` : "Message"} back={<a href={href("/messages")}>Messages</a>}
        sub={<>{last && <Delivery is={last.state} />}<Id id={id} what="message id" />{last && <a href={href(`/runs/${id.replace(/^msg_/, "")}`)}>See its run</a>}</>}
      >
        {last && !over(last) && <button type="button" class="danger" onClick={() => setCancelling(true)}><Icon name="failed" />Cancel…</button>}
        <LiveButton stale={live.stale} />
      </PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {log?.length === 0 && <Empty title="There is nothing on record about this message."><p>Its log may be older than what the server keeps. <a href={href("/messages")}>Show all messages</a></p></Empty>}
      {first && last && (
        <>
          {due !== undefined && (
            <section class="panel waiting-panel" aria-label="What this message waits for">
              <h2>Waiting</h2>
              <p class="reason-line"><Icon name={last.state === "RETRY" ? "retrying" : "sleeping"} /><span>{last.state === "RETRY" ? "The last attempt failed; another one follows." : "It is not due yet."}</span><span class="due">{due > now.value ? "Due in " : ""}<Countdown until={due} /></span></p>
            </section>
          )}
          <Configuration m={first} />
          <section>
            <h2>What happened</h2>
            {live.data?.cursor && <p class="muted">Earlier entries are not shown here.</p>}
            {log?.map((e, i) => <Entry key={i} e={e} since={first.time} said={e.error === log[i - 1]?.error} />)}
          </section>
          <section>
            <h2>Request</h2>
            {whole.error && <Problem text={whole.error} retry={whole.refresh} />}
            {whole.loading && <Skeleton />}
            {whole.data?.logs[0] && <Request m={whole.data.logs[0]} />}
          </section>
        </>
      )}
      {cancelling && (
        <Dialog title="Cancel this message?" submit="Cancel the message" danger onClose={() => setCancelling(false)} onSubmit={async () => {
          await remove(qstash(`/messages/${encodeURIComponent(id)}`));
          toast("The message was cancelled.");
          live.refresh();
        }}>
          <p>It is not delivered any more. An attempt that is under way is not interrupted, but its outcome is dropped.</p>
        </Dialog>
      )}
    </>
  );
}

function Configuration({ m }: { m: LogEntry }) {
  const limits = limitWords(m.parallelism, m.rate, m.period);
  const facts: [string, ComponentChildren][] = [
    ["Created", <At at={m.time} />],
    ["Not before", m.nextDeliveryTime && <><At at={m.nextDeliveryTime} /><span class="muted">, delayed by {duration(m.nextDeliveryTime - m.time)}</span></>],
    ["Retries", m.maxRetries !== undefined && <>{m.maxRetries === 0 ? "none" : `up to ${m.maxRetries}`}{m.retryDelayExpression && <>, after <code>{m.retryDelayExpression}</code> ms</>}</>],
    ["Timeout", !!m.timeout && `${duration(m.timeout)} for each attempt`],
    ["Queue", m.queueName && <a href={href("/messages", { queue: m.queueName })}>{m.queueName}</a>],
    ["Flow control", m.flowControlKey && <><a href={href("/messages", { flow: m.flowControlKey })}>{m.flowControlKey}</a>{limits && `: ${limits}`}</>],
    ["URL group", m.topicName && <><a href={href("/groups")}>{m.topicName}</a>{m.endpointName && `, endpoint ${m.endpointName}`}</>],
    ["Schedule", m.scheduleId && <a href={href("/schedules")}>{m.scheduleId}</a>],
    ["Labels", !!m.labels?.length && m.labels.map((l) => <span key={l}><Badge>{l}</Badge> </span>)],
    ["Callback", m.callback && <code>{m.callback}</code>],
    ["On failure", m.failureCallback && <code>{m.failureCallback}</code>],
    ["Sent from", m.callerIP],
  ];
  return <dl class="facts settings">{facts.map(([k, v]) => (v ? <div key={k}><dt>{k}</dt><dd>{v}</dd></div> : null))}</dl>;
}

/** said is whether the entry before has the same error: what follows a failure repeats it. */
function Entry({ e, since, said }: { e: LogEntry; since: number; said: boolean }) {
  return (
    <div class="attempt">
      <p class="attempt-head">
        <Delivery is={e.state} />
        <span class="muted" title={new Date(e.time).toISOString()}>{clockTime(e.time)}{e.time > since && `, ${duration(e.time - since)} after its creation`}</span>
        {e.nextDeliveryTime ? <span class="muted">{e.nextDeliveryTime > now.value ? <>next delivery in <Countdown until={e.nextDeliveryTime} /></> : `delivery was due ${duration(e.nextDeliveryTime - e.time)} later`}</span> : null}
      </p>
      {e.error && !said && <p class="error-message">{e.error}</p>}
      {e.responseStatus ? <Answer a={{ httpStatus: e.responseStatus, httpHeaders: e.responseHeader, ...(e.responseBody ? { httpBody: e.responseBody } : {}) }} who="The destination" /> : null}
    </div>
  );
}

function Request({ m }: { m: LogEntry }) {
  const body = m.body ? bodyOf(m.body) : undefined;
  return (
    <>
      <Headers of={m.header} />
      {!body ? <p class="muted">It has no body.</p> : "text" in body ? <Body text={body.text} label="body of the message" /> : <p class="muted">{body.bytes} bytes that are no text.</p>}
    </>
  );
}
