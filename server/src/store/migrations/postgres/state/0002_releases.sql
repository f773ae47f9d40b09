-- Releases: blocks, their own fields, deployments that lifecycles queue, plans, and what retention
-- leaves to be done.

ALTER TABLE release ADD COLUMN blocked_at_us BIGINT;
ALTER TABLE release ADD COLUMN blocked_by TEXT COLLATE "C";
ALTER TABLE release ADD COLUMN blocked_reason TEXT COLLATE "C";
ALTER TABLE release ADD COLUMN fields TEXT COLLATE "C" NOT NULL DEFAULT '{}';
CREATE INDEX release_process ON release (process);
CREATE INDEX release_packages ON release (packages);
CREATE INDEX release_variables_digest ON release_variables (digest);

-- Where a lifecycle has sent a release. The key sees to it that it does so once, so the row comes
-- before its task.
CREATE TABLE automatic_deployment (
    release_id BYTEA NOT NULL REFERENCES release (id),
    environment_id BYTEA NOT NULL REFERENCES environment (id),
    task_id BYTEA NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (release_id, environment_id)
);

-- What plans that were printed rest on, each under its id.
CREATE TABLE plan (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    body TEXT COLLATE "C" NOT NULL,
    shown_at_us BIGINT NOT NULL
);
CREATE INDEX plan_shown ON plan (shown_at_us);

-- Tasks that are gone and whose logs, which are elsewhere, are still to be removed.
CREATE TABLE retired_task (
    task_id BYTEA NOT NULL PRIMARY KEY,
    at_us BIGINT NOT NULL
);
