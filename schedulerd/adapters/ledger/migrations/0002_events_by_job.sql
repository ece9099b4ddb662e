-- What was noted about one job, or one run of it, is found without reading all events.
CREATE INDEX events_by_job ON events (job, time) WHERE job IS NOT NULL;
