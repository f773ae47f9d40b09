-- The locks that attempts hold on their executors. No foreign keys: what is held outlives the task
-- that retention removes.
CREATE TABLE held_lock (
    attempt_id BYTEA NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    mode TEXT COLLATE "C" NOT NULL,
    executor_id BYTEA NOT NULL,
    agent_id BYTEA NOT NULL,
    task_id BYTEA NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    taken_at_us BIGINT NOT NULL,
    ended TEXT COLLATE "C",
    broken_at_us BIGINT,
    broken_by TEXT COLLATE "C",
    PRIMARY KEY (attempt_id, name)
);
CREATE INDEX held_lock_executor ON held_lock (executor_id, name);
