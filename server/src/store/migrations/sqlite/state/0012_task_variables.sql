-- The variables that a deployment uses, where the database can see to it that they are kept.
ALTER TABLE task ADD COLUMN variables BLOB REFERENCES snapshot (digest);
UPDATE task SET variables = (SELECT digest FROM snapshot
                             WHERE digest = unhex(json_extract(task.body, '$.variables')))
WHERE kind = 'deployment' AND json_valid(body);
CREATE INDEX task_variables ON task (variables);
-- So that a snapshot is removed without a look at every release.
CREATE INDEX release_variables_now ON release (variables);
