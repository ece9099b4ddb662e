-- What the leader's row holds in PostgreSQL alone: which backend the leader writes through, so that a new leader can
-- end it, and the number of the newest batch, by which a COMMIT without an answer is found or not found.
ALTER TABLE leadership ADD COLUMN backend BIGINT NOT NULL DEFAULT 0;
ALTER TABLE leadership ADD COLUMN backend_start BIGINT NOT NULL DEFAULT 0;
ALTER TABLE leadership ADD COLUMN batch BIGINT NOT NULL DEFAULT 0;
-- one row, rewritten by every batch: room on its page keeps the rewriting there
ALTER TABLE leadership SET (fillfactor = 10);
