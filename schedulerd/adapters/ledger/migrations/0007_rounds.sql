-- A run that is retried begins another round: it is open again, and its subtasks get further attempts.
ALTER TABLE runs ADD COLUMN rounds INTEGER NOT NULL DEFAULT 1;
-- Which subtasks a retry that was asked for and has not begun is about: `all` or `failed`; NULL: there is none.
ALTER TABLE runs ADD COLUMN again TEXT;
-- Attempts of the newest round have this fence or a higher one; earlier ones are not counted against `retry`.
ALTER TABLE runs ADD COLUMN round_fence INTEGER NOT NULL DEFAULT 0;
