// Package store is the durable half of Quartet: an append-only journal on the hot path and, behind it, indexed
// tables that queries and recovery read.
//
// A machine (see package engine) names the [Record]s that make a command durable. The shard that hosts it appends
// the records of many commands to the journal as one batch with one fsync, and every couple of hundred milliseconds
// folds what was journalled into the tables, last write wins per key. A row that was put and deleted between two
// folds never reaches a table, which is what makes short jobs cheap.
//
// The store is dumb on purpose. It knows keys, values, three tags and an expiry per record; what the bytes mean is the
// machine's affair. This package holds the contract and what every implementation shares (the overlay of records that
// are journalled but not folded, the batch encoding); store/sqlite and store/memory implement it, and
// store/storetest holds each of them to it.
package store

import (
	"context"
	"errors"
)

// Table names a folded table. The numbers are part of the journal format: never reuse one.
type Table uint8

// The tables. See engine/record.go and keyspace/record.go for what the keys and values of each are.
const (
	Meta        Table = 1  // settings of the server itself: keys, format marks
	Apps        Table = 2  // registered applications
	Functions   Table = 3  // registered functions, their schedules included
	Events      Table = 4  // received events
	Runs        Table = 5  // history of runs, what lists show
	Live        Table = 6  // scheduling state of unfinished runs, what recovery reads
	Steps       Table = 7  // memoized and pending steps, partitioned by run
	Attempts    Table = 8  // failed attempts, partitioned by run
	Links       Table = 9  // event -> run, beyond the first event of a run; partitioned by event
	Idempotency Table = 10 // keys that were used, with their expiry
	Flow        Table = 11 // rate-limit and throttle clocks
	Pending     Table = 12 // open debounces and batches
	Outbox      Table = 13 // facts that a door still has to turn into a command
	Jobs        Table = 14 // bulk operations
	Queues      Table = 15 // named queues and their policies
	Logs        Table = 16 // what happened to messages, in order of time
	Dead        Table = 17 // dead letters, in order of time
	Keys        Table = 18 // the keyspace of the Redis door
	Spans       Table = 19 // spans and logs that runs sent, partitioned by run
	Streams     Table = 20 // what runs stream to whoever follows them, partitioned by run
)

// Spec says how a table is keyed.
type Spec struct {
	Table Table
	Name  string // SQL name
	Part  int    // length in bytes of the key prefix that List groups by; 0: the table has no partitions
	Tags  int    // how many of the record's tags are indexed, 0 to 3
}

// Tables lists every table, in the order a fold writes them.
var Tables = []Spec{
	{Meta, "meta", 0, 0},
	{Apps, "apps", 0, 0},
	{Functions, "functions", 0, 0},
	{Events, "events", 0, 2},
	{Runs, "runs", 0, 3},
	{Live, "live", 0, 0},
	{Steps, "steps", 16, 0},
	{Attempts, "attempts", 16, 0},
	{Links, "links", 16, 0},
	{Idempotency, "idempotency", 0, 0},
	{Flow, "flow", 0, 0},
	{Pending, "pending", 0, 0},
	{Outbox, "outbox", 0, 0},
	{Jobs, "jobs", 0, 1},
	{Queues, "queues", 0, 0},
	{Logs, "logs", 0, 2},
	{Dead, "dead", 0, 1},
	{Keys, "keys", 0, 0},
	{Spans, "spans", 16, 0},
	{Streams, "streams", 16, 0},
}

// Record is one row to put or delete. Key and Value belong to the store once they are appended: nobody may change
// their bytes afterwards.
type Record struct {
	Table   Table
	Key     []byte
	Value   []byte    // nil deletes the row; an empty row is a non-nil empty slice
	Tags    [3]string // values that Scan can select on; "" is not indexed
	Expires int64     // ms since the epoch after which Scan with ExpiredBefore finds the row; 0: never
	// Fresh says that the key is new: no row with it has ever been appended. A fresh row that is deleted before the next fold
	// costs the tables nothing. It is a hint about cost; a wrong false is harmless.
	Fresh bool
	// First says that no row of the record's partition has ever been appended, so that whoever watches the appends from then on
	// knows the whole of it. It is a hint for caches; a wrong false is harmless.
	First bool
}

// Row is what reads return. The slices belong to the caller of Get, List and Scan; in Load they are valid only
// during the callback.
type Row struct {
	Key   []byte
	Value []byte
}

// Query selects rows of one table in key order.
type Query struct {
	Table  Table
	Prefix []byte    // keys that start with it; nil: all
	Tags   [3]string // rows whose tag i equals Tags[i]; "" selects nothing away
	From   []byte    // keys >= From (inclusive); nil: open
	To     []byte    // keys < To (exclusive); nil: open
	Desc   bool      // newest first, for keys that are ULIDs
	Limit  int       // at most this many rows; 0: DefaultLimit, never more than MaxLimit
	// ExpiredBefore, when not 0, selects rows with 0 < Expires < ExpiredBefore instead, in no particular order.
	ExpiredBefore int64
}

// Bounds of Query.Limit.
const (
	DefaultLimit = 100
	MaxLimit     = 10_000
)

// Errors of every implementation.
var (
	// ErrFenced: another owner acquired the shard since; this one must stop and forget its memory.
	ErrFenced = errors.New("store: the shard has a newer owner")
	// ErrLocked: another process has the data directory open.
	ErrLocked = errors.New("store: the data directory is in use by another process")
	// ErrNewer: the data was written by a newer version, which this one cannot read.
	ErrNewer = errors.New("store: the data was written by a newer version of quartet")
	// ErrDamaged: something that was acknowledged cannot be read. A person must say how to go on.
	ErrDamaged = errors.New("store: damaged")
	// ErrFull: the disk has no room. Nothing of the batch was kept.
	ErrFull = errors.New("store: no space left")
	// ErrClosed: the store or shard was closed.
	ErrClosed = errors.New("store: closed")
)

// Store is a place where shards live.
type Store interface {
	// Acquire makes the caller the owner of a shard. It gives out a higher epoch than ever before, so that the previous
	// owner's appends fail with ErrFenced from this moment on, and folds what the journal still holds, so that the
	// tables are complete when it returns.
	Acquire(ctx context.Context, shard int) (Shard, error)
	// Close releases files and locks. Shards of this store return ErrClosed afterwards.
	Close() error
}

// Shard is the owner's handle. Append and Fold may run at the same time as each other and as any read; two Appends
// must not overlap (the shard's committer is the only caller).
type Shard interface {
	Epoch() uint64
	// Append makes records durable, all or none, in order. When it returns nil they survive a crash and are visible to
	// Get and List. After any error except ErrFenced and ErrFull the outcome is unknown: the caller must Acquire again.
	Append(ctx context.Context, records []Record) error
	// Fold applies what is journalled to the tables and then truncates the journal. A crash at any point in it loses nothing
	// and applies nothing twice in a way that shows.
	Fold(ctx context.Context) error
	// Get reads one row as of the last Append. ok is false when there is none.
	Get(ctx context.Context, table Table, key []byte) (value []byte, ok bool, err error)
	// List reads all rows of one partition of a table with Spec.Part > 0, in key order, as of the last Append.
	List(ctx context.Context, table Table, part []byte) ([]Row, error)
	// Scan folds first, so that it sees the last Append, and then runs the query on the tables.
	Scan(ctx context.Context, q Query) ([]Row, error)
	// Load calls fn with every row of a table in key order: recovery. It is meant for right after Acquire.
	Load(ctx context.Context, table Table, fn func(key, value []byte) error) error
	// Unfolded is the number of journalled records (after coalescing) and bytes that wait for a fold.
	Unfolded() (records int, bytes int64)
}
