-- Why the end of a run was asked for: NULL for an operator's wish, `replaced` when another run takes its place
-- (`cancelled_by` then names that run).
ALTER TABLE runs ADD COLUMN cancel_reason TEXT;
