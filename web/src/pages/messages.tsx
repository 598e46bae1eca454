import { href, qstash } from "../lib/api";
import { aboutLogs, aboutQueues, useLive } from "../lib/live";
import { place } from "../lib/router";
import { logStates, type LogEntry, type Queue } from "../lib/types";
import { Delivery, Belongs, listedBody, messagePath } from "../ui/message";
import { Ago, Choice, Copy, Empty, Id, List, LiveButton, PageHead, TextFilter, type Column } from "../ui/parts";

/** The log of all messages: what happened to which, newest first. */
export function MessagesPage() {
  const q = place.value.query;
  const filter = { state: q.get("state") ?? "", url: q.get("url") ?? "", label: q.get("label") ?? "", queueName: q.get("queue") ?? "", flowControlKey: q.get("flow") ?? "" };
  const filtered = Object.values(filter).some(Boolean);
  const live = useLive<{ logs: LogEntry[]; cursor?: string }>(qstash("/logs", { ...filter, cursor: q.get("before") ?? "", count: 50, trimBody: listedBody }), aboutLogs);
  const queues = useLive<Queue[]>(qstash("/queues"), aboutQueues).data ?? [];
  const rows = live.data?.logs;
  const among = (of: (e: LogEntry) => string[]) => [...new Set((rows ?? []).flatMap(of))].slice(0, 20);
  const columns: Column<LogEntry>[] = [
    { head: "State", class: "fit", cell: (e) => <Delivery is={e.state} /> },
    {
      head: "Message",
      class: "main",
      cell: (e) => (
        <>
          <a class="row" href={messagePath(e.messageId)}>{e.method} {e.url ?? e.messageId}</a>
          <span class="under"><Belongs m={e} /></span>
          {e.error && <span class="under">{e.error.slice(0, 160)}</span>}
          {e.nextDeliveryTime && <span class="under">next attempt <Ago at={e.nextDeliveryTime} /></span>}
        </>
      ),
    },
    { head: "Answer", wide: true, class: "fit num", cell: (e) => e.responseStatus || <span class="muted">–</span> },
    { head: "Id", wide: true, class: "fit", cell: (e) => <Id id={e.messageId} what="message id" short /> },
    { head: "Time", class: "fit num", cell: (e) => <Ago at={e.time} /> },
  ];
  return (
    <>
      <PageHead title="Messages"><LiveButton stale={live.stale} /></PageHead>
      <div class="filters many">
        <Choice label="State" name="state" value={filter.state} options={[{ value: "", text: "All" }, ...logStates.map((s) => ({ value: s, text: <Delivery is={s} /> }))]} />
        <TextFilter label="Destination URL" name="url" value={filter.url} options={among((e) => (e.url ? [e.url] : []))} />
        <TextFilter label="Label" name="label" value={filter.label} options={among((e) => e.labels ?? [])} />
        <TextFilter label="Queue" name="queue" value={filter.queueName} options={queues.slice(0, 200).map((x) => x.name)} />
        <TextFilter label="Flow-control key" name="flow" value={filter.flowControlKey} options={among((e) => (e.flowControlKey ? [e.flowControlKey] : []))} />
      </div>
      <List
        label="Messages" live={live} rows={rows} next={live.data?.cursor} columns={columns} keyOf={(e) => `${e.messageId} ${e.time} ${e.state}`} to={(e) => messagePath(e.messageId)}
        empty={filtered ? <Empty title="No message fits these filters."><a href={href("/messages")}>Show all messages</a></Empty> : <NoMessages />}
      />
    </>
  );
}

function NoMessages() {
  const env = `QSTASH_URL=${location.origin}`;
  return (
    <Empty title="No messages yet.">
      <p>Apps with the QStash client send them here with</p>
      <p class="command"><code>{env}</code> <Copy text={env} what="environment variable" /></p>
      <p>and the token that <code>quartet env</code> prints.</p>
    </Empty>
  );
}
