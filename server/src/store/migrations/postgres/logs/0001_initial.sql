-- The logs: compressed chunks of records, never single lines.

-- The next number of each task's log.
CREATE TABLE log_task (
    task_id BYTEA NOT NULL PRIMARY KEY,
    next_seq BIGINT NOT NULL
);

-- The first record of each attempt that is not stored yet.
CREATE TABLE log_attempt (
    attempt_id BYTEA NOT NULL PRIMARY KEY,
    task_id BYTEA NOT NULL,
    next_seq BIGINT NOT NULL
);
CREATE INDEX log_attempt_task ON log_attempt (task_id);

CREATE TABLE log_chunk (
    task_id BYTEA NOT NULL,
    first_seq BIGINT NOT NULL,
    count BIGINT NOT NULL,
    attempt_id BYTEA,
    attempt_first_seq BIGINT NOT NULL,
    has_variables BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (task_id, first_seq)
);
CREATE INDEX log_chunk_attempt ON log_chunk (attempt_id, attempt_first_seq);
