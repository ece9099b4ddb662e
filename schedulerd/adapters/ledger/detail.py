"""The inside of one run for the API: subtasks, attempts, output. Reads only, in the caller's transaction."""

from typing import Any

import msgspec

from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.rows import decoded, text_or_none
from schedulerd.protocol import api_types as shapes
from schedulerd.protocol.ids import attempt_id

_TAIL = 2000  # bytes of output shown with an attempt ...
_ALL_TAILS = 1_000_000  # ... fewer when that would make more than this of one run
_LEAST_TAIL = 80

_SUBTASKS = "SELECT idx, item, state FROM subtasks WHERE run = ? ORDER BY idx < 0, idx"


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
WHERE a.run = ?1 ORDER BY a.subtask, a.number
"""
_OUTPUTS = """
SELECT runs.id, a.subtask, a.number, a.worker_name, a.state, a.started_at, a.finished_at,
    o.stdout_head, o.stdout_tail, o.stdout_dropped, o.stderr_head, o.stderr_tail, o.stderr_dropped
FROM runs JOIN attempts_now AS a ON a.run = runs.n LEFT JOIN outputs AS o ON o.n = a.output
WHERE runs.id = ?
"""


def subtasks_of(connection: Connection, number: int, run: str) -> list[shapes.Subtask]:
    """Ordinary subtasks by index, then the run's own steps, each with its attempts."""
    (count,) = connection.execute("SELECT count(*) FROM attempts WHERE run = ?", (number,)).fetchone()
    tail = max(_LEAST_TAIL, min(_TAIL, _ALL_TAILS // max(count, 1)))
    attempts: dict[int, list[shapes.Attempt]] = {}
    for row in connection.execute(_ATTEMPTS, (number, tail)):
        attempts.setdefault(row[0], []).append(_attempt(run, row, tail))
    return [
        shapes.Subtask(
            index=index,
            item=None if item is None else msgspec.json.decode(item),
            state=state,
            attempts=attempts.get(index, []),
        )
        for index, item, state in connection.execute(_SUBTASKS, (number,))
    ]


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
    rows = connection.execute(f"{_OUTPUTS} {only} ORDER BY a.subtask, a.number", values)
    return [_output(row) for row in rows]


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
