-- folded is the newest batch of the shard's journal that the tables hold; epoch is the owner that may fold.
CREATE TABLE shards (
    shard  INTEGER PRIMARY KEY,
    epoch  INTEGER NOT NULL,
    folded INTEGER NOT NULL
) STRICT;

-- One table for each store.Spec. Rows live in the key's own tree, so a range of keys reads in order and a point read is one
-- descent. The indexes are partial: a row costs entries only for the tags and the expiry it has. SQLite appends the
-- primary key to each, which is the order that queries by tag want.
CREATE TABLE meta (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX meta_expires ON meta (expires) WHERE expires IS NOT NULL;

CREATE TABLE apps (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX apps_expires ON apps (expires) WHERE expires IS NOT NULL;

CREATE TABLE functions (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX functions_expires ON functions (expires) WHERE expires IS NOT NULL;

CREATE TABLE events (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    t1      TEXT,
    t2      TEXT,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX events_t1 ON events (t1, key) WHERE t1 IS NOT NULL;
CREATE INDEX events_t2 ON events (t2, key) WHERE t2 IS NOT NULL;
CREATE INDEX events_expires ON events (expires) WHERE expires IS NOT NULL;

CREATE TABLE runs (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    t1      TEXT,
    t2      TEXT,
    t3      TEXT,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_t1 ON runs (t1, key) WHERE t1 IS NOT NULL;
CREATE INDEX runs_t2 ON runs (t2, key) WHERE t2 IS NOT NULL;
CREATE INDEX runs_t3 ON runs (t3, key) WHERE t3 IS NOT NULL;
CREATE INDEX runs_expires ON runs (expires) WHERE expires IS NOT NULL;

CREATE TABLE live (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX live_expires ON live (expires) WHERE expires IS NOT NULL;

CREATE TABLE steps (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX steps_expires ON steps (expires) WHERE expires IS NOT NULL;

CREATE TABLE attempts (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_expires ON attempts (expires) WHERE expires IS NOT NULL;

CREATE TABLE links (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX links_expires ON links (expires) WHERE expires IS NOT NULL;

CREATE TABLE idempotency (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_expires ON idempotency (expires) WHERE expires IS NOT NULL;

CREATE TABLE flow (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX flow_expires ON flow (expires) WHERE expires IS NOT NULL;

CREATE TABLE pending (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX pending_expires ON pending (expires) WHERE expires IS NOT NULL;

CREATE TABLE outbox (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_expires ON outbox (expires) WHERE expires IS NOT NULL;

CREATE TABLE jobs (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    t1      TEXT,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_t1 ON jobs (t1, key) WHERE t1 IS NOT NULL;
CREATE INDEX jobs_expires ON jobs (expires) WHERE expires IS NOT NULL;
