-- Variables that several projects share.
CREATE TABLE variable_set (
    id BYTEA NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX variable_set_name ON variable_set (name);
