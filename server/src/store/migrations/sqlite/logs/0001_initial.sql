-- The logs: compressed chunks of records, never single lines.

-- The next number of each task's log.
CREATE TABLE log_task (
    task_id BLOB NOT NULL PRIMARY KEY,
    next_seq INTEGER NOT NULL
) STRICT;

-- The first record of each attempt that is not stored yet.
CREATE TABLE log_attempt (
    attempt_id BLOB NOT NULL PRIMARY KEY,
    task_id BLOB NOT NULL,
    next_seq INTEGER NOT NULL
) STRICT;
CREATE INDEX log_attempt_task ON log_attempt (task_id);

CREATE TABLE log_chunk (
    task_id BLOB NOT NULL,
    first_seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    attempt_id BLOB,
    attempt_first_seq INTEGER NOT NULL,
    has_variables INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (task_id, first_seq)
) STRICT;
CREATE INDEX log_chunk_attempt ON log_chunk (attempt_id, attempt_first_seq);
