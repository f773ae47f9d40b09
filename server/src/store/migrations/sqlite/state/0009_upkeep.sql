-- What is removed of the past: logs of tasks that stay, and the beginning of the audit trail.
ALTER TABLE task ADD COLUMN log_removed_at_us INTEGER;

-- The last row of the audit trail that was removed; the chain goes on from its hash.
CREATE TABLE audit_cut (
    id INTEGER NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;

INSERT INTO audit_cut (id, seq, hash) VALUES (1, 0, zeroblob(32));
