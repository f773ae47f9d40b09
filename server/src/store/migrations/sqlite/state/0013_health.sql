-- Health check scripts, and what each found last on each target.
CREATE TABLE health_check (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    revision INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL,
    -- When it was last queued by itself.
    queued_at_us INTEGER
) STRICT;
CREATE UNIQUE INDEX health_check_name ON health_check (name);

-- The task is named, not referred to: what was found outlives it.
CREATE TABLE target_health (
    target_id BLOB NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    check_id BLOB NOT NULL REFERENCES health_check (id) ON DELETE CASCADE,
    status TEXT NOT NULL,
    message TEXT NOT NULL,
    since_us INTEGER NOT NULL,
    checked_at_us INTEGER NOT NULL,
    task_number INTEGER NOT NULL,
    PRIMARY KEY (target_id, check_id)
) STRICT;
CREATE INDEX target_health_check ON target_health (check_id);

-- The runs of a check are found by it.
CREATE INDEX task_queue_key ON task (queue_key);
