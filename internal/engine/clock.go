package engine

import (
	"encoding/json"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/quartetjobs/quartet/internal/store"
)

// startClocks sets the timers of a function's cron triggers. Ticks at or before after are not made up for.
func (m *Machine) startClocks(f *function, after int64) {
	for i := range f.triggers {
		if c := f.triggers[i].cron; c != nil {
			m.setTick(c, after)
		}
	}
}

func (m *Machine) stopClocks(f *function) {
	for i := range f.triggers {
		if c := f.triggers[i].cron; c != nil {
			m.timers.stop(&c.timer)
		}
	}
}

func (m *Machine) setTick(c *cronState, after int64) {
	c.tick = c.sched.Next(time.UnixMilli(after).UTC()).UnixMilli()
	m.timers.start(&c.timer, c.tick+TickDelay(c.fn.def.ID, c.tick, c.fn.def.Triggers[c.index].CronJitter), timerCron, c)
}

// TickDelay is by how much a tick of a function is late under a jitter, all in ms: pseudo-random, but the same for the same function and tick, so that
// registering again does not move it.
func TickDelay(fn UUID, tick, jitter int64) int64 {
	if jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write(fn[:])
	h.Write(strconv.AppendInt(nil, tick, 10))
	return int64(h.Sum64() % uint64(jitter))
}

// tick starts a run for a tick and sets the timer for the next one. A tick that comes very late, because the server was
// down or the machine asleep, stands for all that were missed.
func (m *Machine) tick(c *cronState) {
	f, t := c.fn, c.fn.def.Triggers[c.index]
	tick := c.tick
	m.put(store.Record{Table: store.Flow, Key: clockKey(f.def.ID, t.Cron), Value: encodeTAT(tick)})
	next := tick
	if m.now-tick-TickDelay(f.def.ID, tick, t.CronJitter) > Minute {
		next = m.now
	}
	m.setTick(c, next)
	if f.def.Paused || f.def.Archived {
		return
	}
	at := time.UnixMilli(tick).UTC().Format(time.RFC3339)
	data, _ := json.Marshal(struct { // strings always marshal
		Cron        string `json:"cron"`
		ScheduledAt string `json:"scheduledAt"`
		FireAt      string `json:"fireAt"`
	}{t.Cron, at, time.UnixMilli(m.now).UTC().Format(time.RFC3339)})
	ev := Event{Key: at, Name: t.CronEvent, Data: data, TS: m.now, Internal: true, Source: "cron"}
	m.storeEvent(m.env(f.def.Env), &ev)
	m.start(f, []Event{ev}, begin{direct: true, cron: t.Cron})
}

func clockKey(fn UUID, spec string) []byte { return []byte("c\x00" + string(fn[:]) + spec) }
