"""Writing subtasks and attempts: hot rows, a few microseconds each. Leaves how attempts end to outcomes.py.

Every function first writes as if all rows were new and in the state they should be in, counts what that changed, and
looks closer only when the count is not the expected one.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from schedulerd.adapters.ledger.batch import (
    FAILED,
    IS_RUNNING,
    IS_SPLIT,
    RUNNING,
    SUCCEEDED,
    TOTAL,
    Batch,
    Key,
)
from schedulerd.adapters.ledger.rows import micros
from schedulerd.core.effects import (
    RecordAttempts,
    RecordRound,
    RecordSubtasks,
    RecordSubtaskStates,
)
from schedulerd.errors import LedgerContentError
from schedulerd.model.run import SubtaskState

_SUBTASK = """
INSERT INTO subtasks (run, idx, state, item, pinned) VALUES (?, ?, 'pending', ?, ?) ON CONFLICT DO NOTHING
"""
_ATTEMPT = """
INSERT INTO attempts (run, subtask, number, boot, epoch, fence, assigned_at)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_SUBTASK_RUNS = "UPDATE subtasks SET state = 'running' WHERE run = ? AND idx = ? AND state = 'pending'"
_SUBTASK_STATE = "UPDATE subtasks SET state = ?, reason = ? WHERE run = ? AND idx = ? AND state = 'running'"
_STRETCH_RUNS = """
UPDATE subtasks SET state = 'running' WHERE run = ? AND idx BETWEEN ? AND ? AND state = 'pending'
"""
_STRETCH_STATE = """
UPDATE subtasks SET state = ?, reason = ? WHERE run = ? AND idx BETWEEN ? AND ? AND state = 'running'
"""
_STRETCH_AGAIN = "UPDATE subtasks SET state = 'pending', reason = '' WHERE run = ? AND idx BETWEEN ? AND ?"
_SUBTASK_STATE_ANY = "UPDATE subtasks SET state = ?, reason = ? WHERE run = ? AND idx = ?"

_WORTH_A_STRETCH = 8  # rows for each statement over a stretch


def record_subtasks(batch: Batch, records: Sequence[RecordSubtasks]) -> None:
    """New subtasks of several runs, pending."""
    rows = []
    new: list[tuple[int, RecordSubtasks]] = []
    for record in records:
        run, is_open = batch.run(record.run)
        own = [(run, index, item, pinned) for index, item, pinned in record.subtasks]
        if is_open:
            rows += own
            new.append((run, record))
        elif batch.write(_SUBTASK, own):
            raise LedgerContentError(f'run "{record.run}" is final: it takes no more subtasks')
    are_new = batch.write(_SUBTASK, rows) == len(rows)
    for run, record in new:
        delta = batch.delta(run)
        if are_new:
            delta[TOTAL] += sum(1 for index, _, _ in record.subtasks if index >= 0)
        else:
            batch.recounts[run] = None
        if record.is_split:
            delta[IS_SPLIT] = 1


def record_round(batch: Batch, record: RecordRound) -> None:
    """The retry of an open run has begun: its subtasks that get new attempts are pending, its result is to come."""
    run, is_open = batch.run(record.run)
    if not is_open:
        raise LedgerContentError(f'run "{record.run}" is final: it begins no round')
    changed = batch.connection.execute(
        "UPDATE runs SET again = NULL, round_fence = ? WHERE n = ? AND again IS NOT NULL",
        (record.first_fence, run),
    ).rowcount
    if not changed:  # it was written before
        return
    batch.connection.execute("DELETE FROM results WHERE run = ?", (run,))
    stretches = _stretches(list(record.subtasks))
    if stretches is None:
        stretches = [(index, index) for index in record.subtasks]
    batch.write(_STRETCH_AGAIN, [(run, first, last) for first, last in stretches])
    batch.recounts[run] = None


def record_attempts(batch: Batch, record: RecordAttempts) -> None:
    """New attempts, assigned; their subtasks and runs become running if they were pending."""
    rows: list[tuple[Any, ...]] = []
    late: list[tuple[Any, ...]] = []
    opened: list[tuple[str, Key]] = []
    subtasks = []
    ordinary: dict[int, int] = {}  # run -> how many ordinary subtasks of it
    fence = batch.highest_fence
    name = ""
    number, is_open = 0, True
    for attempt in record.attempts:
        if attempt.run is not name:
            name = attempt.run
            number, is_open = batch.run(name)
            if is_open:
                ordinary.setdefault(number, 0)
        index = attempt.subtask
        row = (
            number,
            index,
            attempt.number,
            batch.boot(attempt.worker, attempt.nonce, attempt.worker_name),
            attempt.epoch,
            attempt.fence,
            micros(attempt.assigned_at),
        )
        if attempt.fence > fence:
            fence = attempt.fence
        if is_open:
            rows.append(row)
            opened.append((attempt.id, (number, index, attempt.number)))
            subtasks.append((number, index))
            if index >= 0:
                ordinary[number] += 1
        else:
            late.append(row)
    batch.highest_fence = fence
    if batch.write(_ATTEMPT, rows) == len(rows):
        batch.numbers.open_attempts.update(opened)
    if late and batch.write(_ATTEMPT, late):
        raise LedgerContentError("a run that is final takes no more attempts; the batch is not written")
    all_counted = _mark_running(batch, subtasks) == len(subtasks)
    for run, count in ordinary.items():
        delta = batch.delta(run)
        delta[IS_RUNNING] = 1
        if all_counted:
            delta[RUNNING] += count
        else:
            batch.recounts[run] = None
    if not all_counted:
        _require_subtasks(batch, subtasks)


def _mark_running(batch: Batch, subtasks: list[tuple[int, int]]) -> int:
    """Pending subtasks, as (run, index), become running; how many there were."""
    count, singly = 0, []
    for run, part in groupby(subtasks, key=itemgetter(0)):
        keys = list(part)
        stretches = _stretches([index for _, index in keys])
        if stretches is None:
            singly += keys
        for first, last in stretches or ():
            count += batch.connection.execute(_STRETCH_RUNS, (run, first, last)).rowcount
    return count + batch.write(_SUBTASK_RUNS, singly)


def _mark_ended(batch: Batch, run: int, record: RecordSubtaskStates) -> int:
    """Running subtasks get their new state; how many there were."""
    _, state, reason = record.states[0]
    if all(one[1] is state and one[2] == reason for one in record.states):
        stretches = _stretches([index for index, _, _ in record.states])
        if stretches is not None:
            return sum(
                batch.connection.execute(_STRETCH_STATE, (state.value, reason, run, first, last)).rowcount
                for first, last in stretches
            )
    rows = [(state.value, reason, run, index) for index, state, reason in record.states]
    return batch.write(_SUBTASK_STATE, rows)


def _stretches(indexes: list[int]) -> list[tuple[int, int]] | None:
    """These indexes as (first, last) of few stretches without gaps; None when there are not few, or one comes twice.

    A wide run is given out and ends in long stretches: one statement for each costs a fraction of one a row.
    """
    if len(indexes) < _WORTH_A_STRETCH:
        return None
    found: list[tuple[int, int]] = []
    first = before = None
    for index in sorted(indexes):
        if before is None or first is None:
            first = index
        elif index == before:
            return None
        elif index != before + 1:
            found.append((first, before))
            first = index
            if len(found) * _WORTH_A_STRETCH > len(indexes):
                return None
        before = index
    assert first is not None
    assert before is not None
    return [*found, (first, before)]


def _require_subtasks(batch: Batch, subtasks: list[tuple[int, int]]) -> None:
    for key in subtasks:
        if (
            batch.connection.execute("SELECT 1 FROM subtasks WHERE run = ? AND idx = ?", key).fetchone()
            is None
        ):
            raise LedgerContentError(
                f"subtask {key[1]} of an attempt is not in the ledger (run number {key[0]})"
            )


def record_subtask_states(batch: Batch, record: RecordSubtaskStates) -> None:
    """New states of subtasks of an open run; a final run keeps its own."""
    run, is_open = batch.run(record.run)
    if not is_open:
        return
    if not record.states:
        return
    if _mark_ended(batch, run, record) != len(record.states):
        rows = [(state.value, reason, run, index) for index, state, reason in record.states]
        # some were not running (cancelled while pending, settled by a late result): any state gives way, counted anew
        if batch.write(_SUBTASK_STATE_ANY, rows) != len(rows):
            _require_subtasks(batch, [(run, index) for index, _, _ in record.states])
        batch.recounts[run] = None
        return
    delta = batch.delta(run)
    for index, state, _ in record.states:
        if index < 0 or state is SubtaskState.RUNNING:
            continue
        delta[RUNNING] -= 1
        if state is SubtaskState.SUCCEEDED:
            delta[SUCCEEDED] += 1
        elif state is not SubtaskState.PENDING:
            delta[FAILED] += 1
