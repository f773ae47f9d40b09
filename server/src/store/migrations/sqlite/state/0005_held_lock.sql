-- The locks that attempts hold on their executors. No foreign keys: what is held outlives the task
-- that retention removes.
CREATE TABLE held_lock (
    attempt_id BLOB NOT NULL,
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    executor_id BLOB NOT NULL,
    agent_id BLOB NOT NULL,
    task_id BLOB NOT NULL,
    holder TEXT NOT NULL,
    taken_at_us INTEGER NOT NULL,
    ended TEXT,
    broken_at_us INTEGER,
    broken_by TEXT,
    PRIMARY KEY (attempt_id, name)
) STRICT;
CREATE INDEX held_lock_executor ON held_lock (executor_id, name);
