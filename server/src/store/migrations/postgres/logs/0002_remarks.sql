-- Whether a chunk holds something that is worth a look by itself: a warning, a highlight, a gap. Those
-- of before may.
ALTER TABLE log_chunk ADD COLUMN has_remarks BIGINT NOT NULL DEFAULT 1;
CREATE INDEX log_chunk_remarks ON log_chunk (task_id, first_seq) WHERE has_remarks = 1;

-- Whether the server had to change what this attempt sent, so that the digest of what is stored is not
-- that of what its agent has.
ALTER TABLE log_attempt ADD COLUMN is_altered BIGINT NOT NULL DEFAULT 0;
