-- The variables that a deployment uses, where the database can see to it that they are kept.
ALTER TABLE task ADD COLUMN variables BYTEA REFERENCES snapshot (digest);
UPDATE task SET variables = snapshot.digest FROM snapshot
WHERE task.kind = 'deployment'
  AND encode(snapshot.digest, 'hex') = task.body::json ->> 'variables';
CREATE INDEX task_variables ON task (variables);
-- So that a snapshot is removed without a look at every release.
CREATE INDEX release_variables_now ON release (variables);
