-- Targets in maintenance: deployments leave them out and say so.
ALTER TABLE target ADD COLUMN maintenance_reason TEXT COLLATE "C";
ALTER TABLE target ADD COLUMN maintenance_by TEXT COLLATE "C";
ALTER TABLE target ADD COLUMN maintenance_at_us BIGINT;
