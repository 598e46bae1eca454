package memory

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/quartetjobs/quartet/internal/store"
)

// Step is a point in the life of a batch at which a [Disk] can fail.
type Step int

// The steps, in the order in which a batch meets them.
const (
	// AppendWrite is before anything of the batch is written.
	AppendWrite Step = iota
	// AppendSync is when the batch is written and not synced. Should the disk crash now the batch is lost; if it does not, the
	// next owner finds it: an outcome that nobody can tell from here.
	AppendSync
	// AppendReturn is when the batch is durable and the caller does not know.
	AppendReturn
	// FoldWrite is before a fold has written anything.
	FoldWrite
	// FoldTable is within a fold: some tables are written, the note that they are is not. It comes once for each
	// table that has records.
	FoldTable
	// FoldTruncate is when the tables are durable and the journal still has the batches.
	FoldTruncate
	// FoldReturn is when the journal is rid of them too.
	FoldReturn
)

func (s Step) String() string {
	return [...]string{
		"append write", "append sync", "append return",
		"fold write", "fold table", "fold truncate", "fold return",
	}[s]
}

// Hook is called at each step. A non-nil error makes the operation fail right there with it. An operation that fails at
// [AppendWrite] with [store.ErrFull] has kept nothing, as the contract says. A hook may call [Disk.Crash]; it must not
// call the store.
type Hook func(shard int, step Step) error

// FailNth returns a hook that fails the n-th occurrence of a step, counted from 1, and no other.
func FailNth(step Step, n int, err error) Hook {
	return func(_ int, s Step) error {
		if s != step {
			return nil
		}
		if n--; n == 0 {
			return err
		}
		return nil
	}
}

// Disk is what a store leaves behind. Stores are opened on it one after the other. It behaves the same every time: what a test
// or a simulation does to it is all that happens.
type Disk struct {
	mu     sync.Mutex
	shards map[int]*shardData
	tables map[store.Table]*table
	owner  *Store // the open store, nil when there is none
	hook   Hook
}

// shardData is a shard's part of the disk.
type shardData struct {
	epoch   uint64
	folded  uint64 // newest batch in the tables
	journal []batch
}

type batch struct {
	seq     uint64
	records []store.Record
	synced  bool
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	d := &Disk{shards: make(map[int]*shardData), tables: make(map[store.Table]*table)}
	for _, spec := range store.Tables {
		d.tables[spec.Table] = &table{spec: spec}
	}
	return d
}

// SetHook installs a hook, or with nil removes it.
func (d *Disk) SetHook(hook Hook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

// Crash is the power going out: the open store is dead and what was not synced is gone. The next [Open] sees what was
// durable.
func (d *Disk) Crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner = nil
	for _, s := range d.shards {
		s.journal = slices.DeleteFunc(s.journal, func(b batch) bool { return !b.synced })
	}
}

// at asks the hook. It is called without the lock, so that the hook may crash the disk.
func (d *Disk) at(shard int, step Step) error {
	d.mu.Lock()
	hook := d.hook
	d.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(shard, step)
}

// as runs fn on a shard's data if the store still has the disk.
func (d *Disk) as(s *Store, shard int, fn func(*shardData) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owner != s {
		return store.ErrClosed
	}
	data := d.shards[shard]
	if data == nil {
		data = &shardData{}
		d.shards[shard] = data
	}
	return fn(data)
}

// table is a folded table with an index for each tag and one for the expiry.
type table struct {
	spec    store.Spec
	rows    ordered[*store.Record]
	tags    [3]ordered[*store.Record] // by tagKey
	expires ordered[*store.Record]    // by expiryKey
}

// apply puts or deletes a row.
func (t *table) apply(r *store.Record) {
	key := string(r.Key)
	if old, ok := t.rows.get(key); ok {
		for i := range t.spec.Tags {
			if old.Tags[i] != "" {
				t.tags[i].delete(tagKey(old.Tags[i], key))
			}
		}
		if old.Expires > 0 {
			t.expires.delete(expiryKey(old.Expires, key))
		}
	}
	if r.Value == nil {
		t.rows.delete(key)
		return
	}
	t.rows.set(key, r)
	for i := range t.spec.Tags {
		if r.Tags[i] != "" {
			t.tags[i].set(tagKey(r.Tags[i], key), r)
		}
	}
	if r.Expires > 0 {
		t.expires.set(expiryKey(r.Expires, key), r)
	}
}

// tagKey orders rows by key within a tag. The length before the tag keeps one tag from being the beginning of another.
func tagKey(tag, key string) string {
	return string(binary.AppendUvarint(nil, uint64(len(tag)))) + tag + key
}

func expiryKey(expires int64, key string) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(expires))) + key
}
