"""The inside of one run for the API: subtasks, attempts, output. Reads only, in the caller's transaction."""

from typing import Any

import msgspec

from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.rows import decoded, text_or_none
from schedulerd.protocol import api_types as shapes
from schedulerd.protocol.ids import GATHER, SETUP, SPLIT, TEARDOWN, attempt_id

_TAIL = 2000  # bytes of output shown with an attempt ...
_ALL_TAILS = 1_000_000  # ... fewer when that would make more than this of one run
_LEAST_TAIL = 80

_COLUMNS = "SELECT idx, item, state FROM subtasks WHERE run = ?"
_STEPS = f"{_COLUMNS} AND idx < 0"
_ORDINARY = f"{_COLUMNS} AND idx > ? AND idx >= 0 ORDER BY idx LIMIT ?"
# what is worth a look first: steps, then what failed, then what is under way
_FIRST = f"""{_COLUMNS}
ORDER BY CASE WHEN idx < 0 THEN 0 WHEN state IN ('failed', 'timeout', 'lost') THEN 1 WHEN state = 'running' THEN 2
    WHEN state = 'cancelled' THEN 3 WHEN state = 'pending' THEN 4 ELSE 5 END, idx LIMIT ?"""
_RANKS = {SETUP: 0, SPLIT: 1, GATHER: 2, TEARDOWN: 3}  # steps in the order in which they come


def _last(column: str) -> str:
    """SQL for the last ?2 bytes of a blob."""
    size = f"length({column})"
    return f"substr({column}, CASE WHEN {size} > ?2 THEN {size} - CAST(?2 AS integer) + 1 ELSE 1 END)"


_ATTEMPTS = f"""
SELECT a.subtask, a.number, a.worker_name, a.worker, a.epoch, a.state, a.reason, a.exit_code, a.started_at,
    a.finished_at, a.signal, a.detail, a.wall_ms, a.user_ms, a.system_ms, a.peak_bytes, a.output_bytes,
    {_last("o.stdout_head")}, {_last("o.stdout_tail")}, o.stdout_dropped,
    {_last("o.stderr_head")}, {_last("o.stderr_tail")}, o.stderr_dropped, a.assigned_at
FROM attempts_now AS a LEFT JOIN outputs AS o ON o.n = a.output
WHERE a.run = ?1 AND a.subtask >= ?3 AND a.subtask <= ?4 ORDER BY a.subtask, a.number
"""
_COUNT = "SELECT count(*) FROM attempts WHERE run = ? AND subtask >= ? AND subtask <= ?"
_OUTPUTS = """
SELECT runs.id, a.subtask, a.number, a.worker_name, a.state, a.started_at, a.finished_at,
    o.stdout_head, o.stdout_tail, o.stdout_dropped, o.stderr_head, o.stderr_tail, o.stderr_dropped
FROM runs JOIN attempts_now AS a ON a.run = runs.n LEFT JOIN outputs AS o ON o.n = a.output
WHERE runs.id = ?
"""


def subtasks_of(
    connection: Connection, number: int, run: str, most: int | None = None
) -> tuple[list[shapes.Subtask], int]:
    """Ordinary subtasks by index, then the run's own steps, each with its attempts; and how many are left out.

    Of more than `most`, those that are worth a look: steps, then what failed, then what is under way.
    """
    (count,) = connection.execute("SELECT count(*) FROM subtasks WHERE run = ?", (number,)).fetchone()
    if most is None or count <= most:
        rows = connection.execute(_ORDINARY, (number, -1, count)).fetchall()
        return _with_attempts(connection, number, run, [*rows, *_steps(connection, number)]), 0
    rows = connection.execute(_FIRST, (number, most)).fetchall()
    return _with_attempts(connection, number, run, sorted(rows, key=_place)), count - len(rows)


def subtasks_page(
    connection: Connection, number: int, run: str, after: int, most: int
) -> tuple[list[shapes.Subtask], int | None]:
    """Up to `most` of them in that order, behind the place `after` (-1: from the first); where the next page begins."""
    rows = connection.execute(_ORDINARY, (number, after, most + 1)).fetchall() if after < _BEHIND else []
    if len(rows) <= most:
        rows += [row for row in _steps(connection, number) if _place(row) > after]
    page = rows[:most]
    following = _place(page[-1]) if len(rows) > most else None
    return _with_attempts(connection, number, run, page), following


_BEHIND = 1 << 31  # the places of steps, behind all ordinary subtasks


def _place(row: tuple[Any, ...]) -> int:
    return int(row[0]) if row[0] >= 0 else _BEHIND + _RANKS[row[0]]


def _steps(connection: Connection, number: int) -> list[tuple[Any, ...]]:
    return sorted(connection.execute(_STEPS, (number,)), key=_place)


def _with_attempts(
    connection: Connection, number: int, run: str, rows: list[tuple[Any, ...]]
) -> list[shapes.Subtask]:
    spans = _spans(sorted(row[0] for row in rows))
    count = sum(connection.execute(_COUNT, (number, *span)).fetchone()[0] for span in spans)
    tail = max(_LEAST_TAIL, min(_TAIL, _ALL_TAILS // max(count, 1)))
    attempts: dict[int, list[shapes.Attempt]] = {}
    for span in spans:
        for row in connection.execute(_ATTEMPTS, (number, tail, *span)):
            attempts.setdefault(row[0], []).append(_attempt(run, row, tail))
    return [
        shapes.Subtask(
            index=index,
            item=None if item is None else msgspec.json.decode(item),
            state=state,
            attempts=attempts.get(index, []),
        )
        for index, item, state in rows
    ]


def _spans(indexes: list[int]) -> list[tuple[int, int]]:
    """Ascending indexes as (first, last) of stretches without gaps."""
    spans: list[tuple[int, int]] = []
    for index in indexes:
        if spans and spans[-1][1] == index - 1:
            spans[-1] = (spans[-1][0], index)
        else:
            spans.append((index, index))
    return spans


def _attempt(run: str, row: tuple[Any, ...], tail: int) -> shapes.Attempt:
    subtask, number, worker, worker_id, epoch, state, reason, exit_code, started_at, finished_at = row[:10]
    signal, detail, wall_ms, user_ms, system_ms, peak_bytes, output_bytes = row[10:17]
    usage = None
    if wall_ms is not None:
        usage = {
            "wall_ms": wall_ms,
            "user_ms": user_ms,
            "system_ms": system_ms,
            "peak_bytes": peak_bytes,
            "output_bytes": output_bytes,
        }
    return shapes.Attempt(
        attempt=number,
        id=attempt_id(run, subtask, number),
        worker=worker,
        worker_id=worker_id,
        epoch=epoch,
        state=state,
        reason=reason or "",
        exit_code=exit_code,
        started_at=text_or_none(started_at),
        finished_at=text_or_none(finished_at),
        output_tail=_tail(row[17:23], tail),
        assigned_at=text_or_none(row[23]),
        signal=signal,
        detail=detail or "",
        usage=usage,
    )


def _tail(captured: tuple[Any, ...], size: int) -> str:
    """The end of stdout, then the end of stderr, together about `size` bytes; stderr is sure of half of them."""
    stdout_head, stdout_tail, stdout_dropped, stderr_head, stderr_tail, stderr_dropped = captured
    stdout = _end(stdout_head, stdout_tail, stdout_dropped)
    stderr = _end(stderr_head, stderr_tail, stderr_dropped)
    stderr = stderr[-max(size // 2, size - len(stdout)) :]
    if len(stdout) + len(stderr) > size:
        stdout = stdout[len(stdout) + len(stderr) - size :]
    if stdout and stderr and not stdout.endswith(b"\n"):
        stdout += b"\n"
    return decoded(stdout) + decoded(stderr)


def _end(head: bytes | None, tail: bytes | None, dropped: int | None) -> bytes:
    """What comes last of one stream without a hole; SQLite's substr of an empty BLOB is NULL."""
    return (tail or b"") if dropped else (head or b"") + (tail or b"")


def attempt_outputs(connection: Connection, run: str, subtask: int | None) -> list[shapes.AttemptOutput]:
    """Every attempt of the run or of one subtask of it, with all that was kept of its output."""
    only = "" if subtask is None else "AND a.subtask = ?"
    values = (run,) if subtask is None else (run, subtask)
    rows = connection.execute(f"{_OUTPUTS} {only} ORDER BY a.subtask, a.number", values).fetchall()
    rows.sort(key=lambda row: _STAGES.get(row[1], 2))  # stable: each by subtask and number
    return [_output(row) for row in rows]


_STAGES = {SETUP: 0, SPLIT: 1, GATHER: 3, TEARDOWN: 4}  # subtasks lie between


def _output(row: tuple[Any, ...]) -> shapes.AttemptOutput:
    run, subtask, number, worker, state, started_at, finished_at = row[:7]
    stdout_head, stdout_tail, stdout_dropped, stderr_head, stderr_tail, stderr_dropped = row[7:]
    return shapes.AttemptOutput(
        run=run,
        subtask=subtask,
        attempt=number,
        worker=worker,
        state=state,
        started_at=text_or_none(started_at),
        finished_at=text_or_none(finished_at),
        stdout_head=stdout_head or b"",
        stdout_tail=stdout_tail or b"",
        stdout_dropped=stdout_dropped or 0,
        stderr_head=stderr_head or b"",
        stderr_tail=stderr_tail or b"",
        stderr_dropped=stderr_dropped or 0,
    )
