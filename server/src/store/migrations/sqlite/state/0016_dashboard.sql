-- The dashboard reads ten thousand places at once: what it shows of each stands in the row itself.
ALTER TABLE deployment_current ADD COLUMN task_number INTEGER NOT NULL DEFAULT 0;
UPDATE deployment_current SET task_number = (SELECT number FROM task WHERE id = deployment_current.task_id);
-- The few releases that are worth a remark there.
CREATE INDEX release_remarkable ON release (project_id) WHERE blocked_at_us IS NOT NULL OR variables_number > 1;
