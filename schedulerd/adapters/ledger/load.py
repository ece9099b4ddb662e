"""What a new leader reads: open work and the job table; and what a gather step gets. Reads only."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.former import former
from schedulerd.adapters.ledger.rows import decoded, instant, instant_or_none
from schedulerd.errors import LedgerError
from schedulerd.model.job import Definition, Pool
from schedulerd.model.run import (
    Again,
    AttemptState,
    Cause,
    JobRow,
    NewAttempt,
    NewRun,
    OpenAttempt,
    OpenRun,
    OpenSubtask,
    OpenWork,
    Pause,
    RunState,
    SubtaskState,
)
from schedulerd.model.sharing import Sharing
from schedulerd.protocol.ids import attempt_id

_decode_definition = msgspec.json.Decoder(Definition).decode
_decode_env = msgspec.json.Decoder(dict[str, str]).decode
_encode = msgspec.json.Encoder().encode

# ---- open work -------------------------------------------------------------------------------------------------

_DEFINITIONS = """
SELECT job, version, document FROM definitions WHERE (job, version) IN (
    SELECT name, version FROM jobs UNION SELECT job, version FROM runs WHERE finished_at IS NULL)
"""
_JOBS = """
SELECT name, version, first_seen, mark, anchor, runs, paused_by, reason, since, until
FROM jobs LEFT JOIN pauses ON pauses.job = jobs.name ORDER BY name
"""
_POOLS = "SELECT name, max, is_retired FROM pools ORDER BY name"
_REMOVED = """
SELECT job, mark FROM (
    SELECT job, (SELECT last FROM slots WHERE slots.job = gone.job ORDER BY first DESC LIMIT 1) AS mark
    FROM (SELECT DISTINCT job FROM definitions WHERE job NOT IN (SELECT name FROM jobs)) AS gone) AS marked
WHERE mark IS NOT NULL
"""
_RUN = """
SELECT n, id, job, version, cause, fire_time, has_slot, created_at, nominal, env, asked_by, parent, state, started_at,
    is_split, cancelled_by IS NOT NULL, coalesce(cancel_reason, 'operator'), rounds, again, round_fence
FROM runs
"""
_RUNS = f"{_RUN} WHERE finished_at IS NULL ORDER BY n"
_BACKFILLS = "SELECT job, max_parallel FROM backfills"
# CROSS JOIN: SQLite then begins with the open runs, which are few, whatever its statistics say
_SUBTASKS = """
SELECT s.run, s.idx, s.item, s.state, s.pinned, s.reason FROM runs CROSS JOIN subtasks AS s
WHERE runs.finished_at IS NULL AND s.run = runs.n ORDER BY s.run, s.idx
"""
_ATTEMPTS = """
SELECT a.run, a.subtask, a.number, a.worker, a.worker_name, a.nonce, a.epoch, a.fence, a.assigned_at, a.state,
    a.started_at
FROM runs CROSS JOIN attempts_now AS a
WHERE runs.finished_at IS NULL AND a.run = runs.n ORDER BY a.run, a.subtask, a.number
"""
_OPEN_STATES = {state.value: state for state in AttemptState if not state.is_final}
_SUBTASK_STATES = {state.value: state for state in SubtaskState}


def load(connection: Connection) -> OpenWork:
    """Everything that is not final and the job table; the caller holds a transaction around it."""
    definitions = _definitions(connection)
    (next_fence,) = connection.execute("SELECT next_fence FROM leadership").fetchone()
    subtasks = _ByRun(iter(connection.execute(_SUBTASKS)))
    attempts = _ByRun(iter(connection.execute(_ATTEMPTS)))
    return OpenWork(
        jobs=tuple(_job(row, definitions) for row in connection.execute(_JOBS)),
        runs=tuple(
            _run(row, definitions, subtasks.of(row[0]), attempts.of(row[0]))
            for row in connection.execute(_RUNS)
        ),
        next_fence=next_fence,
        backfills=tuple((job, width) for job, width in connection.execute(_BACKFILLS)),
        boots=tuple(connection.execute("SELECT job, boot FROM host_boots ORDER BY job")),
        has_table=connection.execute("SELECT 1 FROM definitions LIMIT 1").fetchone() is not None,
        removed=tuple((job, instant(mark)) for job, mark in connection.execute(_REMOVED)),
        pools=tuple(
            Pool(name=name, max=limit, is_retired=bool(is_retired))
            for name, limit, is_retired in connection.execute(_POOLS)
        ),
        former=former(connection),
    )


_ONE_SUBTASKS = "SELECT idx, item, state, pinned, reason FROM subtasks WHERE run = ? ORDER BY idx"
_ONE_ATTEMPTS = """
SELECT subtask, number, worker, worker_name, nonce, epoch, fence, assigned_at, state, started_at
FROM attempts_now WHERE run = ? ORDER BY subtask, number
"""


def load_run(connection: Connection, run: str) -> OpenRun | None:
    """One run, final or not, in the same form; None when it is not recorded."""
    row = connection.execute(f"{_RUN} WHERE id = ?", (run,)).fetchone()
    if row is None:
        return None
    job, version = row[2:4]
    found = connection.execute(
        "SELECT document FROM definitions WHERE job = ? AND version = ?", (job, version)
    ).fetchone()
    return _run(
        row,
        {(job, version): _decode_definition(found[0])},
        connection.execute(_ONE_SUBTASKS, (row[0],)).fetchall(),
        connection.execute(_ONE_ATTEMPTS, (row[0],)).fetchall(),
    )


class _ByRun:
    """Rows that begin with the number of their run and come in its order, handed out run by run."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._groups = groupby(rows, key=itemgetter(0))
        self._next = next(self._groups, None)

    def of(self, run: int) -> Sequence[tuple[Any, ...]]:
        """The rows of that run, without its number; runs are asked for in ascending order."""
        if self._next is None or self._next[0] != run:
            return ()
        rows = [row[1:] for row in self._next[1]]
        self._next = next(self._groups, None)
        return rows


def _definitions(connection: Connection) -> dict[tuple[str, str], Definition]:
    """Those of the table and of open runs, by job and version."""
    found: dict[tuple[str, str], Definition] = {}
    sharing = Sharing()
    for job, version, document in connection.execute(_DEFINITIONS):
        definition = found[job, version] = _decode_definition(document)
        sharing.share((definition,))
    return found


def _job(row: tuple[Any, ...], definitions: dict[tuple[str, str], Definition]) -> JobRow:
    name, version, first_seen, mark, anchor, runs, paused_by, reason, since, until = row
    pause = None
    if paused_by is not None:
        pause = Pause(by=paused_by, reason=reason, since=instant(since), until=instant_or_none(until))
    return JobRow(
        definition=definitions[name, version],
        first_seen=instant(first_seen),
        mark=instant(mark),
        anchor=instant_or_none(anchor),
        runs=runs,
        pause=pause,
    )


def _run(
    row: tuple[Any, ...],
    definitions: dict[tuple[str, str], Definition],
    subtask_rows: Sequence[tuple[Any, ...]],
    attempt_rows: Sequence[tuple[Any, ...]],
) -> OpenRun:
    _, run, job, version, cause, fire_time, has_slot, created_at, nominal, env, asked_by, parent = row[:12]
    state, started_at, is_split, is_cancelled, cancel_reason, rounds, again, round_fence = row[12:]
    new = NewRun(
        id=run,
        job=job,
        version=version,
        cause=Cause(cause),
        fire_time=instant(fire_time),
        has_slot=bool(has_slot),
        created_at=instant(created_at),
        nominal=nominal,
        env=_decode_env(env) if env else {},
        by=asked_by,
        parent=parent,
    )
    histories: dict[int, _History] = {}
    attempts = _open_attempts(attempt_rows, run, histories, round_fence)
    never = _History()
    subtasks = []
    for index, item, subtask_state, pinned, reason in subtask_rows:
        history = histories.get(index, never)
        subtasks.append(
            OpenSubtask(
                index=index,
                item=item,
                state=_SUBTASK_STATES[subtask_state],
                attempts=history.attempts,
                counted_failures=history.failures,
                losses=history.losses,
                previous=history.previous,
                pinned=pinned,
                reason=reason,
            )
        )
    return OpenRun(
        run=new,
        definition=definitions[job, version],
        state=RunState(state),
        started_at=instant_or_none(started_at),
        is_split=bool(is_split),
        is_cancelled=bool(is_cancelled),
        cancel_reason=cancel_reason,
        subtasks=tuple(subtasks),
        attempts=tuple(attempts),
        rounds=rounds,
        again=Again(again) if again else None,
    )


class _History:
    """What the ended attempts of one subtask came to."""

    __slots__ = ("attempts", "failures", "losses", "previous")

    def __init__(self) -> None:
        self.attempts = 0
        self.failures = 0
        self.losses = 0
        self.previous = "none"

    def add(self, state: str, is_of_round: bool) -> None:
        """Count the next attempt, in order of number; the ends of earlier rounds count against no retry."""
        self.attempts += 1
        if state in ("failed", "timeout"):
            self.failures += is_of_round
            self.previous = state
        elif state == "lost":
            self.losses += is_of_round
            self.previous = state


def _open_attempts(
    rows: Sequence[tuple[Any, ...]], run: str, histories: dict[int, _History], round_fence: int
) -> list[OpenAttempt]:
    """The run's attempts that are not final; fills `histories` by subtask on the way."""
    attempts = []
    for row in rows:
        subtask, number, worker, name, nonce, epoch, fence, assigned_at, state, started_at = row
        history = histories.get(subtask)
        if history is None:
            history = histories[subtask] = _History()
        history.add(state, fence >= round_fence)
        open_state = _OPEN_STATES.get(state)
        if open_state is None:
            continue
        new = NewAttempt(
            id=attempt_id(run, subtask, number),
            run=run,
            subtask=subtask,
            number=number,
            worker=worker,
            worker_name=name,
            nonce=nonce,
            epoch=epoch,
            fence=fence,
            assigned_at=instant(assigned_at),
        )
        attempts.append(OpenAttempt(attempt=new, state=open_state, started_at=instant_or_none(started_at)))
    return attempts


# ---- gather ----------------------------------------------------------------------------------------------------

_NEWEST_ATTEMPTS = """
FROM subtasks AS s
LEFT JOIN attempts AS a ON a.run = s.run AND a.subtask = s.idx AND a.number = (
    SELECT max(number) FROM attempts WHERE run = s.run AND subtask = s.idx)
LEFT JOIN boots ON boots.n = a.boot
LEFT JOIN outcomes AS e ON e.run = a.run AND e.subtask = a.subtask AND e.number = a.number
LEFT JOIN outputs AS o ON o.n = e.output
WHERE s.run = ? AND s.idx >= 0
"""
_GATHER_SIZE = f"SELECT coalesce(sum(length(stdout_head) + length(stdout_tail)), 0) {_NEWEST_ATTEMPTS}"
_GATHER = f"""
SELECT s.idx, s.item, s.state, e.exit_code, o.stdout_head, o.stdout_tail, o.stdout_dropped, boots.name
{_NEWEST_ATTEMPTS} ORDER BY s.idx
"""


def gather_input(connection: Connection, run: str, limit: int) -> tuple[bytes, int]:
    """One JSON object a line for each ordinary subtask, from its newest attempt; see `Ledger.gather_input`."""
    found = connection.execute("SELECT n FROM runs WHERE id = ?", (run,)).fetchone()
    if found is None:
        raise LedgerError(f'run "{run}" is not in the ledger, there is nothing to gather')
    # as JSON no output is shorter than its bytes, so a hopeless case costs no reading of blobs
    (least,) = connection.execute(_GATHER_SIZE, found).fetchone()
    if least > limit:
        return b"", int(least)
    lines = []
    size = 0
    for row in connection.execute(_GATHER, found):
        line = _gather_line(row)
        size += len(line)
        if size <= limit:
            lines.append(line)
    return (b"".join(lines), size) if size <= limit else (b"", size)


def _gather_line(row: tuple[Any, ...]) -> bytes:
    index, item, state, code, head, tail, dropped, worker = row
    line: dict[str, Any] = {
        "subtask": index,
        # as the split made it; a line break between JSON tokens would end our line
        "item": None if item is None else msgspec.Raw(item.replace("\n", " ").replace("\r", " ").encode()),
        "state": state,
        "code": code,
        "output": decoded((head or b"") + (tail or b"")),
        "worker": worker,
    }
    if dropped:
        line["output_dropped"] = dropped
    return _encode(line) + b"\n"
