"""Writing runs and slots: who fills a fire time, ranges of skips, the end of a run."""

from datetime import datetime

import msgspec

from schedulerd.adapters.ledger.batch import Batch
from schedulerd.adapters.ledger.connection import each
from schedulerd.adapters.ledger.rows import micros, micros_or_none, text
from schedulerd.core.effects import (
    CloseRun,
    RecordCancel,
    RecordEvent,
    RecordReopening,
    RecordResult,
    RecordRuns,
    RecordSkips,
)
from schedulerd.errors import LedgerContentError
from schedulerd.model.run import NewRun, Skip

_encode = msgspec.json.Encoder().encode

_RUN = """
INSERT INTO runs (n, id, job, version, cause, fire_time, has_slot, created_at, nominal, env, asked_by, parent, epoch,
    state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending') ON CONFLICT DO NOTHING
"""
# Slots of a job never overlap, so only the newest one that begins at or before ?2 can cover it.
_RUN_SLOT = """
INSERT INTO slots (job, first, last, count, run) SELECT ?1, ?2, ?2, 1, ?3 WHERE NOT EXISTS (
    SELECT 1 FROM (SELECT last FROM slots WHERE job = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1) AS newest
    WHERE last >= ?2)
ON CONFLICT DO NOTHING
"""
_NEWEST_SLOT = """
SELECT first, last, run, reason, version, is_apart FROM slots WHERE job = ? AND first <= ? ORDER BY first DESC LIMIT 1
"""
_SKIP_SLOT = (
    "INSERT INTO slots (job, first, last, count, reason, version, is_apart) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_LONGER_SLOT = "UPDATE slots SET last = ?, count = count + ? WHERE job = ? AND first = ?"
_COUNTED_FROM = "SELECT counted_from FROM jobs WHERE name = ?"
_CLOSE = """
UPDATE runs SET state = ?, reason = ?, started_at = coalesce(?, started_at), finished_at = ?, again = NULL
WHERE n = ? AND finished_at IS NULL
"""
_REOPEN = """
UPDATE runs SET state = 'pending', reason = '', started_at = NULL, finished_at = NULL, cancelled_by = NULL,
    cancel_reason = NULL, rounds = ?1, again = ?2 WHERE n = ?3 AND finished_at IS NOT NULL AND rounds = ?1 - 1
"""


def record_runs(batch: Batch, record: RecordRuns) -> None:
    """New runs and the slots they fill. Raises LedgerContentError for a slot that something else fills already."""
    batch.require_definitions((run.job, run.version) for run in record.runs)
    numbers = batch.numbers
    first = numbers.next_run
    numbers.next_run += len(record.runs)
    rows = []
    for number, run in enumerate(record.runs, first):
        rows.append((number, *_run_row(run), batch.epoch))
    written = batch.write(_RUN, rows)
    numbered = list(enumerate(record.runs, first))
    if written != len(rows):
        numbered = [(number, run) for number, run in numbered if batch.run(run.id)[0] == number]
    for number, run in numbered:
        numbers.runs[run.id] = number
    slots = [(run.job, micros(run.fire_time), number) for number, run in numbered if run.has_slot]
    if batch.write(_RUN_SLOT, slots) != len(slots):
        raise _taken_slot(batch, slots)


def _run_row(run: NewRun) -> tuple[object, ...]:
    return (
        run.id,
        run.job,
        run.version,
        run.cause.value,
        micros(run.fire_time),
        int(run.has_slot),
        micros(run.created_at),
        run.nominal,
        _encode(run.env).decode() if run.env else None,
        run.by,
        run.parent,
    )


def _taken_slot(batch: Batch, slots: list[tuple[str, int, int]]) -> LedgerContentError:
    """The error that names the first slot that its run could not fill."""
    for job, fire_time, number in slots:
        found = batch.connection.execute(_NEWEST_SLOT, (job, fire_time)).fetchone()
        if found is not None and found[2] != number:
            return _overlap(batch, job, fire_time, found[2], found[3])
    return LedgerContentError("two runs of one batch fill the same slot")


def _overlap(batch: Batch, job: str, fire_time: int, run: int | None, reason: str) -> LedgerContentError:
    if run is None:
        what = f"skipped already ({reason})"
    else:
        found = batch.connection.execute("SELECT id FROM runs WHERE n = ?", (run,)).fetchone()
        what = f"filled already by run {found[0] if found else run}"
    return LedgerContentError(f'slot of job "{job}" at {text(fire_time)} is {what}; expected a free one')


def record_skips(batch: Batch, record: RecordSkips) -> None:
    """Ranges of fire times without a run; one that goes on where the job's newest range ends lengthens it.

    A range that is recorded already is left alone; a new one is told as an event. Raises LedgerContentError for one
    that overlaps anything else.
    """
    batch.require_definitions((skip.job, skip.version) for skip in record.skips)
    wave: dict[str, Skip] = {}
    for skip in record.skips:
        if skip.job in wave:  # what it goes on from is not written yet
            _write_skips(batch, list(wave.values()), record.found_at)
            wave.clear()
        wave[skip.job] = skip
    _write_skips(batch, list(wave.values()), record.found_at)


def _write_skips(batch: Batch, skips: list[Skip], found_at: datetime | None) -> None:
    """Skips of different jobs: what stands there is read for all of them, then all are written."""
    lasts = [(skip.job, micros(skip.last)) for skip in skips]
    found = each(batch.connection, _NEWEST_SLOT, lasts)
    alike = [
        before is not None and before[2] is None and before[3:5] == (skip.reason.value, skip.version)
        for skip, before in zip(skips, found, strict=True)
    ]
    # a range goes on only under one version of the job in force ever since, so that no fire time lies between
    names = [(skip.job,) for skip, is_alike in zip(skips, alike, strict=True) if is_alike]
    counted = dict(zip(names, each(batch.connection, _COUNTED_FROM, names), strict=True))
    new = []
    longer = []
    begun = []
    for skip, before, is_alike in zip(skips, found, alike, strict=True):
        first, last = micros(skip.first), micros(skip.last)
        row = (skip.job, first, last, skip.count, skip.reason.value, skip.version, int(skip.is_apart))
        if before is None:
            new.append(row)
            begun.append(skip)
            continue
        old_first, old_last, run, reason, _, is_apart = before
        if old_last >= first:
            if is_alike and old_first <= first and old_last >= last:
                continue
            raise _overlap(batch, skip.job, max(first, old_first), run, reason)
        since = counted.get((skip.job,))
        if is_alike and not is_apart and not skip.is_apart and since is not None and since[0] < old_first:
            longer.append((last, skip.count, skip.job, old_first))
        else:
            new.append(row)
            begun.append(skip)
    batch.write(_SKIP_SLOT, new)
    batch.note([_skipped(skip, found_at) for skip in begun])
    batch.write(_LONGER_SLOT, longer)


def _skipped(skip: Skip, found_at: datetime | None) -> RecordEvent:
    span = text(micros(skip.first))
    if skip.count > 1:
        span = f"{span} to {text(micros(skip.last))}, {skip.count} fire times"
    return RecordEvent(
        type="skipped", time=found_at or skip.last, job=skip.job, detail=f"{skip.reason.value}: {span}"
    )


def record_cancel(batch: Batch, record: RecordCancel) -> None:
    """Keep who asked for the end of an open run, and why; the first one stays."""
    batch.connection.execute(
        "UPDATE runs SET cancelled_by = ?, cancel_reason = nullif(?, 'operator')"
        " WHERE id = ? AND finished_at IS NULL AND cancelled_by IS NULL",
        (record.by, record.reason, record.run),
    )


def record_result(batch: Batch, record: RecordResult) -> None:
    """What gather of an open run has printed; empty output is none."""
    number, is_open = batch.run(record.run)
    if is_open and record.result:
        batch.connection.execute(
            "INSERT INTO results (run, result) VALUES (?, ?) ON CONFLICT DO NOTHING", (number, record.result)
        )


def record_reopening(batch: Batch, record: RecordReopening) -> None:
    """A final run is open again. Raises LedgerContentError when it is not final, or has had another round meanwhile."""
    number, is_open = batch.run(record.run)
    if batch.connection.execute(_REOPEN, (record.rounds, record.again.value, number)).rowcount:
        batch.numbers.runs[record.run] = number
        return
    (rounds,) = batch.connection.execute("SELECT rounds FROM runs WHERE n = ?", (number,)).fetchone()
    if not is_open or rounds != record.rounds:
        raise LedgerContentError(
            f'run "{record.run}" cannot begin round {record.rounds}: it is not final, or has had {rounds} rounds'
        )


def close_run(batch: Batch, record: CloseRun) -> None:
    """The end of a run; one that is final already keeps its end."""
    number, is_open = batch.run(record.run)
    if not is_open:
        return
    batch.connection.execute(
        _CLOSE,
        (
            record.state.value,
            record.reason,
            micros_or_none(record.started_at),
            micros(record.finished_at),
            number,
        ),
    )
    batch.numbers.runs.pop(record.run, None)
