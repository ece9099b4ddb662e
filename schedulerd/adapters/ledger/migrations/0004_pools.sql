-- The pools of the accepted table; which jobs are in them stands in the jobs' definitions.
CREATE TABLE pools (
    name       TEXT PRIMARY KEY,
    max        INTEGER NOT NULL,            -- attempts at once
    is_retired INTEGER NOT NULL             -- no file has it any more; it holds the open runs that name it
) STRICT, WITHOUT ROWID;
