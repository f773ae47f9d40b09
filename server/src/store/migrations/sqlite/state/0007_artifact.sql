-- The files that attempts left behind. No foreign keys: a row goes with its task, and what an agent
-- still holds of a task that is gone goes by itself. Their bytes are in the object store.
CREATE TABLE artifact (
    task_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    attempt_id BLOB NOT NULL,
    attempt_seq INTEGER NOT NULL,
    agent_id BLOB NOT NULL,
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    digest BLOB NOT NULL,
    state TEXT NOT NULL,
    note TEXT,
    created_at_us INTEGER NOT NULL,
    stored_at_us INTEGER,
    PRIMARY KEY (task_id, number)
) STRICT;
CREATE UNIQUE INDEX artifact_record ON artifact (attempt_id, attempt_seq);
CREATE INDEX artifact_open ON artifact (state, agent_id);
