-- The state. Times are microseconds since 1970, ids 16 bytes, digests 32, booleans 0 and 1.

CREATE TABLE server_meta (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE counter (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counter (name, value) VALUES ('epoch', 0);
INSERT INTO counter (name, value) VALUES ('task', 0);

CREATE TABLE api_key (
    id BYTEA NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C",
    secret_hash BYTEA NOT NULL,
    created_at_us BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    expires_at_us BIGINT,
    revoked_at_us BIGINT,
    last_used_at_us BIGINT
);
-- A name is free again once its key was revoked.
CREATE UNIQUE INDEX api_key_name ON api_key (name) WHERE revoked_at_us IS NULL;

CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    at_us BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    hash BYTEA NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, seq);

CREATE TABLE audit_head (
    id BIGINT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash BYTEA NOT NULL
);

INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

CREATE TABLE secret (
    path TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    current_version BYTEA,
    created_at_us BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL
);

CREATE TABLE secret_version (
    id BYTEA NOT NULL PRIMARY KEY,
    path TEXT COLLATE "C" NOT NULL REFERENCES secret (path),
    number BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    ciphertext BYTEA NOT NULL,
    mark TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX secret_version_number ON secret_version (path, number);
CREATE INDEX secret_version_key ON secret_version (key_id, id);

CREATE TABLE environment (
    id BYTEA NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX environment_name ON environment (name);

CREATE TABLE lifecycle (
    id BYTEA NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX lifecycle_name ON lifecycle (name);

CREATE TABLE project (
    id BYTEA NOT NULL PRIMARY KEY,
    slug TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    lifecycle_id BYTEA REFERENCES lifecycle (id),
    body TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX project_slug ON project (slug);
CREATE INDEX project_lifecycle ON project (lifecycle_id);

CREATE TABLE target (
    id BYTEA NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    disabled BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX target_name ON target (name);

CREATE TABLE target_tag (
    target_id BYTEA NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    tag TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (target_id, tag)
);

CREATE TABLE target_environment (
    target_id BYTEA NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    environment_id BYTEA NOT NULL REFERENCES environment (id),
    PRIMARY KEY (target_id, environment_id)
);
CREATE INDEX target_environment_environment ON target_environment (environment_id);

CREATE TABLE agent (
    id BYTEA NOT NULL PRIMARY KEY,
    target_id BYTEA REFERENCES target (id) ON DELETE SET NULL,
    name TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    os TEXT COLLATE "C" NOT NULL,
    arch TEXT COLLATE "C" NOT NULL,
    host_name TEXT COLLATE "C" NOT NULL,
    features TEXT COLLATE "C" NOT NULL,
    boot_id TEXT COLLATE "C" NOT NULL,
    highest_epoch BIGINT NOT NULL,
    join_token_id BYTEA,
    enrolled_at_us BIGINT NOT NULL,
    revoked_at_us BIGINT,
    last_seen_at_us BIGINT
);
-- At most one agent speaks for a target; those before it stay on record, revoked.
CREATE UNIQUE INDEX agent_target ON agent (target_id) WHERE status = 'active';

-- Every key that ever got a certificate, so that none is used twice.
CREATE TABLE agent_key (
    spki BYTEA NOT NULL PRIMARY KEY,
    agent_id BYTEA NOT NULL REFERENCES agent (id),
    status TEXT COLLATE "C" NOT NULL,
    serial BYTEA NOT NULL,
    not_after_us BIGINT NOT NULL,
    issued_at_us BIGINT NOT NULL
);
CREATE INDEX agent_key_agent ON agent_key (agent_id);

CREATE TABLE join_token (
    id BYTEA NOT NULL PRIMARY KEY,
    secret_hash BYTEA NOT NULL,
    name TEXT COLLATE "C",
    tags TEXT COLLATE "C" NOT NULL,
    environments TEXT COLLATE "C" NOT NULL,
    uses BIGINT NOT NULL,
    uses_left BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    revoked_at_us BIGINT,
    created_at_us BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL
);

CREATE TABLE package_version (
    id BYTEA NOT NULL PRIMARY KEY,
    package_id TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    format TEXT COLLATE "C" NOT NULL,
    archive_bytes BIGINT NOT NULL,
    archive BYTEA NOT NULL,
    sha256 BYTEA NOT NULL,
    root BYTEA NOT NULL,
    size_bytes BIGINT NOT NULL,
    files BIGINT NOT NULL,
    platform TEXT COLLATE "C",
    created_at_us BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX package_version_version ON package_version (package_id, version);
CREATE INDEX package_version_root ON package_version (root);

CREATE TABLE upload (
    id BYTEA NOT NULL PRIMARY KEY,
    package_id TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    format TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    digest BYTEA,
    received_bytes BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    touched_at_us BIGINT NOT NULL
);
CREATE INDEX upload_touched ON upload (touched_at_us);

CREATE TABLE snapshot (
    digest BYTEA NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT NOT NULL
);

-- Which versions of secrets a snapshot needs: they are kept as long as it is.
CREATE TABLE snapshot_secret (
    digest BYTEA NOT NULL REFERENCES snapshot (digest),
    secret_version_id BYTEA NOT NULL REFERENCES secret_version (id),
    PRIMARY KEY (digest, secret_version_id)
);
CREATE INDEX snapshot_secret_version ON snapshot_secret (secret_version_id);

CREATE TABLE release (
    id BYTEA NOT NULL PRIMARY KEY,
    project_id BYTEA NOT NULL REFERENCES project (id),
    version TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    process BYTEA NOT NULL REFERENCES snapshot (digest),
    packages BYTEA NOT NULL REFERENCES snapshot (digest),
    variables BYTEA NOT NULL REFERENCES snapshot (digest),
    variables_number BIGINT NOT NULL,
    notes TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX release_version ON release (project_id, version);
CREATE INDEX release_created ON release (project_id, created_at_us);

-- Every variable snapshot that a release has had.
CREATE TABLE release_variables (
    release_id BYTEA NOT NULL REFERENCES release (id),
    number BIGINT NOT NULL,
    digest BYTEA NOT NULL REFERENCES snapshot (digest),
    changed_at_us BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (release_id, number)
);

CREATE TABLE task (
    id BYTEA NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C",
    has_warnings BIGINT NOT NULL,
    title TEXT COLLATE "C" NOT NULL,
    project_id BYTEA REFERENCES project (id),
    environment_id BYTEA REFERENCES environment (id),
    release_id BYTEA REFERENCES release (id),
    queue_key TEXT COLLATE "C",
    body TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    started_at_us BIGINT,
    ended_at_us BIGINT,
    cancel_at_us BIGINT,
    cancel_by TEXT COLLATE "C",
    lease_node BYTEA,
    lease_epoch BIGINT,
    lease_until_us BIGINT,
    next_event BIGINT NOT NULL
);
CREATE UNIQUE INDEX task_number ON task (number);
CREATE INDEX task_state ON task (state, number);
CREATE INDEX task_place ON task (project_id, environment_id, number);
CREATE INDEX task_release ON task (release_id, number);
-- One running task for each key: what must not overlap cannot.
CREATE UNIQUE INDEX task_running ON task (queue_key) WHERE state = 'running';

CREATE TABLE task_event (
    task_id BYTEA NOT NULL REFERENCES task (id),
    seq BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, seq)
);

CREATE TABLE deployment_manifest (
    task_id BYTEA NOT NULL PRIMARY KEY REFERENCES task (id),
    digest BYTEA NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT NOT NULL
);

-- The dashboard: the latest deployment of each project in each environment, and what succeeded.
CREATE TABLE deployment_current (
    project_id BYTEA NOT NULL REFERENCES project (id),
    environment_id BYTEA NOT NULL REFERENCES environment (id),
    task_id BYTEA NOT NULL REFERENCES task (id),
    release_id BYTEA NOT NULL REFERENCES release (id),
    release_version TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C",
    has_warnings BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL,
    succeeded_task_id BYTEA REFERENCES task (id),
    succeeded_release_id BYTEA REFERENCES release (id),
    succeeded_version TEXT COLLATE "C",
    succeeded_at_us BIGINT,
    PRIMARY KEY (project_id, environment_id)
);

-- What runs on each target.
CREATE TABLE target_current (
    target_id BYTEA NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    project_id BYTEA NOT NULL REFERENCES project (id),
    environment_id BYTEA NOT NULL REFERENCES environment (id),
    task_id BYTEA NOT NULL REFERENCES task (id),
    release_id BYTEA NOT NULL REFERENCES release (id),
    release_version TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    changed_at_us BIGINT NOT NULL,
    PRIMARY KEY (target_id, project_id, environment_id)
);
CREATE INDEX target_current_place ON target_current (project_id, environment_id);

CREATE TABLE attempt (
    id BYTEA NOT NULL PRIMARY KEY,
    task_id BYTEA NOT NULL REFERENCES task (id),
    agent_id BYTEA NOT NULL REFERENCES agent (id),
    step BIGINT NOT NULL,
    action BIGINT NOT NULL,
    subject_id BYTEA NOT NULL,
    executor_id BYTEA NOT NULL,
    try BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C",
    end_body TEXT COLLATE "C",
    created_at_us BIGINT NOT NULL,
    ended_at_us BIGINT
);
CREATE INDEX attempt_task ON attempt (task_id);
CREATE INDEX attempt_agent ON attempt (agent_id, state);
