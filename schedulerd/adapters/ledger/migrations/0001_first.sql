-- The ledger's tables. Times are INTEGER microseconds since 1970 (UTC); states are the words of schedulerd.model.run.
-- Foreign keys are declared for whoever reads this and for `PRAGMA foreign_key_check`; they are not enforced row by
-- row, because the writer has looked up what it refers to already.

-- Which leadership may write: one row, read in every write transaction.
CREATE TABLE leadership (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    epoch      INTEGER NOT NULL,
    leader     TEXT NOT NULL,
    since      INTEGER NOT NULL,
    next_fence INTEGER NOT NULL             -- one sequence over all attempts of the ledger
) STRICT;
INSERT INTO leadership VALUES (1, 0, '', 0, 1);

CREATE TABLE epochs (
    epoch  INTEGER PRIMARY KEY,
    leader TEXT NOT NULL,
    since  INTEGER NOT NULL
) STRICT;

-- Every definition that a job of the table, a run or a skip refers to.
CREATE TABLE definitions (
    job      TEXT NOT NULL,
    version  TEXT NOT NULL,
    document TEXT NOT NULL,                 -- JSON of schedulerd.model.job.Definition, origin included
    PRIMARY KEY (job, version)
) STRICT;

-- The accepted table.
CREATE TABLE jobs (
    name         TEXT PRIMARY KEY,
    version      TEXT NOT NULL,
    first_seen   INTEGER NOT NULL,
    counted_from INTEGER NOT NULL,          -- the mark at which this version came into force
    mark         INTEGER NOT NULL,          -- every fire time up to and including it has its slot row
    anchor       INTEGER,                   -- of `every`
    FOREIGN KEY (name, version) REFERENCES definitions (job, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE pauses (
    job       TEXT PRIMARY KEY REFERENCES jobs (name),
    paused_by TEXT NOT NULL,
    reason    TEXT NOT NULL,
    since     INTEGER NOT NULL,
    until     INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    n            INTEGER PRIMARY KEY,       -- what the tables below call `run`
    id           TEXT NOT NULL UNIQUE,
    job          TEXT NOT NULL,
    version      TEXT NOT NULL,
    cause        TEXT NOT NULL,
    fire_time    INTEGER NOT NULL,
    has_slot     INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    nominal      TEXT,
    env          TEXT,                      -- JSON object; NULL when empty
    asked_by     TEXT NOT NULL,
    parent       TEXT,
    epoch        INTEGER NOT NULL,
    state        TEXT NOT NULL,
    reason       TEXT NOT NULL DEFAULT '',
    started_at   INTEGER,
    finished_at  INTEGER,                   -- NULL as long as the run is not final
    cancelled_by TEXT,
    is_split     INTEGER NOT NULL DEFAULT 0,
    -- ordinary subtasks by state, so that a list counts nothing; pending is what remains
    total        INTEGER NOT NULL DEFAULT 0,
    running      INTEGER NOT NULL DEFAULT 0,
    succeeded    INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0, -- failed, timeout, lost or cancelled
    FOREIGN KEY (job, version) REFERENCES definitions (job, version)
) STRICT;
CREATE INDEX runs_by_job ON runs (job, fire_time);
CREATE INDEX runs_by_time ON runs (fire_time);
CREATE INDEX runs_open ON runs (job) WHERE finished_at IS NULL;
CREATE INDEX runs_bad ON runs (fire_time) WHERE state IN ('failed', 'cancelled');

-- What became of every fire time: a run, or a range of skips.
CREATE TABLE slots (
    job     TEXT NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    run     INTEGER REFERENCES runs (n),    -- NULL: skipped
    reason  TEXT,
    version TEXT,                           -- of the definition whose fire times a range stands for
    PRIMARY KEY (job, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE subtasks (
    run    INTEGER NOT NULL REFERENCES runs (n),
    idx    INTEGER NOT NULL,                -- from 0; negative: gather and the other steps
    state  TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    item   TEXT,                            -- JSON
    pinned TEXT,                            -- worker UUID
    PRIMARY KEY (run, idx)
) STRICT, WITHOUT ROWID;

-- One life of a worker, between two starts.
CREATE TABLE boots (
    n      INTEGER PRIMARY KEY,
    worker TEXT NOT NULL,                   -- UUID
    nonce  TEXT NOT NULL,
    name   TEXT NOT NULL,
    UNIQUE (worker, nonce, name)
) STRICT;

CREATE TABLE attempts (
    run         INTEGER NOT NULL REFERENCES runs (n),
    subtask     INTEGER NOT NULL,
    number      INTEGER NOT NULL,           -- from 1
    boot        INTEGER NOT NULL REFERENCES boots (n),
    epoch       INTEGER NOT NULL,
    fence       INTEGER NOT NULL,
    assigned_at INTEGER NOT NULL,
    started_at  INTEGER,                    -- of one that was seen running; its outcome may know better
    PRIMARY KEY (run, subtask, number),
    FOREIGN KEY (run, subtask) REFERENCES subtasks (run, idx)
) STRICT, WITHOUT ROWID;

-- How an attempt ended: one row when it is final. Apart from attempts, because rows that are only ever appended cost
-- half of rows that grow.
CREATE TABLE outcomes (
    run          INTEGER NOT NULL,
    subtask      INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    state        TEXT NOT NULL,
    reason       TEXT NOT NULL,
    detail       TEXT NOT NULL,
    exit_code    INTEGER,
    signal       INTEGER,
    started_at   INTEGER,
    finished_at  INTEGER,
    wall_ms      INTEGER NOT NULL,
    user_ms      INTEGER NOT NULL,
    system_ms    INTEGER NOT NULL,
    peak_bytes   INTEGER NOT NULL,
    output_bytes INTEGER NOT NULL,
    output       INTEGER REFERENCES outputs (n),  -- NULL: it wrote nothing
    PRIMARY KEY (run, subtask, number),
    FOREIGN KEY (run, subtask, number) REFERENCES attempts (run, subtask, number)
) STRICT, WITHOUT ROWID;

-- An attempt with its end, if it has one.
CREATE VIEW attempts_now AS
SELECT a.run, a.subtask, a.number, b.worker, b.name AS worker_name, b.nonce, a.epoch, a.fence, a.assigned_at,
    CASE WHEN o.state IS NOT NULL THEN o.state WHEN a.started_at IS NOT NULL THEN 'running' ELSE 'assigned' END AS state,
    coalesce(o.started_at, a.started_at) AS started_at, o.finished_at, o.reason, o.detail, o.exit_code, o.signal,
    o.wall_ms, o.user_ms, o.system_ms, o.peak_bytes, o.output_bytes, o.output
FROM attempts AS a JOIN boots AS b ON b.n = a.boot
LEFT JOIN outcomes AS o ON o.run = a.run AND o.subtask = a.subtask AND o.number = a.number;

-- Bytes, as they came; apart from attempts so that lists never read past them.
CREATE TABLE outputs (
    n              INTEGER PRIMARY KEY,
    stdout_head    BLOB NOT NULL,
    stdout_tail    BLOB NOT NULL,
    stdout_dropped INTEGER NOT NULL,
    stderr_head    BLOB NOT NULL,
    stderr_tail    BLOB NOT NULL,
    stderr_dropped INTEGER NOT NULL
) STRICT;

CREATE TABLE results (
    run    INTEGER PRIMARY KEY REFERENCES runs (n),
    result BLOB NOT NULL                    -- standard output of the gather step
) STRICT;

CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    time    INTEGER NOT NULL,
    type    TEXT NOT NULL,
    job     TEXT,
    run     TEXT,
    subtask INTEGER,
    attempt TEXT,
    worker  TEXT,
    epoch   INTEGER,
    detail  TEXT NOT NULL
) STRICT;
