-- Why a release's block was lifted, and what it had been for.
ALTER TABLE release ADD COLUMN unblocked_at_us INTEGER;
ALTER TABLE release ADD COLUMN unblocked_by TEXT;
ALTER TABLE release ADD COLUMN unblocked_reason TEXT;
ALTER TABLE release ADD COLUMN unblocked_was TEXT;
