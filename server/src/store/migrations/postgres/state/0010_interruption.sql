-- What deployments ask people, what they answered, and who is in which team.
CREATE TABLE interruption (
    task_id BYTEA NOT NULL REFERENCES task (id),
    number BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    raised_at_us BIGINT NOT NULL,
    deadline_us BIGINT NOT NULL,
    taken_by TEXT COLLATE "C",
    taken_at_us BIGINT,
    closed TEXT COLLATE "C",
    closed_at_us BIGINT,
    PRIMARY KEY (task_id, number)
);
CREATE INDEX interruption_raised ON interruption (closed_at_us, raised_at_us);

CREATE TABLE interruption_answer (
    task_id BYTEA NOT NULL REFERENCES task (id),
    number BIGINT NOT NULL,
    answered_by TEXT COLLATE "C" NOT NULL,
    answer TEXT COLLATE "C" NOT NULL,
    notes TEXT COLLATE "C" NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (task_id, number, answered_by, answer)
);

-- Beside the team that a key is made with: that one says what it may do.
CREATE TABLE team_member (
    team TEXT COLLATE "C" NOT NULL,
    key_id BYTEA NOT NULL REFERENCES api_key (id),
    added_at_us BIGINT NOT NULL,
    added_by TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (team, key_id)
);
CREATE INDEX team_member_key ON team_member (key_id);

-- Since when nothing but a person is awaited: such a task takes no place in the queue.
ALTER TABLE task ADD COLUMN awaits_person_since_us BIGINT;
