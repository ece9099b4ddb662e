-- What was noted about one job, or one run of it, is found without reading all events.
CREATE INDEX events_by_job ON events (job, time) WHERE job IS NOT NULL;

-- How many backfill runs of a job may go at once, as the newest backfill asked.
CREATE TABLE backfills (
    job          TEXT PRIMARY KEY,
    max_parallel INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
