package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sync"

	"github.com/quartetjobs/quartet/internal/store"
)

// journal is the database of batches that are not folded yet.
//
// Its write-ahead log would be checkpointed by whichever append happens to cross SQLite's threshold, and that append would
// wait for two more fsyncs and for all the pages. So automatic checkpoints are off, and a fold checkpoints on a connection
// of its own, which holds up nobody. See [journal.checkpoint].
type journal struct {
	mu      sync.Mutex // owns conn, and is held across its I/O: appends take turns anyway, as SQLite has one writer
	conn    *conn
	insert  *stmt
	wal     int64 // about how many bytes the write-ahead log has grown to since it last started over
	failure error // set when the connection must not be used again

	checkpointing sync.Mutex // owns background; taken before mu
	background    *conn
	checkpointAt  int64 // the size of the log at which a fold checkpoints it
}

// checkpointBytes is how large the log gets. Deleted batches leave pages that newer ones reuse, so far fewer pages than that
// are copied.
const checkpointBytes = 32 << 20

// A WAL frame is a page and its header. A small append writes the page that it goes to; a big one fills pages.
const (
	pageSize  = 4096
	frameSize = pageSize + 24
)

// maxBatchBytes stays well clear of SQLite's limit of 1e9 bytes for one value.
const maxBatchBytes = 512 << 20

const insertBatchSQL = `
INSERT INTO journal (shard, seq, epoch, data)
SELECT shard, ?1, epoch, ?2 FROM shards WHERE shard = ?3 AND epoch = ?4`

func openJournal(ctx context.Context, path string) (_ *journal, err error) {
	j := &journal{checkpointAt: checkpointBytes}
	defer func() {
		if err != nil {
			_ = j.close() // the error that brought us here is the one to report
		}
	}()
	if j.conn, err = open(ctx, path, pragma("page_size", pageSize), "journal_mode(wal)", "synchronous(full)",
		"wal_autocheckpoint(0)", "cache_size(-16384)"); err != nil {
		return nil, err
	}
	if err := j.conn.requireWAL(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	steps, err := migrations("journal")
	if err != nil {
		return nil, err
	}
	if err := migrate(j.conn, journalFile, steps); err != nil {
		return nil, err
	}
	if j.background, err = open(ctx, path, "synchronous(full)", "wal_autocheckpoint(0)"); err != nil {
		return nil, err
	}
	if j.insert, err = j.conn.prepare(insertBatchSQL); err != nil {
		return nil, err
	}
	return j, nil
}

func (j *journal) close() error {
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failure = errClosed
	var err error
	if j.background != nil {
		err = j.background.close()
		j.background = nil
	}
	if j.conn != nil {
		if closeErr := j.conn.close(); err == nil {
			err = closeErr
		}
		j.conn = nil
	}
	return err
}

// owner returns the epoch of a shard, 0 when it never had an owner.
func (j *journal) owner(shard int) (epoch uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure != nil {
		return 0, j.failure
	}
	n, err := j.conn.integer("SELECT epoch FROM shards WHERE shard = ?", int64(shard))
	if err != nil {
		return 0, fmt.Errorf("read epoch of journal: %w", err)
	}
	return uint64(n), nil
}

// own makes epoch the only one whose appends are accepted.
func (j *journal) own(shard int, epoch uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure != nil {
		return j.failure
	}
	_, err := j.conn.execute(`
		INSERT INTO shards (shard, epoch) VALUES (?, ?)
		ON CONFLICT (shard) DO UPDATE SET epoch = excluded.epoch`, int64(shard), int64(epoch))
	if err != nil {
		return fmt.Errorf("raise epoch of journal: %w", err)
	}
	return nil
}

// append makes a batch durable. The statement is a transaction of its own: it checks the epoch and inserts, or neither.
func (j *journal) append(shard int, seq, epoch uint64, data []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure != nil {
		return j.failure
	}
	j.insert.bind(int64(seq))
	j.insert.bind(data)
	j.insert.bind(int64(shard))
	j.insert.bind(int64(epoch))
	inserted, err := j.insert.exec()
	if err != nil {
		return err
	}
	if inserted == 0 {
		return store.ErrFenced
	}
	j.wal += int64(len(data)/pageSize+2) * frameSize
	return nil
}

// read returns batches after the given one, in order, until they add up to maxBytes. There are none left when it returns
// none.
func (j *journal) read(shard int, after uint64, maxBytes int) (batches []batch, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure != nil {
		return nil, j.failure
	}
	s, err := j.conn.prepare("SELECT seq, data FROM journal WHERE shard = ? AND seq > ? ORDER BY seq")
	if err != nil {
		return nil, err
	}
	s.bind(int64(shard))
	s.bind(int64(after))
	err = s.query(context.Background(), func(row []driver.Value) error {
		b := batch{seq: uint64(row[0].(int64)), data: blob(row[1])}
		batches = append(batches, b)
		if maxBytes -= len(b.data); maxBytes <= 0 {
			return errEnough
		}
		return nil
	})
	if err != nil && err != errEnough {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return batches, nil
}

type batch struct {
	seq  uint64
	data []byte
}

// truncate deletes the batches that are folded, a few at a time so that an append never waits for long. Nothing depends on
// a deletion being durable, so it does without the fsync: the next append's carries it along.
func (j *journal) truncate(shard int, through uint64) error {
	const atOnce = 32
	for {
		deleted, err := j.truncateSome(shard, through, atOnce)
		if err != nil {
			return fmt.Errorf("truncate journal: %w", err)
		}
		if deleted < atOnce {
			return nil
		}
	}
}

func (j *journal) truncateSome(shard int, through uint64, limit int) (deleted int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure != nil {
		return 0, j.failure
	}
	if err := j.conn.exec("PRAGMA synchronous = NORMAL"); err != nil {
		return 0, err
	}
	deleted, err = j.conn.execute(`
		DELETE FROM journal WHERE shard = ?1 AND seq <= ?2
		AND seq < (SELECT min(seq) FROM journal WHERE shard = ?1) + ?3`, int64(shard), int64(through), int64(limit))
	if restoreErr := j.conn.exec("PRAGMA synchronous = FULL"); restoreErr != nil {
		j.failure = fmt.Errorf("restore synchronous mode of journal: %w", restoreErr)
		return 0, j.failure
	}
	j.wal += (deleted + 1) * frameSize
	return deleted, err
}

// checkpoint copies the write-ahead log into the database when it has grown large, so that it starts over. Most of it is
// copied while appends go on; what they wrote meanwhile is copied holding them off, and is small.
func (j *journal) checkpoint() error {
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
	j.mu.Lock()
	due, failure := j.wal >= j.checkpointAt, j.failure
	j.mu.Unlock()
	if failure != nil || !due {
		return failure
	}
	if _, err := j.background.checkpoint(); err != nil {
		return fmt.Errorf("checkpoint journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	complete, err := j.conn.checkpoint()
	if err != nil {
		return fmt.Errorf("checkpoint journal: %w", err)
	}
	if complete {
		j.wal = 0
	}
	return nil
}

// checkpoint copies what it can from the write-ahead log without waiting for anybody, and says whether that was all.
func (c *conn) checkpoint() (complete bool, err error) {
	s, err := c.prepare("PRAGMA wal_checkpoint(PASSIVE)")
	if err != nil {
		return false, err
	}
	err = s.query(context.Background(), func(row []driver.Value) error {
		busy, log, copied := row[0].(int64), row[1].(int64), row[2].(int64)
		complete = busy == 0 && log == copied
		return nil
	})
	return complete, err
}
