-- The queue: who comes first, and when a task may begin.

ALTER TABLE task ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal';
ALTER TABLE task ADD COLUMN moved_up_at_us INTEGER;
ALTER TABLE task ADD COLUMN not_before_us INTEGER;
ALTER TABLE task ADD COLUMN expires_at_us INTEGER;
CREATE INDEX task_started ON task (started_at_us, number);
