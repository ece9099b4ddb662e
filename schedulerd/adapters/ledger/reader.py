"""What the API reads from a ledger, on a read-only connection of its own, newest first, a page at a time.

Cursors are text that only this module understands. Every call is one short read transaction at most, so that the
write-ahead log can be checkpointed.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from schedulerd.adapters.ledger.account import fire_account, run_account
from schedulerd.adapters.ledger.backfill import slot_rows
from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.detail import attempt_outputs, subtasks_of, subtasks_page
from schedulerd.adapters.ledger.events import find_events, newest_event
from schedulerd.adapters.ledger.load import load_run
from schedulerd.adapters.ledger.rows import decoded, instant, micros, text, text_or_none
from schedulerd.adapters.ledger.slots import slots_page
from schedulerd.core.backfill import SlotRow
from schedulerd.errors import CommandError
from schedulerd.model.run import OpenRun
from schedulerd.protocol import api_types as shapes
from schedulerd.protocol.api_accounts import FireAccount, RunAccount
from schedulerd.protocol.ids import manual_run_ending

_JOB = """
SELECT name, document, first_seen, mark, anchor, jobs.runs, paused_by, pauses.reason, since, until,
    r.id, r.state, r.fire_time, r.started_at, r.finished_at,
    (SELECT count(*) FROM runs AS o WHERE o.job = jobs.name AND o.finished_at IS NULL)
FROM jobs
JOIN definitions AS d ON d.job = jobs.name AND d.version = jobs.version
LEFT JOIN pauses ON pauses.job = jobs.name
LEFT JOIN runs AS r ON r.n = (SELECT n FROM runs WHERE job = jobs.name ORDER BY fire_time DESC, n DESC LIMIT 1)
"""
_RUN = """
SELECT n, id, job, fire_time, cause, state, created_at, started_at, finished_at, total, succeeded, failed, running,
    reason, parent, nominal, rounds
FROM runs
"""

_LAST = chr(0x10FFFF)  # behind every text that goes on differently

# Causes whose fire time was promised by a schedule, so that a start can be late.
_PROMISED = ("schedule", "catchup")


class Reader(ABC):
    """`LedgerReader` on a connection that a database's own class opens, closes and holds transactions on."""

    _connection: Connection

    @abstractmethod
    def _reading(self, doing: str) -> AbstractContextManager[None]:
        """Reads that see one state of the ledger; what `doing` fails with becomes an error of ours."""

    @abstractmethod
    def close(self) -> None:
        """See `LedgerReader`."""

    def jobs(self, after: str, limit: int) -> list[shapes.JobFacts]:
        """Jobs of the accepted table by name, later than `after`."""
        with self._reading("listing jobs"):
            rows = self._connection.execute(f"{_JOB} WHERE name > ? ORDER BY name LIMIT ?", (after, limit))
            return [_job(row) for row in rows]

    def job(self, name: str) -> shapes.JobFacts | None:
        """One job of the accepted table."""
        with self._reading("reading a job"):
            row = self._connection.execute(f"{_JOB} WHERE name = ?", (name,)).fetchone()
            return None if row is None else _job(row)

    def job_names(self) -> list[str]:
        """All names of the accepted table, sorted."""
        with self._reading("listing job names"):
            return [name for (name,) in self._connection.execute("SELECT name FROM jobs ORDER BY name")]

    def runs(self, query: shapes.RunQuery) -> tuple[list[shapes.Run], str | None]:
        """Runs by fire time, newest first, and the cursor of the next page. Raises CommandError (invalid)."""
        where, values = _conditions(query)
        statement = f"{_RUN} {where} ORDER BY fire_time DESC, n DESC LIMIT ?"
        with self._reading("listing runs"):
            rows = self._connection.execute(statement, (*values, query.limit + 1)).fetchall()
        page = rows[: query.limit]
        cursor = f"{page[-1][3]}.{page[-1][0]}" if len(rows) > query.limit and page else None
        return [shapes.Run(**_run(row)) for row in page], cursor

    def run(self, run: str, most: int | None = None) -> shapes.RunDetail | None:
        """One run with its subtasks, attempts and the last part of what they wrote; of many at most `most` subtasks."""
        with self._reading("reading a run"):
            return self._detail(run, most)

    def subtasks(self, run: str, cursor: str, limit: int) -> tuple[list[shapes.Subtask], str | None]:
        """Subtasks of a run by index, then its steps, with their attempts. Raises CommandError (invalid)."""
        after = int(_checked(cursor, 1)[0]) if cursor else -1
        with self._reading("listing subtasks"):
            row = self._connection.execute("SELECT n FROM runs WHERE id = ?", (run,)).fetchone()
            if row is None:
                return [], None
            page, following = subtasks_page(self._connection, row[0], run, after, limit)
            return page, None if following is None else str(following)

    def recorded_run(self, run: str) -> OpenRun | None:
        """One run as the leader would remember it, final or not."""
        with self._reading("reading a run for a retry"):
            return load_run(self._connection, run)

    def run_ids(self, prefix: str, limit: int) -> list[str]:
        """Up to `limit` run ids that begin with `prefix`, sorted."""
        with self._reading("looking up a run"):
            rows = self._connection.execute(
                "SELECT id FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (prefix, f"{prefix}{_LAST}", limit),
            )
            return [run for (run,) in rows]

    def slots(self, job: str, cursor: str, limit: int) -> tuple[list[shapes.Slot], str | None]:
        """Fire times of a job, newest first, ranges of skips as single ones. Raises CommandError (invalid)."""
        before = int(_checked(cursor, 1)[0]) if cursor else None
        with self._reading("listing slots"):
            return slots_page(self._connection, job, before, limit)

    def identity(self) -> str:
        """Which ledger this is: see `Ledger.identity`."""
        with self._reading("looking which ledger it is"):
            return str(self._connection.execute("SELECT ledger FROM leadership").fetchone()[0])

    def events(self, before_seq: int, limit: int) -> list[shapes.Event]:
        """Events with a smaller number than `before_seq`, newest first; 0 = from the newest."""
        return self.find_events(shapes.EventQuery(before=before_seq or None, limit=limit))

    def find_events(self, query: shapes.EventQuery) -> list[shapes.Event]:
        """Events by what they are about; newest first, or onward from `query.after`."""
        with self._reading("listing events"):
            return find_events(self._connection, query)

    def newest_event(self) -> int:
        """The number of the newest event, 0 without any."""
        with self._reading("looking for the newest event"):
            return newest_event(self._connection)

    def output(self, run: str, subtask: int | None) -> list[shapes.AttemptOutput]:
        """What the attempts of a run wrote, by subtask and number; all subtasks for None, none for an unknown run."""
        with self._reading("reading output"):
            return attempt_outputs(self._connection, run, subtask)

    def manual_run(self, job: str, key: str) -> str | None:
        """The run that a manual trigger of `job` with this key made, if it is still in the ledger."""
        ending = manual_run_ending(key)
        with self._reading("looking for a manual run"):
            row = self._connection.execute(
                "SELECT id FROM runs WHERE job = ? AND cause = 'manual' AND id LIKE '%' || ? "
                "ORDER BY fire_time DESC LIMIT 1",
                (job, ending),
            ).fetchone()
            return None if row is None else str(row[0])

    def has_slot(self, job: str, fire_time: datetime) -> bool:
        """True when that fire time of the job has its row, a run or a skip."""
        at = micros(fire_time)
        with self._reading("looking for a slot"):
            row = self._connection.execute(
                "SELECT 1 FROM slots WHERE job = ? AND first <= ? AND last >= ? LIMIT 1", (job, at, at)
            ).fetchone()
            return row is not None

    def accounted_to(self) -> datetime | None:
        """The latest instant up to which any fire time may have its row: later than now after a clock was set back."""
        with self._reading("looking for the newest mark"):
            marks = self._connection.execute("SELECT max(mark) FROM jobs").fetchone()
            runs = self._connection.execute("SELECT max(fire_time) FROM runs").fetchone()
            found = [us for (us,) in (marks, runs) if us is not None]
            return instant(max(found)) if found else None

    def slot_rows(self, job: str, first: datetime, last: datetime) -> list[SlotRow]:
        """Every row of the job's account that touches first..last, ascending, as it stands."""
        with self._reading("reading slots"):
            return slot_rows(self._connection, job, micros(first), micros(last))

    def fire_account(self, job: str, fire_time: datetime) -> FireAccount:
        """What is known about that instant of the job."""
        with self._reading("reading the account of a fire time"):
            return fire_account(self._connection, job, micros(fire_time))

    def run_account(self, run: str) -> RunAccount | None:
        """One run with what was noted about it."""
        with self._reading("reading the account of a run"):
            detail = self._detail(run, None)
            return None if detail is None else run_account(self._connection, detail)

    def _detail(self, run: str, most: int | None) -> shapes.RunDetail | None:
        row = self._connection.execute(f"{_RUN} WHERE id = ?", (run,)).fetchone()
        if row is None:
            return None
        result = self._connection.execute("SELECT result FROM results WHERE run = ?", (row[0],)).fetchone()
        subtasks, hidden = subtasks_of(self._connection, row[0], run, most)
        return shapes.RunDetail(
            **_run(row),
            rounds=row[-1],
            subtasks_detail=subtasks,
            subtasks_hidden=hidden,
            result=None if result is None else decoded(result[0]),
        )


def _conditions(query: shapes.RunQuery) -> tuple[str, list[Any]]:
    """WHERE text and its values. Raises CommandError for a time or cursor that is none."""
    terms: list[str] = []
    values: list[Any] = []
    if query.job is not None:
        terms.append("job = ?")
        values.append(query.job)
    if query.states:
        # the words of a partial index, so that rare states are found without reading all runs
        if set(query.states) <= {"pending", "running"}:
            terms.append("finished_at IS NULL")
        elif set(query.states) <= {"failed", "cancelled"}:
            terms.append("state IN ('failed', 'cancelled')")
        terms.append(f"state IN ({', '.join('?' * len(query.states))})")
        values.extend(query.states)
    if query.since is not None:
        terms.append("fire_time >= ?")
        values.append(_since(query.since))
    if query.cursor:
        terms.append("(fire_time, n) < (?, ?)")
        values.extend(int(part) for part in _checked(query.cursor, 2))
    return (f"WHERE {' AND '.join(terms)}" if terms else ""), values


def _since(since: str) -> int:
    try:
        instant = datetime.fromisoformat(since)
    except ValueError as error:
        raise CommandError("invalid", f'since: "{since}" is not a time, expected RFC 3339') from error
    if instant.tzinfo is None:
        raise CommandError("invalid", f'since: "{since}" has no zone, expected RFC 3339 with Z or an offset')
    return micros(instant)


def _checked(cursor: str, parts: int) -> list[str]:
    found = cursor.split(".")
    if len(found) != parts or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in found):
        raise CommandError("invalid", f'cursor: "{cursor}" is not one that a list gave')
    return found


def _job(row: tuple[Any, ...]) -> shapes.JobFacts:
    name, document, first_seen, mark, anchor, runs, paused_by, reason, since, until = row[:10]
    run, state, fire_time, started_at, finished_at, open_runs = row[10:]
    pause = None
    if paused_by is not None:
        pause = shapes.PauseInfo(by=paused_by, reason=reason, since=text(since), until=text_or_none(until))
    last = None
    if run is not None:
        last = shapes.LastRun(
            id=run,
            state=state,
            fire_time=text(fire_time),
            started_at=text_or_none(started_at),
            finished_at=text_or_none(finished_at),
        )
    return shapes.JobFacts(
        name=name,
        definition_json=document.encode(),
        pause=pause,
        first_seen=text(first_seen),
        mark=text(mark),
        anchor=text_or_none(anchor),
        runs=runs,
        last_run=last,
        open_runs=open_runs,
    )


def _run(row: tuple[Any, ...]) -> dict[str, Any]:
    """The fields of shapes.Run."""
    _, run, job, fire_time, cause, state, created_at, started_at, finished_at = row[:9]
    total, succeeded, failed, running, reason, parent, nominal, rounds = row[9:]
    # a retry starts whenever somebody asks for it
    begun_at = created_at if started_at is None or rounds > 1 else started_at
    late_us = begun_at - fire_time if cause in _PROMISED else 0
    return {
        "id": run,
        "job": job,
        "fire_time": text(fire_time),
        "trigger": cause,
        "state": state,
        "late_seconds": max(late_us, 0) / 1e6,  # a worker's clock may be a little behind
        "started_at": text_or_none(started_at),
        "finished_at": text_or_none(finished_at),
        "subtasks": shapes.SubtaskCounts(
            total=total,
            succeeded=succeeded,
            failed=failed,
            running=running,
            pending=total - succeeded - failed - running,
        ),
        "reason": reason,
        "parent": parent,
        "nominal": nominal,
    }
