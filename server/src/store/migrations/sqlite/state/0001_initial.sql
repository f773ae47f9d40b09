-- The state. Times are microseconds since 1970, ids 16 bytes, digests 32, booleans 0 and 1.

CREATE TABLE server_meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

INSERT INTO counter (name, value) VALUES ('epoch', 0);
INSERT INTO counter (name, value) VALUES ('task', 0);

CREATE TABLE api_key (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    team TEXT,
    secret_hash BLOB NOT NULL,
    created_at_us INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at_us INTEGER,
    revoked_at_us INTEGER,
    last_used_at_us INTEGER
) STRICT;
-- A name is free again once its key was revoked.
CREATE UNIQUE INDEX api_key_name ON api_key (name) WHERE revoked_at_us IS NULL;

CREATE TABLE audit (
    seq INTEGER NOT NULL PRIMARY KEY,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX audit_subject ON audit (subject, seq);

CREATE TABLE audit_head (
    id INTEGER NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;

INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, zeroblob(32));

CREATE TABLE secret (
    path TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    current_version BLOB,
    created_at_us INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL,
    changed_by TEXT NOT NULL
) STRICT;

CREATE TABLE secret_version (
    id BLOB NOT NULL PRIMARY KEY,
    path TEXT NOT NULL REFERENCES secret (path),
    number INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    ciphertext BLOB NOT NULL,
    mark TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX secret_version_number ON secret_version (path, number);
CREATE INDEX secret_version_key ON secret_version (key_id, id);

CREATE TABLE environment (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    body TEXT NOT NULL,
    revision INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX environment_name ON environment (name);

CREATE TABLE lifecycle (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    revision INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX lifecycle_name ON lifecycle (name);

CREATE TABLE project (
    id BLOB NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    lifecycle_id BLOB REFERENCES lifecycle (id),
    body TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX project_slug ON project (slug);
CREATE INDEX project_lifecycle ON project (lifecycle_id);

CREATE TABLE target (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX target_name ON target (name);

CREATE TABLE target_tag (
    target_id BLOB NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (target_id, tag)
) STRICT;

CREATE TABLE target_environment (
    target_id BLOB NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    environment_id BLOB NOT NULL REFERENCES environment (id),
    PRIMARY KEY (target_id, environment_id)
) STRICT;
CREATE INDEX target_environment_environment ON target_environment (environment_id);

CREATE TABLE agent (
    id BLOB NOT NULL PRIMARY KEY,
    target_id BLOB REFERENCES target (id) ON DELETE SET NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    version TEXT NOT NULL,
    os TEXT NOT NULL,
    arch TEXT NOT NULL,
    host_name TEXT NOT NULL,
    features TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    highest_epoch INTEGER NOT NULL,
    join_token_id BLOB,
    enrolled_at_us INTEGER NOT NULL,
    revoked_at_us INTEGER,
    last_seen_at_us INTEGER
) STRICT;
-- At most one agent speaks for a target; those before it stay on record, revoked.
CREATE UNIQUE INDEX agent_target ON agent (target_id) WHERE status = 'active';

-- Every key that ever got a certificate, so that none is used twice.
CREATE TABLE agent_key (
    spki BLOB NOT NULL PRIMARY KEY,
    agent_id BLOB NOT NULL REFERENCES agent (id),
    status TEXT NOT NULL,
    serial BLOB NOT NULL,
    not_after_us INTEGER NOT NULL,
    issued_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX agent_key_agent ON agent_key (agent_id);

CREATE TABLE join_token (
    id BLOB NOT NULL PRIMARY KEY,
    secret_hash BLOB NOT NULL,
    name TEXT,
    tags TEXT NOT NULL,
    environments TEXT NOT NULL,
    uses INTEGER NOT NULL,
    uses_left INTEGER NOT NULL,
    expires_at_us INTEGER NOT NULL,
    revoked_at_us INTEGER,
    created_at_us INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

CREATE TABLE package_version (
    id BLOB NOT NULL PRIMARY KEY,
    package_id TEXT NOT NULL,
    version TEXT NOT NULL,
    format TEXT NOT NULL,
    archive_bytes INTEGER NOT NULL,
    archive BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    root BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    files INTEGER NOT NULL,
    platform TEXT,
    created_at_us INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX package_version_version ON package_version (package_id, version);
CREATE INDEX package_version_root ON package_version (root);

CREATE TABLE upload (
    id BLOB NOT NULL PRIMARY KEY,
    package_id TEXT NOT NULL,
    version TEXT NOT NULL,
    format TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    digest BLOB,
    received_bytes INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    touched_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX upload_touched ON upload (touched_at_us);

CREATE TABLE snapshot (
    digest BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at_us INTEGER NOT NULL
) STRICT;

-- Which versions of secrets a snapshot needs: they are kept as long as it is.
CREATE TABLE snapshot_secret (
    digest BLOB NOT NULL REFERENCES snapshot (digest),
    secret_version_id BLOB NOT NULL REFERENCES secret_version (id),
    PRIMARY KEY (digest, secret_version_id)
) STRICT;
CREATE INDEX snapshot_secret_version ON snapshot_secret (secret_version_id);

CREATE TABLE release (
    id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL REFERENCES project (id),
    version TEXT NOT NULL,
    channel TEXT NOT NULL,
    process BLOB NOT NULL REFERENCES snapshot (digest),
    packages BLOB NOT NULL REFERENCES snapshot (digest),
    variables BLOB NOT NULL REFERENCES snapshot (digest),
    variables_number INTEGER NOT NULL,
    notes TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX release_version ON release (project_id, version);
CREATE INDEX release_created ON release (project_id, created_at_us);

-- Every variable snapshot that a release has had.
CREATE TABLE release_variables (
    release_id BLOB NOT NULL REFERENCES release (id),
    number INTEGER NOT NULL,
    digest BLOB NOT NULL REFERENCES snapshot (digest),
    changed_at_us INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (release_id, number)
) STRICT;

CREATE TABLE task (
    id BLOB NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    has_warnings INTEGER NOT NULL,
    title TEXT NOT NULL,
    project_id BLOB REFERENCES project (id),
    environment_id BLOB REFERENCES environment (id),
    release_id BLOB REFERENCES release (id),
    queue_key TEXT,
    body TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    started_at_us INTEGER,
    ended_at_us INTEGER,
    cancel_at_us INTEGER,
    cancel_by TEXT,
    lease_node BLOB,
    lease_epoch INTEGER,
    lease_until_us INTEGER,
    next_event INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX task_number ON task (number);
CREATE INDEX task_state ON task (state, number);
CREATE INDEX task_place ON task (project_id, environment_id, number);
CREATE INDEX task_release ON task (release_id, number);
-- One running task for each key: what must not overlap cannot.
CREATE UNIQUE INDEX task_running ON task (queue_key) WHERE state = 'running';

CREATE TABLE task_event (
    task_id BLOB NOT NULL REFERENCES task (id),
    seq INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (task_id, seq)
) STRICT;

CREATE TABLE deployment_manifest (
    task_id BLOB NOT NULL PRIMARY KEY REFERENCES task (id),
    digest BLOB NOT NULL,
    body TEXT NOT NULL,
    created_at_us INTEGER NOT NULL
) STRICT;

-- The dashboard: the latest deployment of each project in each environment, and what succeeded.
CREATE TABLE deployment_current (
    project_id BLOB NOT NULL REFERENCES project (id),
    environment_id BLOB NOT NULL REFERENCES environment (id),
    task_id BLOB NOT NULL REFERENCES task (id),
    release_id BLOB NOT NULL REFERENCES release (id),
    release_version TEXT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    has_warnings INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL,
    succeeded_task_id BLOB REFERENCES task (id),
    succeeded_release_id BLOB REFERENCES release (id),
    succeeded_version TEXT,
    succeeded_at_us INTEGER,
    PRIMARY KEY (project_id, environment_id)
) STRICT;

-- What runs on each target.
CREATE TABLE target_current (
    target_id BLOB NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    project_id BLOB NOT NULL REFERENCES project (id),
    environment_id BLOB NOT NULL REFERENCES environment (id),
    task_id BLOB NOT NULL REFERENCES task (id),
    release_id BLOB NOT NULL REFERENCES release (id),
    release_version TEXT NOT NULL,
    state TEXT NOT NULL,
    changed_at_us INTEGER NOT NULL,
    PRIMARY KEY (target_id, project_id, environment_id)
) STRICT;
CREATE INDEX target_current_place ON target_current (project_id, environment_id);

CREATE TABLE attempt (
    id BLOB NOT NULL PRIMARY KEY,
    task_id BLOB NOT NULL REFERENCES task (id),
    agent_id BLOB NOT NULL REFERENCES agent (id),
    step INTEGER NOT NULL,
    action INTEGER NOT NULL,
    subject_id BLOB NOT NULL,
    executor_id BLOB NOT NULL,
    try INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    end_body TEXT,
    created_at_us INTEGER NOT NULL,
    ended_at_us INTEGER
) STRICT;
CREATE INDEX attempt_task ON attempt (task_id);
CREATE INDEX attempt_agent ON attempt (agent_id, state);
