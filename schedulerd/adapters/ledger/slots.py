"""Pages of slots: runs as they are, ranges of skips spread into single fire times again.

A range holds no fire times; the definition it names does. Reads only, in the caller's transaction.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.rows import instant, micros, text
from schedulerd.core.trigger import FireTime, next_fire
from schedulerd.model.job import Definition, Every, Job
from schedulerd.protocol import api_types as shapes

_decode_definition = msgspec.json.Decoder(Definition).decode
_MICROSECOND = timedelta(microseconds=1)

_SLOTS = """
SELECT s.first, s.last, s.count, s.reason, s.version, runs.id, runs.nominal
FROM slots AS s LEFT JOIN runs ON runs.n = s.run
WHERE s.job = ? AND s.first < ? ORDER BY s.first DESC LIMIT ?
"""


def slots_page(
    connection: Connection, job: str, before: int | None, limit: int
) -> tuple[list[shapes.Slot], str | None]:
    """Up to `limit` slots of `job` earlier than `before` (microseconds), newest first, and the next cursor."""
    end = 1 << 62 if before is None else before
    rows = connection.execute(_SLOTS, (job, end, limit + 1)).fetchall()
    found: list[tuple[int, shapes.Slot]] = []
    for row in rows:
        if len(found) > limit:
            break
        found.extend(_spread(connection, job, row, end, limit + 1 - len(found)))
    page = found[:limit]
    cursor = str(page[-1][0]) if len(found) > limit and page else None
    return [slot for _, slot in page], cursor


def _spread(
    connection: Connection, job: str, row: tuple[Any, ...], end: int, limit: int
) -> list[tuple[int, shapes.Slot]]:
    """The newest `limit` slots of a row that are earlier than `end`, newest first."""
    first, last, count, reason, version, run, nominal = row
    if run is not None:
        return [(first, _slot(job, first, nominal, run, None))]
    times: list[FireTime] = []
    document = connection.execute(
        "SELECT document FROM definitions WHERE job = ? AND version = ?", (job, version)
    ).fetchone()
    if document is not None:
        definition = _decode_definition(document[0]).job
        times = _newest(definition, instant(first), instant(min(last, end - 1)), count, limit)
    if not times:  # no definition any more, or not one that fires then: the ends of the range are certain
        times = [FireTime(instant(us)) for us in sorted({first, last}) if us < end]
    return [
        (us, _slot(job, us, time.nominal, None, reason))
        for time in reversed(times[-limit:])
        for us in [micros(time.instant)]
    ]


def _newest(job: Job, first: datetime, until: datetime, count: int, limit: int) -> list[FireTime]:
    """The newest `limit` fire times from `first` to `until`, both included, ascending.

    Fire times are only computed forwards: a window at the end is made wider until it holds enough of them, so that a
    page of a week of seconds does not walk the whole week.
    """
    # `first` is a fire time, which is all that the phase of `every` needs
    anchor = first - job.trigger.period if isinstance(job.trigger, Every) else None
    width = (until - first) * min(1.0, 2.0 * limit / max(count, 1)) + _MICROSECOND
    while True:
        begin = max(first, until - width)
        times: list[FireTime] = []
        found = next_fire(job, anchor, begin - _MICROSECOND)
        while found is not None and found.instant <= until:
            times.append(found)
            found = next_fire(job, anchor, found.instant)
        if len(times) >= limit or begin == first:
            return times
        width *= 4


def _slot(job: str, fire_time: int, nominal: str | None, run: str | None, reason: str | None) -> shapes.Slot:
    return shapes.Slot(
        job=job,
        fire_time=text(fire_time),
        nominal=nominal,
        outcome="skipped" if run is None else "run",
        run_id=run,
        reason=reason,
    )
