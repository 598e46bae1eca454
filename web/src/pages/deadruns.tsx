import { useState } from "preact/hooks";
import { href, post, qstash, remove } from "../lib/api";
import { aboutDead, useLive } from "../lib/live";
import { place } from "../lib/router";
import { now } from "../lib/time";
import type { DeadRun } from "../lib/types";
import { deadReason } from "../lib/words";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { act, Belongs, listedBody } from "../ui/message";
import { Ago, Choice, Empty, List, LiveButton, PageHead, TextFilter, toast, type Column } from "../ui/parts";

/** Chooses between the kinds of dead letters. */
export function DeadKinds({ of }: { of: string }) {
  return (
    <div class="filters">
      <Choice label="Kind" name="of" value={of} options={[{ value: "", text: "Messages" }, { value: "runs", text: "Workflow runs" }, { value: "jobs", text: "Jobs" }]} />
    </div>
  );
}

const when = (d: DeadRun) => Number(d.dlqId.split("-")[0]);
/** The id of a run's page is in the id of its dead letter. */
const runPath = (d: DeadRun) => href(`/runs/${d.dlqId.split("-")[1]}`);
const count = (n: number) => `${n} ${n === 1 ? "run" : "runs"}`;

const callbackWords: Record<string, string> = {
  CALLBACK_INPROGRESS: "its failure function is being called",
  CALLBACK_SUCCESS: "its failure function was called",
  CALLBACK_FAIL: "its failure function failed",
  CALLBACK_CANCELED: "the call of its failure function was cancelled",
};

type Ask = { how: "resume" | "restart"; which: "all" | "selected" };
interface Started { workflowRunId: string; workflowCreatedAt: number }

/** Workflow runs that failed. */
export function DeadRuns() {
  const q = place.value.query;
  const filter = { workflowUrl: q.get("url") ?? "", label: q.get("label") ?? "", workflowRunId: q.get("run") ?? "" };
  const filtered = Object.values(filter).some(Boolean);
  const live = useLive<{ messages: DeadRun[]; cursor?: string }>(qstash("/workflows/dlq", { ...filter, cursor: q.get("before") ?? "", count: 50, trimBody: listedBody }), aboutDead);
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [asking, setAsking] = useState<Ask>();
  const [deleting, setDeleting] = useState<"selected" | DeadRun>();
  const rows = live.data?.messages;
  const selected = (rows ?? []).filter((d) => picked.has(d.dlqId)).map((d) => d.dlqId);
  const pick = (ids: string[], on: boolean) => {
    const next = new Set(picked);
    for (const id of ids) {
      if (on) next.add(id);
      else next.delete(id);
    }
    setPicked(next);
  };
  const ids = (of: string[]) => of.map((id) => `dlqIds=${encodeURIComponent(id)}`).join("&");
  const again = (d: DeadRun, how: Ask["how"]) =>
    act(async () => {
      await post<Started>(qstash(`/workflows/dlq/${how}/${encodeURIComponent(d.dlqId)}`));
      toast(how === "resume" ? "A new run goes on where this one failed." : "A new run starts from the beginning.", { link: { href: href("/runs"), text: "See the runs" } });
    }, live.refresh);
  const callAgain = (d: DeadRun) =>
    act(async () => {
      await post(qstash(`/workflows/dlq/callback/${encodeURIComponent(d.dlqId)}`));
      toast("Its failure function is called again.");
    }, live.refresh);
  const many = async ({ how, which }: Ask) => {
    let n = 0;
    const toDate = now.peek(); // what fails again meanwhile is not meant
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const path: string = which === "all" ? qstash(`/workflows/dlq/${how}`, { ...filter, toDate, cursor }) : `${qstash(`/workflows/dlq/${how}`)}?${ids(selected)}`;
      const done: { workflowRuns: Started[]; cursor?: string } = await post(path);
      n += done.workflowRuns.length;
      cursor = which === "all" ? done.cursor : undefined;
    }
    toast(`${count(n)} started.`, { link: { href: href("/runs"), text: "See the runs" } });
    live.refresh();
  };
  const columns: Column<DeadRun>[] = [
    { head: "Pick", class: "fit", cell: (d) => <input type="checkbox" class="pick" aria-label={`Select ${d.workflowRunId}`} checked={picked.has(d.dlqId)} onChange={(e) => pick([d.dlqId], e.currentTarget.checked)} /> },
    {
      head: "Run",
      class: "main",
      cell: (d) => (
        <>
          <a class="row" href={runPath(d)}>{d.workflowUrl}</a>
          <span class="under"><code>{d.workflowRunId}</code> <Belongs m={d} /></span>
          <span class="reason-text">{deadReason(d)}{d.failureCallbackInfo && ` – ${callbackWords[d.failureCallbackInfo.state] ?? d.failureCallbackInfo.state}`}</span>
        </>
      ),
    },
    { head: "Failed", wide: true, class: "fit num", cell: (d) => <Ago at={when(d)} /> },
    {
      head: "Do",
      class: "fit do",
      cell: (d) => (
        <>
          {d.failureCallbackInfo?.state === "CALLBACK_FAIL" && <button type="button" class="icon-button" title="Call its failure function again" aria-label={`Call the failure function of ${d.workflowRunId} again`} onClick={() => void callAgain(d)}><Icon name="send" /></button>}
          <button type="button" class="icon-button" title="Resume: go on where it failed, as a new run" aria-label={`Resume ${d.workflowRunId}`} onClick={() => void again(d, "resume")}><Icon name="running" /></button>
          <button type="button" class="icon-button" title="Restart: from the beginning, as a new run" aria-label={`Restart ${d.workflowRunId}`} onClick={() => void again(d, "restart")}><Icon name="rerun" /></button>
          <button type="button" class="icon-button" title="Delete…" aria-label={`Delete ${d.workflowRunId}…`} onClick={() => setDeleting(d)}><Icon name="failed" /></button>
        </>
      ),
    },
  ];
  return (
    <>
      <PageHead title="Dead letters">
        {!!rows?.length && <button type="button" onClick={() => setAsking({ how: "resume", which: "all" })}><Icon name="running" />Resume all{filtered ? " that match" : ""}…</button>}
        <LiveButton stale={live.stale} />
      </PageHead>
      <DeadKinds of="runs" />
      <div class="filters many">
        <TextFilter label="Workflow URL" name="url" value={filter.workflowUrl} options={[...new Set((rows ?? []).map((d) => d.workflowUrl))]} />
        <TextFilter label="Label" name="label" value={filter.label} options={[...new Set((rows ?? []).flatMap((d) => d.labels ?? []))]} />
        <TextFilter label="Workflow run id" name="run" value={filter.workflowRunId} options={[]} />
      </div>
      {!!rows?.length && (
        <div class="filters">
          <label class="check"><input type="checkbox" checked={selected.length === rows.length} onChange={(e) => pick(rows.map((d) => d.dlqId), e.currentTarget.checked)} />Select all on this page</label>
          <button type="button" class="small" disabled={selected.length === 0} onClick={() => setAsking({ how: "resume", which: "selected" })}><Icon name="running" />Resume selected…</button>
          <button type="button" class="small" disabled={selected.length === 0} onClick={() => setAsking({ how: "restart", which: "selected" })}><Icon name="rerun" />Restart selected…</button>
          <button type="button" class="small danger" disabled={selected.length === 0} onClick={() => setDeleting("selected")}><Icon name="failed" />Delete selected…</button>
        </div>
      )}
      <List
        label="Dead letters" live={live} rows={rows} next={live.data?.cursor} columns={columns} keyOf={(d) => d.dlqId} to={runPath}
        empty={
          filtered
            ? <Empty title="No dead letter fits these filters."><a href={href("/dead", { of: "runs" })}>Show all failed workflow runs</a></Empty>
            : <Empty title="No workflow run has failed."><p>A run whose last attempt of a step fails is kept here until it is resumed, restarted or deleted.</p></Empty>
        }
      />
      {asking && (
        <Dialog
          title={asking.which === "all" ? `Resume all failed runs${filtered ? " that match the filters" : ""}?` : `${asking.how === "resume" ? "Resume" : "Restart"} ${count(selected.length)}?`}
          submit={asking.how === "resume" ? "Resume" : "Restart"} onClose={() => setAsking(undefined)} onSubmit={() => many(asking)}
        >
          <p>{asking.how === "resume" ? "Each becomes a new run that keeps the steps that were done and goes on where it failed." : "Each becomes a new run that starts from the beginning."} The dead letter is gone then.</p>
        </Dialog>
      )}
      {deleting && (
        <Dialog title={deleting === "selected" ? `Delete ${count(selected.length)}?` : "Delete this dead letter?"} submit="Delete" danger onClose={() => setDeleting(undefined)} onSubmit={async () => {
          const of = typeof deleting === "string" ? selected : [deleting.dlqId];
          await remove(`${qstash("/workflows/dlq")}?${ids(of)}`);
          toast(`${count(of.length)} deleted.`);
          live.refresh();
        }}>
          <p>It cannot be resumed or restarted afterwards. The run's history stays.</p>
        </Dialog>
      )}
    </>
  );
}
