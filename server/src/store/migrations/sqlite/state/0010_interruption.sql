-- What deployments ask people, what they answered, and who is in which team.
CREATE TABLE interruption (
    task_id BLOB NOT NULL REFERENCES task (id),
    number INTEGER NOT NULL,
    body TEXT NOT NULL,
    raised_at_us INTEGER NOT NULL,
    deadline_us INTEGER NOT NULL,
    taken_by TEXT,
    taken_at_us INTEGER,
    closed TEXT,
    closed_at_us INTEGER,
    PRIMARY KEY (task_id, number)
) STRICT;
CREATE INDEX interruption_raised ON interruption (closed_at_us, raised_at_us);

CREATE TABLE interruption_answer (
    task_id BLOB NOT NULL REFERENCES task (id),
    number INTEGER NOT NULL,
    answered_by TEXT NOT NULL,
    answer TEXT NOT NULL,
    notes TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (task_id, number, answered_by, answer)
) STRICT;

-- Beside the team that a key is made with: that one says what it may do.
CREATE TABLE team_member (
    team TEXT NOT NULL,
    key_id BLOB NOT NULL REFERENCES api_key (id),
    added_at_us INTEGER NOT NULL,
    added_by TEXT NOT NULL,
    PRIMARY KEY (team, key_id)
) STRICT;
CREATE INDEX team_member_key ON team_member (key_id);

-- Since when nothing but a person is awaited: such a task takes no place in the queue.
ALTER TABLE task ADD COLUMN awaits_person_since_us INTEGER;
