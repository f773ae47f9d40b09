-- The files that attempts left behind. No foreign keys: a row goes with its task, and what an agent
-- still holds of a task that is gone goes by itself. Their bytes are in the object store.
CREATE TABLE artifact (
    task_id BYTEA NOT NULL,
    number BIGINT NOT NULL,
    attempt_id BYTEA NOT NULL,
    attempt_seq BIGINT NOT NULL,
    agent_id BYTEA NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    note TEXT COLLATE "C",
    created_at_us BIGINT NOT NULL,
    stored_at_us BIGINT,
    PRIMARY KEY (task_id, number)
);
CREATE UNIQUE INDEX artifact_record ON artifact (attempt_id, attempt_seq);
CREATE INDEX artifact_open ON artifact (state, agent_id);
