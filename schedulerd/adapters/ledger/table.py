"""Writing the accepted job table: definitions, pauses, removals, and where each job's time stands."""

import msgspec

from schedulerd.adapters.ledger.batch import Batch
from schedulerd.adapters.ledger.rows import micros, micros_or_none
from schedulerd.core.effects import (
    RecordAnchors,
    RecordBoots,
    RecordJobs,
    RecordMarks,
    RecordPause,
    RecordPools,
    RecordRemovals,
    RecordRunCounts,
)
from schedulerd.errors import LedgerContentError

_encode = msgspec.json.Encoder().encode

_AT_ONCE = 1000  # documents in memory at a time, of a table that may have 100,000

# the same version may come from another line of its file: the newest origin is kept
_DEFINE = """
INSERT INTO definitions (job, version, document) VALUES (?, ?, ?)
ON CONFLICT (job, version) DO UPDATE SET document = excluded.document
WHERE definitions.document <> excluded.document
"""
_ACCEPT = """
INSERT INTO jobs (name, version, first_seen, counted_from, mark, anchor, runs) VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, anchor = excluded.anchor, runs = excluded.runs,
    mark = CASE WHEN excluded.mark > jobs.mark THEN excluded.mark ELSE jobs.mark END,
    counted_from = CASE WHEN jobs.version = excluded.version THEN jobs.counted_from
        WHEN excluded.mark > jobs.mark THEN excluded.mark ELSE jobs.mark END
"""


def record_jobs(batch: Batch, record: RecordJobs) -> None:
    """New and changed jobs; `first_seen` of a job that is there already stays."""
    for first in range(0, len(record.rows), _AT_ONCE):
        definitions = []
        jobs = []
        for row in record.rows[first : first + _AT_ONCE]:
            definition = row.definition
            name, version = definition.job.name, definition.version
            definitions.append((name, version, _encode(definition).decode()))
            anchor = micros_or_none(row.anchor)
            jobs.append((name, version, micros(row.first_seen), micros(row.mark), anchor, row.runs))
        batch.write(_DEFINE, definitions)
        batch.write(_ACCEPT, jobs)


def record_removals(batch: Batch, record: RecordRemovals) -> None:
    """The rows of these jobs and their pauses go; definitions, runs and slots stay."""
    names = [(name,) for name in record.jobs]
    batch.write("DELETE FROM pauses WHERE job = ?", names)
    batch.write("DELETE FROM backfills WHERE job = ?", names)
    batch.write("DELETE FROM jobs WHERE name = ?", names)


def record_pools(batch: Batch, record: RecordPools) -> None:
    """These pools and no others."""
    batch.connection.execute("DELETE FROM pools")
    rows = [(pool.name, pool.max, int(pool.is_retired)) for pool in record.pools]
    batch.write("INSERT INTO pools (name, max, is_retired) VALUES (?, ?, ?)", rows)


def record_pause(batch: Batch, record: RecordPause) -> None:
    """Set or lift one pause. Raises LedgerContentError for pausing a job that is not in the table."""
    pause = record.pause
    if pause is None:
        batch.connection.execute("DELETE FROM pauses WHERE job = ?", (record.job,))
        return
    found = batch.connection.execute("SELECT 1 FROM jobs WHERE name = ?", (record.job,)).fetchone()
    if found is None:
        raise LedgerContentError(f'job "{record.job}" is not in the accepted table and cannot be paused')
    batch.connection.execute(
        "INSERT INTO pauses (job, paused_by, reason, since, until) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (job) DO UPDATE SET"
        " paused_by = excluded.paused_by, reason = excluded.reason, since = excluded.since, until = excluded.until",
        (record.job, pause.by, pause.reason, micros(pause.since), micros_or_none(pause.until)),
    )


def record_marks(batch: Batch, record: RecordMarks) -> None:
    """Move marks forward; the mark of a job that is gone is dropped."""
    batch.write(
        "UPDATE jobs SET mark = ?1 WHERE name = ?2 AND mark < ?1",
        [(micros(mark), name) for name, mark in record.marks],
    )


def record_anchors(batch: Batch, record: RecordAnchors) -> None:
    """What jobs of the table count from; of a job that is gone it is dropped."""
    batch.write(
        "UPDATE jobs SET anchor = ?1 WHERE name = ?2",
        [(micros(anchor), name) for name, anchor in record.anchors],
    )


def record_run_counts(batch: Batch, record: RecordRunCounts) -> None:
    """What `max_runs` has counted; a count never goes back but with a new definition."""
    batch.write(
        "UPDATE jobs SET runs = ?1 WHERE name = ?2 AND runs < ?1",
        [(count, name) for name, count in record.counts],
    )


def record_boots(batch: Batch, record: RecordBoots) -> None:
    """The newest boot in which each job fired `@reboot`; kept when the job goes, so that it cannot fire again."""
    batch.write(
        "INSERT INTO host_boots (job, boot) VALUES (?, ?) ON CONFLICT (job) DO UPDATE SET boot = excluded.boot",
        list(record.boots),
    )
