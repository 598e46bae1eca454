import { useState } from "preact/hooks";
import { href, post } from "../lib/api";
import { aboutLogs, useLive } from "../lib/live";
import { place, withQuery } from "../lib/router";
import { tasksApi, time, type WaitToken } from "../lib/tasks";
import { Dialog, JsonField, jsonProblem } from "../ui/dialog";
import { Ago, Badge, Choice, Copy, Empty, Id, LiveButton, PageHead, Problem, Skeleton, toast } from "../ui/parts";
import { State, Table } from "../ui/tasks";

export function TaskTokensPage() {
  const q = place.value.query;
  const status = q.get("status") ?? "";
  const live = useLive<{ data: WaitToken[]; pagination: { next?: string } }>(tasksApi("/api/v1/waitpoints/tokens", { "filter[status]": status, "page[size]": 50, "page[after]": q.get("before") ?? "" }), aboutLogs);
  const [completing, setCompleting] = useState<WaitToken>();
  const rows = live.data?.data;
  return (
    <>
      <PageHead title="Wait tokens"><LiveButton stale={live.stale} /></PageHead>
      <div class="filters"><Choice label="Status" name="status" value={status} options={[{ value: "", text: "All" }, { value: "WAITING", text: "waiting" }, { value: "COMPLETED", text: "completed" }, { value: "TIMED_OUT", text: "timed out" }]} /></div>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {rows?.length === 0 && <Empty title={status ? "No token fits this filter." : "No tokens yet."}><p>A run waits for a token until somebody completes it: <code>wait.createToken</code>.</p></Empty>}
      {!!rows?.length && (
        <Table label="Wait tokens" heads={["Status", "Token", "Made", "Do"]}>
          {rows.map((t) => (
            <tr key={t.id}>
              <td class="fit"><State is={t.status} /></td>
              <td class="main"><Id id={t.id} what="token id" />{t.tags.map((x) => <span key={x}> <Badge>{x}</Badge></span>)}{t.timeoutAt && t.status === "WAITING" && <span class="under">times out <Ago at={time(t.timeoutAt)} /></span>}</td>
              <td class="fit num"><Ago at={time(t.createdAt)} /></td>
              <td class="fit">{t.status === "WAITING" && <><button type="button" class="small" onClick={() => setCompleting(t)}>Complete…</button> <Copy text={t.url} what="callback URL" /></>}</td>
            </tr>
          ))}
        </Table>
      )}
      {live.data?.pagination.next && <nav class="pager" aria-label="Pages"><a class="button" href={href("/tasks/tokens")}>First page</a><a class="button" rel="next" href={withQuery({ before: live.data.pagination.next })}>Next page</a></nav>}
      {completing && <Complete token={completing} onClose={() => setCompleting(undefined)} done={live.refresh} />}
    </>
  );
}

function Complete({ token, onClose, done }: { token: WaitToken; onClose: () => void; done: () => void }) {
  const [text, setText] = useState("{}");
  return (
    <Dialog title="Complete this token?" submit="Complete" valid={!jsonProblem(text)} onClose={onClose} onSubmit={async () => {
      await post(tasksApi(`/api/v1/waitpoints/tokens/${token.id}/complete`), `{"data":${text}}`);
      toast("The token is completed: runs that waited for it go on.");
      done();
    }}>
      <JsonField label="Data" hint="What the runs get that wait for it." value={text} onInput={setText} rows={6} focus />
    </Dialog>
  );
}
