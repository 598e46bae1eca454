import { useState } from "preact/hooks";
import { href, post, qstash } from "../lib/api";
import { aboutQueues, useLive, usePolling } from "../lib/live";
import { place } from "../lib/router";
import type { FlowKey, Queue } from "../lib/types";
import { limitWords } from "../lib/words";
import { Icon } from "../ui/icons";
import { act } from "../ui/message";
import { Badge, Empty, List, LiveButton, PageHead, TextFilter, toast, type Column } from "../ui/parts";

const step = 50; // rows that are shown, and how many more one gets

export function QueuesPage() {
  const search = place.value.query.get("key") ?? "";
  const queues = useLive<Queue[]>(qstash("/queues"), aboutQueues);
  const keys = useLive<FlowKey[]>(qstash("/flowControl", { search }), aboutQueues);
  usePolling(() => {
    queues.refresh(); // how many wait is not part of the stream
    keys.refresh();
  }, 3000);
  const [shownQueues, setShownQueues] = useState(step);
  const [shownKeys, setShownKeys] = useState(step);
  const toQueue = (q: Queue) => href("/messages", { queue: q.name });
  const toKey = (k: FlowKey) => href("/messages", { flow: k.flowControlKey });
  const queueColumns: Column<Queue>[] = [
    {
      head: "Queue",
      class: "main",
      cell: (q) => <><a class="row" href={toQueue(q)}>{q.name}</a>{q.paused && <> <Badge tone="warn">paused</Badge></>}<span class="under narrow-only">{q.parallelism} at a time</span></>,
    },
    { head: "Parallelism", wide: true, class: "fit num", cell: (q) => q.parallelism },
    { head: "Lag", class: "fit num", cell: (q) => q.lag },
    { head: "Do", class: "fit", cell: (q) => <PauseButton paused={q.paused} what="queue" name={q.name} path={`/queues/${encodeURIComponent(q.name)}`} changed={queues.refresh} /> },
  ];
  const keyColumns: Column<FlowKey>[] = [
    {
      head: "Key",
      class: "main",
      cell: (k) => (
        <>
          <a class="row" href={toKey(k)}>{k.flowControlKey}</a>
          {k.isPaused && <> <Badge tone="warn">paused</Badge></>}
          {(k.isPinnedParallelism || k.isPinnedRate) && <> <Badge>pinned</Badge></>}
          <span class="under">{limitWords(k.parallelismMax, k.rateMax, k.ratePeriod) || "no limit"}</span>
        </>
      ),
    },
    { head: "Out now", wide: true, class: "fit num", cell: (k) => k.parallelismCount },
    { head: "In this period", wide: true, class: "fit num", cell: (k) => (k.rateMax ? `${k.rateCount} of ${k.rateMax}` : <span class="muted">–</span>) },
    { head: "Waiting", class: "fit num", cell: (k) => k.waitListSize },
    { head: "Do", class: "fit", cell: (k) => <PauseButton paused={k.isPaused} what="key" name={k.flowControlKey} path={`/flowControl/${encodeURIComponent(k.flowControlKey)}`} changed={keys.refresh} /> },
  ];
  return (
    <>
      <PageHead title="Queues"><LiveButton stale={queues.stale || keys.stale} /></PageHead>
      <List
        label="Queues" live={queues} rows={queues.data?.slice(0, shownQueues)} next={undefined} columns={queueColumns} keyOf={(q) => q.name} to={toQueue}
        empty={<Empty title="No queues yet."><p>A queue delivers its messages one after the other, or as many at a time as its parallelism says. Enqueueing a message makes one.</p></Empty>}
      />
      <More of={queues.data?.length} shown={shownQueues} more={() => setShownQueues(shownQueues + step)} />
      <section>
        <h2>Flow-control keys</h2>
        <div class="filters"><TextFilter label="Part of the key" name="key" value={search} options={[]} /></div>
        <List
          label="Flow-control keys" live={keys} rows={keys.data?.slice(0, shownKeys)} next={undefined} columns={keyColumns} keyOf={(k) => k.flowControlKey} to={toKey}
          empty={<Empty title={search ? `No key has ${search} in it.` : "No flow-control keys yet."}>{search ? <a href={href("/queues")}>Show all keys</a> : <p>Messages with the same key share a rate and a parallelism.</p>}</Empty>}
        />
        <More of={keys.data?.length} shown={shownKeys} more={() => setShownKeys(shownKeys + step)} />
      </section>
    </>
  );
}

function More({ of = 0, shown, more }: { of: number | undefined; shown: number; more: () => void }) {
  return of > shown ? <p class="more"><button type="button" onClick={more}>Show more of {of}</button></p> : null;
}

function PauseButton({ paused, what, name, path, changed }: { paused: boolean; what: string; name: string; path: string; changed: () => void }) {
  const toggle = () =>
    act(async () => {
      await post(qstash(`${path}/${paused ? "resume" : "pause"}`));
      toast(paused ? `The ${what} ${name} delivers again.` : `The ${what} ${name} is paused: its messages wait.`);
    }, changed);
  return <button type="button" class="small" onClick={() => void toggle()}><Icon name={paused ? "running" : "pause"} />{paused ? "Resume" : "Pause"}<span class="unseen"> {what} {name}</span></button>;
}
