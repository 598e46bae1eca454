CREATE TABLE queues (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX queues_expires ON queues (expires) WHERE expires IS NOT NULL;

CREATE TABLE logs (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    t1      TEXT,
    t2      TEXT,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX logs_t1 ON logs (t1, key) WHERE t1 IS NOT NULL;
CREATE INDEX logs_t2 ON logs (t2, key) WHERE t2 IS NOT NULL;
CREATE INDEX logs_expires ON logs (expires) WHERE expires IS NOT NULL;

CREATE TABLE dead (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    t1      TEXT,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_t1 ON dead (t1, key) WHERE t1 IS NOT NULL;
CREATE INDEX dead_expires ON dead (expires) WHERE expires IS NOT NULL;
