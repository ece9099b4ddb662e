"""Writing how attempts start and end: hot rows, a few microseconds each.

The writer remembers the attempts it has recorded, so that an outcome costs no look-up; for all others (after a
takeover, repeated, late, unknown) it looks first.
"""

from typing import Any

from schedulerd.adapters.ledger.batch import Batch, Key
from schedulerd.adapters.ledger.rows import instant as instant_of
from schedulerd.adapters.ledger.rows import micros
from schedulerd.core.effects import RecordEvent, RecordLateResults, RecordOutcomes, RecordStarted
from schedulerd.model.run import AttemptState
from schedulerd.protocol.ids import split_attempt_id
from schedulerd.protocol.messages import Outcome

_STARTED = (
    "UPDATE attempts SET started_at = ? WHERE run = ? AND subtask = ? AND number = ? AND started_at IS NULL"
)
_OUTCOME = """
INSERT INTO outcomes (state, reason, detail, exit_code, signal, started_at, finished_at, wall_ms, user_ms, system_ms,
    peak_bytes, output_bytes, output, run, subtask, number)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_FORGET_OUTPUT = """
DELETE FROM outputs WHERE n = (SELECT output FROM outcomes WHERE run = ? AND subtask = ? AND number = ?)
"""
_FORGET_OUTCOME = "DELETE FROM outcomes WHERE run = ? AND subtask = ? AND number = ?"
_KNOWN = """
SELECT o.state FROM attempts AS a
LEFT JOIN outcomes AS o ON o.run = a.run AND o.subtask = a.subtask AND o.number = a.number
WHERE a.run = ? AND a.subtask = ? AND a.number = ?
"""
_WORKER = """
SELECT b.name FROM attempts AS a JOIN boots AS b ON b.n = a.boot WHERE a.run = ? AND a.subtask = ? AND a.number = ?
"""
_OUTPUT = """
INSERT INTO outputs (n, stdout_head, stdout_tail, stdout_dropped, stderr_head, stderr_tail, stderr_dropped)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""

# A worker's own word replaces "nobody knows"; these two say no more than that.
_NO_WORD = ("lost", "unstarted")


def record_started(batch: Batch, record: RecordStarted) -> None:
    """Attempts whose process exists; what is final or unknown is left alone."""
    rows = []
    for attempt, instant in record.starts:
        key = batch.numbers.open_attempts.get(attempt)
        if key is None:
            key, state = _look_up(batch, attempt)
            if state is not None:
                continue
        if key is not None:
            at = micros(instant)
            rows.append((at, *key))
            batch.started(key[0], at)
    batch.write(_STARTED, rows)


def record_outcomes(batch: Batch, record: RecordOutcomes) -> None:
    """How attempts ended, with what they wrote.

    A final attempt keeps its outcome, except that `lost` gives way to what the worker says later. An attempt that the
    ledger lacks is kept as an event `unknown_result`.
    """
    rows: list[tuple[Any, ...]] = []
    outputs: list[tuple[Any, ...]] = []
    for outcome in record.outcomes:
        key = batch.numbers.open_attempts.pop(outcome.attempt, None)
        if key is None:
            # what is gathered so far may be about the same attempt
            _write_outcomes(batch, rows, outputs)
            key = _make_room(batch, outcome)
            if key is None:
                continue
        started = None
        if outcome.started_utc_ms is not None:
            started = outcome.started_utc_ms * 1000
            batch.started(key[0], started)
        usage = outcome.usage
        rows.append(
            (
                outcome.state,
                outcome.reason,
                outcome.detail,
                outcome.exit_code,
                outcome.signal,
                started,
                None if outcome.finished_utc_ms is None else outcome.finished_utc_ms * 1000,
                usage.wall_ms,
                usage.user_ms,
                usage.system_ms,
                usage.peak_bytes,
                usage.output_bytes,
                _output(batch, outcome, outputs),
                *key,
            )
        )
    _write_outcomes(batch, rows, outputs)


def record_late_results(batch: Batch, record: RecordLateResults) -> None:
    """Outcomes of attempts that are not open any more.

    A worker's word on a lost attempt is kept in the place of `lost`, with an event `late_result`; an attempt that the
    ledger lacks is an event `unknown_result`; any other is a result that came twice, and changes nothing.
    """
    for outcome in record.outcomes:
        key, state = _look_up(batch, outcome.attempt)
        if key is not None and state == AttemptState.LOST.value and outcome.state not in _NO_WORD:
            (worker,) = batch.connection.execute(_WORKER, key).fetchone()
            _note(batch, micros(record.time), "late_result", outcome, worker)
        elif key is not None and state is not None:
            batch.repeated.append(outcome.attempt)
            continue
        record_outcomes(batch, RecordOutcomes((outcome,)))


def _output(batch: Batch, outcome: Outcome, outputs: list[tuple[Any, ...]]) -> int | None:
    """Add a row to `outputs` if the attempt wrote anything; its number."""
    out, err = outcome.stdout, outcome.stderr
    if not (out.head or err.head or out.tail or err.tail or out.dropped or err.dropped):
        return None
    number = batch.numbers.next_output
    batch.numbers.next_output = number + 1
    outputs.append((number, out.head, out.tail, out.dropped, err.head, err.tail, err.dropped))
    return number


def _write_outcomes(batch: Batch, rows: list[tuple[Any, ...]], outputs: list[tuple[Any, ...]]) -> None:
    """Write both lists and empty them."""
    batch.write(_OUTPUT, outputs)
    batch.write(_OUTCOME, rows)
    outputs.clear()
    rows.clear()


def _look_up(batch: Batch, attempt: str) -> tuple[Key | None, str | None]:
    """(key, final state) of an attempt: no key when it is not recorded, no state when it has no outcome."""
    run, subtask, number = split_attempt_id(attempt)
    found = batch.find_run(run)
    if found is None:
        return None, None
    key = (found[0], subtask, number)
    row = batch.connection.execute(_KNOWN, key).fetchone()
    return (None, None) if row is None else (key, row[0])


def _make_room(batch: Batch, outcome: Outcome) -> Key | None:
    """Key of an attempt that may take this outcome; None when nothing of it is to be written (any more)."""
    key, state = _look_up(batch, outcome.attempt)
    if key is None:
        _record_unknown(batch, outcome)
    elif state == AttemptState.LOST.value and outcome.state not in _NO_WORD:
        batch.connection.execute(_FORGET_OUTPUT, key)
        batch.connection.execute(_FORGET_OUTCOME, key)
    elif state is not None:
        return None
    return key


def _record_unknown(batch: Batch, outcome: Outcome) -> None:
    told = outcome.finished_utc_ms or outcome.started_utc_ms
    if told is None:
        (time,) = batch.connection.execute("SELECT since FROM leadership").fetchone()
    else:
        time = told * 1000
    _note(batch, time, "unknown_result", outcome)


def _note(batch: Batch, time: int, type: str, outcome: Outcome, worker: str | None = None) -> None:
    """An event about a result that nobody waited for; `time` in microseconds."""
    run, subtask, _ = split_attempt_id(outcome.attempt)
    job = run.partition("@")[0]
    detail = f"{outcome.state} {outcome.reason}".strip()
    event = RecordEvent(
        type=type,
        time=instant_of(time),
        job=job,
        run=run,
        subtask=subtask,
        attempt=outcome.attempt,
        worker=worker,
        detail=detail,
    )
    batch.note([event])
