"""Reading events of a ledger: by what they are about, onward from one, and those beside a run. Reads only.

`seq` follows the order of writing, and so nearly that of time: that is how a stretch of time is found without an
index of its own.
"""

from typing import Any

from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.rows import text
from schedulerd.protocol import api_types as shapes

EVENT = "SELECT seq, time, type, job, run, subtask, attempt, worker, epoch, detail FROM events"

_SLACK = 2_000_000  # microseconds around a stretch of time: clocks step, and events are told a beat later
_BESIDE_SHOWN = 200
_WORKERS_SHOWN = 50
_OF_LEADERS = ("takeover", "leader_gained", "leader_lost", "rejected")


def find_events(connection: Connection, query: shapes.EventQuery) -> list[shapes.Event]:
    """The events that are asked for, in the order that is asked for."""
    conditions: list[str] = []
    values: list[object] = []
    for condition, value in (
        ("seq > ?", query.after),
        ("seq < ?", query.before),
        ("job = ?", query.job if query.job is not None or query.run is None else query.run.partition("@")[0]),
        ("run = ?", query.run),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if query.types:
        conditions.append(f"type IN ({', '.join('?' * len(query.types))})")
        values.extend(query.types)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    order = "ASC" if query.after is not None else "DESC"
    rows = connection.execute(f"{EVENT} {where} ORDER BY seq {order} LIMIT ?", (*values, query.limit))
    return [event(row) for row in rows]


def newest_event(connection: Connection) -> int:
    """The number of the newest event, 0 without any."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])


def beside(connection: Connection, begin: int, end: int | None, workers: list[str]) -> list[shapes.Event]:
    """What happened to these workers (by name) and to the leaders from `begin` to `end` (microseconds; None = now)."""
    names = workers[:_WORKERS_SHOWN]
    first = _first_since(connection, begin - _SLACK)
    until = "" if end is None else "AND time <= ?"
    about = f"(type IN ({', '.join('?' * len(_OF_LEADERS))})"
    if names:
        about += f" OR worker IN ({', '.join('?' * len(names))})"
    rows = connection.execute(
        f"{EVENT} WHERE seq >= ? AND time >= ? {until} AND run IS NULL AND {about}) ORDER BY seq LIMIT ?",
        (
            first,
            begin,
            *(() if end is None else (end + _SLACK,)),
            *_OF_LEADERS,
            *names,
            _BESIDE_SHOWN,
        ),
    )
    return [event(row) for row in rows]


def event(row: tuple[Any, ...]) -> shapes.Event:
    """An event from a row of EVENT."""
    seq, time, type, job, run, subtask, attempt, worker, epoch, detail = row
    return shapes.Event(
        seq=seq,
        time=text(time),
        type=type,
        job=job,
        run=run,
        subtask=subtask,
        attempt=attempt,
        worker=worker,
        epoch=epoch,
        detail=detail,
    )


def _first_since(connection: Connection, at: int) -> int:
    """About the first number whose event is not older than `at`: a few look-ups by number."""
    low, high = connection.execute(
        "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM events"
    ).fetchone()
    while low < high:
        middle = (low + high) // 2
        (time,) = connection.execute(
            "SELECT time FROM events WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)
        ).fetchone()
        if time < at:
            low = middle + 1
        else:
            high = middle
    return int(low)
