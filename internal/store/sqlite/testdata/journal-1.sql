-- Owners. An append is accepted while its epoch is the shard's.
CREATE TABLE shards (
    shard INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL
) STRICT;

-- Batches that were acknowledged, encoded by store.AppendBatch. Those up to shards.folded of the tables' database are
-- dead and wait to be deleted. seq never restarts, not even when this file is lost.
CREATE TABLE journal (
    shard INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    data  BLOB NOT NULL,
    PRIMARY KEY (shard, seq)
) STRICT, WITHOUT ROWID;
