import { useState } from "preact/hooks";
import { href, post, qstash, remove } from "../lib/api";
import { aboutSchedules, useLive } from "../lib/live";
import { duration } from "../lib/time";
import type { Schedule } from "../lib/types";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { act, Belongs, messagePath } from "../ui/message";
import { At, Badge, Copy, Empty, LiveButton, PageHead, Problem, Skeleton, toast } from "../ui/parts";

const step = 30; // schedules that are shown, and how many more one gets
const mostStates = 10; // messages of a tick that are listed; a URL group makes one for each endpoint

export function SchedulesPage() {
  const live = useLive<Schedule[]>(qstash("/schedules"), aboutSchedules);
  const [shown, setShown] = useState(step);
  const all = live.data;
  return (
    <>
      <PageHead title="Schedules"><LiveButton stale={live.stale} /></PageHead>
      {live.error && <Problem text={live.error} retry={live.refresh} />}
      {live.loading && <Skeleton />}
      {all?.length === 0 && <Empty title="No schedules yet."><p>Apps make them with the QStash client.</p></Empty>}
      {all?.slice(0, shown).map((s) => <ScheduleCard key={s.scheduleId} s={s} changed={live.refresh} />)}
      {all && all.length > shown && <p class="more"><button type="button" onClick={() => setShown(shown + step)}>Show more of {all.length} schedules</button></p>}
    </>
  );
}

function ScheduleCard({ s, changed }: { s: Schedule; changed: () => void }) {
  const [deleting, setDeleting] = useState(false);
  const path = qstash(`/schedules/${encodeURIComponent(s.scheduleId)}`);
  const pause = () =>
    act(async () => {
      await post(`${path}/${s.isPaused ? "resume" : "pause"}`);
      toast(s.isPaused ? "The schedule makes messages again." : "The schedule is paused: its ticks make no messages.");
    }, changed);
  return (
    <section class="card" aria-label={s.scheduleId}>
      <div class="card-head">
        <h2>{s.method} {s.destination}</h2>
        {s.isPaused && <Badge tone="warn">paused</Badge>}
        <div class="actions">
          <button type="button" class="small" onClick={() => void pause()}><Icon name={s.isPaused ? "running" : "pause"} />{s.isPaused ? "Resume" : "Pause"}</button>
          <button type="button" class="small" onClick={() => setDeleting(true)}>Delete…</button>
        </div>
      </div>
      {s.error && <div class="notice bad"><Icon name="warning" /><span>The last tick made no message: {s.error}</span></div>}
      <dl class="facts">
        <div><dt>Cron</dt><dd><code>{s.cron}</code></dd></div>
        <div><dt>Next tick</dt><dd>{s.nextScheduleTime ? <At at={s.nextScheduleTime} /> : <span class="muted">none while it is paused</span>}</dd></div>
        <div><dt>Last tick</dt><dd>{s.lastScheduleTime ? <><At at={s.lastScheduleTime} /><States of={s.lastScheduleStates} /></> : <span class="muted">not yet</span>}</dd></div>
        <div><dt>Messages</dt><dd>{s.retries === 0 ? "no retries" : `up to ${s.retries} retries`}{!!s.delay && `, delayed by ${duration(s.delay * 1000)}`} <Belongs m={{ ...s, scheduleId: "" }} /></dd></div>
        <div><dt>Id</dt><dd><span class="id"><span>{s.scheduleId}</span><Copy text={s.scheduleId} what="schedule id" /></span></dd></div>
      </dl>
      {deleting && (
        <Dialog title="Delete this schedule?" submit="Delete" danger onClose={() => setDeleting(false)} onSubmit={async () => {
          await remove(path);
          toast("The schedule was deleted.");
          changed();
        }}>
          <p>It makes no more messages. Those it has made are still delivered.</p>
        </Dialog>
      )}
    </section>
  );
}

const outcomes = {
  IN_PROGRESS: <span class="status busy"><Icon name="running" />in progress</span>,
  SUCCESS: <span class="status good"><Icon name="completed" />delivered</span>,
  FAIL: <span class="status bad"><Icon name="failed" />not delivered</span>,
};

function States({ of = {} }: { of: Schedule["lastScheduleStates"] }) {
  const all = Object.entries(of);
  return (
    <>
      {all.slice(0, mostStates).map(([id, state]) => <span key={id}>{" "}{outcomes[state]} <a href={messagePath(id)} title={id}>…{id.slice(-8)}</a></span>)}
      {all.length > mostStates && <a href={href("/messages")}> and {all.length - mostStates} more</a>}
    </>
  );
}
