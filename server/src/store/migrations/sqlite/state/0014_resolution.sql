-- What people say of attempts whose end nobody knows, until the server that drives the task, or any
-- once the task is over, has taken it in.
CREATE TABLE resolution (
    attempt_id BLOB NOT NULL PRIMARY KEY REFERENCES attempt (id),
    task_id BLOB NOT NULL REFERENCES task (id),
    about TEXT NOT NULL,
    ended TEXT NOT NULL,
    resolved_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    taken_at_us INTEGER
) STRICT;
CREATE INDEX resolution_task ON resolution (task_id);
CREATE INDEX resolution_taken ON resolution (taken_at_us, at_us);
