-- Variables that several projects share.
CREATE TABLE variable_set (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    revision INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX variable_set_name ON variable_set (name);
