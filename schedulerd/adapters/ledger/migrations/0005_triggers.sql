-- What windows, calendars and `@reboot` need to remember.

ALTER TABLE jobs ADD COLUMN runs INTEGER NOT NULL DEFAULT 0;       -- what `max_runs` has counted
ALTER TABLE slots ADD COLUMN is_apart INTEGER NOT NULL DEFAULT 0;  -- 1: never part of a longer range of skips

-- The newest boot of a leader's host in which a job fired `@reboot`; outlives the job.
CREATE TABLE host_boots (
    job  TEXT PRIMARY KEY,
    boot TEXT NOT NULL
) STRICT, WITHOUT ROWID;
