-- Health check scripts, and what each found last on each target.
CREATE TABLE health_check (
    id BYTEA NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL,
    -- When it was last queued by itself.
    queued_at_us BIGINT
);
CREATE UNIQUE INDEX health_check_name ON health_check (name);

-- The task is named, not referred to: what was found outlives it.
CREATE TABLE target_health (
    target_id BYTEA NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    check_id BYTEA NOT NULL REFERENCES health_check (id) ON DELETE CASCADE,
    status TEXT COLLATE "C" NOT NULL,
    message TEXT COLLATE "C" NOT NULL,
    since_us BIGINT NOT NULL,
    checked_at_us BIGINT NOT NULL,
    task_number BIGINT NOT NULL,
    PRIMARY KEY (target_id, check_id)
);
CREATE INDEX target_health_check ON target_health (check_id);

-- The runs of a check are found by it.
CREATE INDEX task_queue_key ON task (queue_key);
