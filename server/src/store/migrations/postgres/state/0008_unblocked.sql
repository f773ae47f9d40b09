-- Why a release's block was lifted, and what it had been for.
ALTER TABLE release ADD COLUMN unblocked_at_us BIGINT;
ALTER TABLE release ADD COLUMN unblocked_by TEXT COLLATE "C";
ALTER TABLE release ADD COLUMN unblocked_reason TEXT COLLATE "C";
ALTER TABLE release ADD COLUMN unblocked_was TEXT COLLATE "C";
