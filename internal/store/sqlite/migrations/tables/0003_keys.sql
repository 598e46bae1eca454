CREATE TABLE keys (
    key     BLOB PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_expires ON keys (expires) WHERE expires IS NOT NULL;
