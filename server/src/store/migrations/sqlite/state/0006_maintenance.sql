-- Targets in maintenance: deployments leave them out and say so.
ALTER TABLE target ADD COLUMN maintenance_reason TEXT;
ALTER TABLE target ADD COLUMN maintenance_by TEXT;
ALTER TABLE target ADD COLUMN maintenance_at_us INTEGER;
