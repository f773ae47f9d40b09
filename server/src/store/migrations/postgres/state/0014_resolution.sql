-- What people say of attempts whose end nobody knows, until the server that drives the task, or any
-- once the task is over, has taken it in.
CREATE TABLE resolution (
    attempt_id BYTEA NOT NULL PRIMARY KEY REFERENCES attempt (id),
    task_id BYTEA NOT NULL REFERENCES task (id),
    about TEXT COLLATE "C" NOT NULL,
    ended TEXT COLLATE "C" NOT NULL,
    resolved_by TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    at_us BIGINT NOT NULL,
    taken_at_us BIGINT
);
CREATE INDEX resolution_task ON resolution (task_id);
CREATE INDEX resolution_taken ON resolution (taken_at_us, at_us);
