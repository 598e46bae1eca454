CREATE TABLE spans (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX spans_expires ON spans (expires) WHERE expires IS NOT NULL;

CREATE TABLE streams (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX streams_expires ON streams (expires) WHERE expires IS NOT NULL;
