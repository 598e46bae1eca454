import { useState } from "preact/hooks";
import { href, post, qstash, remove } from "../lib/api";
import { aboutDead, useLive } from "../lib/live";
import { place } from "../lib/router";
import { now } from "../lib/time";
import type { DeadLetter } from "../lib/types";
import { deadReason } from "../lib/words";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { act, Belongs, listedBody, messagePath } from "../ui/message";
import { Ago, Empty, List, LiveButton, PageHead, TextFilter, toast, type Column } from "../ui/parts";
import { DeadJobs } from "./deadjobs";
import { DeadKinds, DeadRuns } from "./deadruns";

const when = (d: DeadLetter) => Number(d.dlqId.split("-")[0]);
const count = (n: number) => `${n} ${n === 1 ? "message" : "messages"}`;

type Ask = "all" | "selected" | DeadLetter;

/** What used up its attempts: messages, workflow runs, or jobs. */
export function DeadPage() {
  const of = place.value.query.get("of");
  return of === "runs" ? <DeadRuns /> : of === "jobs" ? <DeadJobs /> : <DeadMessages />;
}

function DeadMessages() {
  const q = place.value.query;
  const filter = { url: q.get("url") ?? "", label: q.get("label") ?? "", queueName: q.get("queue") ?? "", responseStatus: q.get("status") ?? "" };
  const filtered = Object.values(filter).some(Boolean);
  const live = useLive<{ messages: DeadLetter[]; cursor?: string }>(qstash("/dlq", { ...filter, cursor: q.get("before") ?? "", count: 50, trimBody: listedBody }), aboutDead);
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [redriving, setRedriving] = useState<Ask>();
  const [deleting, setDeleting] = useState<Ask>();
  const rows = live.data?.messages;
  const selected = (rows ?? []).filter((d) => picked.has(d.dlqId)).map((d) => d.dlqId); // what is gone or on another page is not acted upon
  const everything = !!rows?.length && selected.length === rows.length;
  const pick = (ids: string[], on: boolean) => {
    const next = new Set(picked);
    for (const id of ids) {
      if (on) next.add(id);
      else next.delete(id);
    }
    setPicked(next);
  };
  const redriveOne = (d: DeadLetter) =>
    act(async () => {
      const { messageId } = await post<{ messageId: string }>(qstash(`/dlq/retry/${encodeURIComponent(d.dlqId)}`));
      toast("A new message was made of it.", { link: { href: messagePath(messageId), text: "See it" } });
    }, live.refresh);
  const ids = (of: string[]) => of.map((id) => `dlqIds=${encodeURIComponent(id)}`).join("&");
  const redriveMany = async (which: Ask) => {
    let n = 0;
    if (which !== "all") {
      n = (await post<{ responses: unknown[] }>(`${qstash("/dlq/retry")}?${ids(selected)}`)).responses.length;
    } else {
      // What fails again meanwhile becomes a new dead letter, which this must not take for one of those it is about.
      const toDate = now.peek();
      for (let cursor: string | undefined = ""; cursor !== undefined; ) {
        const done: { responses: unknown[]; cursor?: string } = await post(qstash("/dlq/retry", { ...filter, toDate, cursor, count: 100 }));
        n += done.responses.length;
        cursor = done.cursor;
      }
    }
    toast(`${count(n)} made anew.`, { link: { href: href("/messages"), text: "See the messages" } });
    live.refresh();
  };
  const columns: Column<DeadLetter>[] = [
    { head: "Pick", class: "fit", cell: (d) => <input type="checkbox" class="pick" aria-label={`Select ${d.messageId}`} checked={picked.has(d.dlqId)} onChange={(e) => pick([d.dlqId], e.currentTarget.checked)} /> },
    {
      head: "Message",
      class: "main",
      cell: (d) => (
        <>
          <a class="row" href={messagePath(d.messageId)}>{d.method} {d.url}</a>
          <span class="under"><Belongs m={d} /></span>
          <span class="reason-text">{deadReason(d)}</span>
        </>
      ),
    },
    { head: "Attempts", wide: true, class: "fit num", cell: (d) => d.maxRetries + 1 },
    { head: "Failed", wide: true, class: "fit num", cell: (d) => <Ago at={when(d)} /> },
    {
      head: "Do",
      class: "fit do",
      cell: (d) => (
        <>
          <button type="button" class="icon-button" title="Redrive: deliver it again as a new message" aria-label={`Redrive ${d.messageId}`} onClick={() => void redriveOne(d)}><Icon name="rerun" /></button>
          <button type="button" class="icon-button" title="Delete…" aria-label={`Delete ${d.messageId}…`} onClick={() => setDeleting(d)}><Icon name="failed" /></button>
        </>
      ),
    },
  ];
  return (
    <>
      <PageHead title="Dead letters">
        {!!rows?.length && <button type="button" onClick={() => setRedriving("all")}><Icon name="rerun" />Redrive all{filtered ? " that match" : ""}…</button>}
        <LiveButton stale={live.stale} />
      </PageHead>
      <DeadKinds of="" />
      <div class="filters many">
        <TextFilter label="Destination URL" name="url" value={filter.url} options={[...new Set((rows ?? []).map((d) => d.url))]} />
        <TextFilter label="Label" name="label" value={filter.label} options={[...new Set((rows ?? []).flatMap((d) => d.labels ?? []))]} />
        <TextFilter label="Queue" name="queue" value={filter.queueName} options={[...new Set((rows ?? []).flatMap((d) => d.queueName ?? []))]} />
        <TextFilter label="HTTP status, 0 for no answer" name="status" value={filter.responseStatus} options={[]} />
      </div>
      {!!rows?.length && (
        <div class="filters">
          <label class="check"><input type="checkbox" checked={everything} onChange={(e) => pick(rows.map((d) => d.dlqId), e.currentTarget.checked)} />Select all on this page</label>
          <button type="button" class="small" disabled={selected.length === 0} onClick={() => setRedriving("selected")}><Icon name="rerun" />Redrive selected…</button>
          <button type="button" class="small danger" disabled={selected.length === 0} onClick={() => setDeleting("selected")}><Icon name="failed" />Delete selected…</button>
          <span class="muted" aria-live="polite">{selected.length > 0 && `${selected.length} selected`}</span>
        </div>
      )}
      <List
        label="Dead letters" live={live} rows={rows} next={live.data?.cursor} columns={columns} keyOf={(d) => d.dlqId} to={(d) => messagePath(d.messageId)}
        empty={
          filtered
            ? <Empty title="No dead letter fits these filters."><a href={href("/dead")}>Show all dead letters</a></Empty>
            : <Empty title="No dead letters."><p>A message whose last attempt fails is kept here until it is redriven or deleted.</p></Empty>
        }
      />
      {redriving && (
        <Dialog title={redriving === "all" ? `Redrive all dead letters${filtered ? " that match the filters" : ""}?` : `Redrive ${count(selected.length)}?`} submit="Redrive" onClose={() => setRedriving(undefined)} onSubmit={() => redriveMany(redriving)}>
          <p>Each becomes a new message with the same request and configuration, delivered at once. The dead letter is gone then.</p>
        </Dialog>
      )}
      {deleting && (
        <Dialog title={deleting === "selected" ? `Delete ${count(selected.length)}?` : "Delete this dead letter?"} submit="Delete" danger onClose={() => setDeleting(undefined)} onSubmit={async () => {
          const of = typeof deleting === "string" ? selected : [deleting.dlqId];
          await remove(`${qstash("/dlq")}?${ids(of)}`);
          toast(`${count(of.length)} deleted.`);
          live.refresh();
        }}>
          <p>It cannot be redriven afterwards. Its log stays.</p>
        </Dialog>
      )}
    </>
  );
}
