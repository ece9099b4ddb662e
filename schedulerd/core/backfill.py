"""Runs for fire times that have passed without one: which they are, and what the rows around them become.

Pure, and worked out before the leader is asked; backfilling.py lets the leader do it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice

from msgspec import Struct

from schedulerd.core.trigger import FireTime, fires_between, next_fire
from schedulerd.model.job import Definition, Every

MOST_RUNS = 10_000  # of one request
_MOST_COUNTED = 1_000_000
_TICK = timedelta(microseconds=1)


class SlotRow(Struct, frozen=True, kw_only=True):
    """A row of the account as it stands: one run, or a range of skips."""

    first: datetime
    last: datetime
    count: int
    run: str | None
    reason: str | None
    definition: Definition | None  # whose fire times a range stands for; None when it is not kept


class Fill(Struct, frozen=True):
    """A fire time that shall have a run."""

    fire: FireTime
    was: str | None  # why it was skipped; None: it had no row


class Piece(Struct, frozen=True):
    """Fire times that stay in a range of skips."""

    first: datetime
    last: datetime
    count: int


class RowSplit(Struct, frozen=True, kw_only=True):
    """What a range of skips leaves behind when some of its fire times become runs.

    The range may have grown since: what its end is now, the piece behind the last of `pieces` begins at `rest`, and
    holds what neither `pieces` nor `taken` account for.
    """

    first: datetime  # of the range, which names it
    last: datetime  # it reaches at least this far
    pieces: tuple[Piece, ...]
    taken: int
    rest: datetime | None


class Plan(Struct, frozen=True, kw_only=True):
    """What a backfill would do."""

    fills: tuple[Fill, ...]  # oldest first
    splits: tuple[RowSplit, ...]
    existing: int  # fire times of the interval that have a run already


class TooMany(Exception):
    """The interval holds `count` fire times (or more, when `is_more`) without a run, above MOST_RUNS."""

    def __init__(self, count: int, is_more: bool) -> None:
        super().__init__(f"{'more than ' if is_more else ''}{count:,} fire times")
        self.count = count


def plan(
    definition: Definition,
    anchor: datetime | None,
    first: datetime,
    last: datetime,
    rows: Sequence[SlotRow],
) -> Plan:
    """Runs for the fire times that `definition` names in first..last; `rows` are all that touch it, ascending.

    Raises TooMany, before anything long is done.
    """
    counted = fires_between(definition.job, anchor, first - _TICK, last)
    fires = list(islice(counted, _MOST_COUNTED))
    is_more = next(counted, None) is not None
    fills, covered, existing = [], [], 0
    place = 0
    for fire in fires:
        while place < len(rows) and rows[place].last < fire.instant:
            place += 1
        row = rows[place] if place < len(rows) and rows[place].first <= fire.instant else None
        if row is not None and row.run is not None:
            existing += 1
            continue
        if row is not None:
            covered.append((row, fire.instant))
        is_member = row is not None and _is_member(row, fire.instant)
        fills.append(Fill(fire, row.reason if row is not None and is_member else None))
    if len(fills) > MOST_RUNS:
        raise TooMany(len(fills), is_more)
    splits = []
    while covered:
        row = covered[0][0]
        taken = [instant for other, instant in covered if other is row]
        splits.append(_split(row, taken))
        covered = covered[len(taken) :]
    return Plan(fills=tuple(fills), splits=tuple(splits), existing=existing)


def _row_anchor(row: SlotRow) -> datetime | None:
    """The first of a row is a fire time, which is all that the phase of `every` needs."""
    if row.definition is None or not isinstance(row.definition.job.trigger, Every):
        return None
    return row.first - row.definition.job.trigger.period


def _is_member(row: SlotRow, at: datetime) -> bool:
    """Whether a range of skips holds that fire time, or only lies around it."""
    if at in (row.first, row.last) or row.definition is None:
        return True
    found = next_fire(row.definition.job, _row_anchor(row), at - _TICK)
    return found is not None and found.instant == at


def _split(row: SlotRow, taken: list[datetime]) -> RowSplit:
    """What stays of `row`, whose fire times are known only by its definition."""
    if row.definition is None or row.count == 1:
        ends = [end for end in dict.fromkeys((row.first, row.last)) if end not in taken]
        pieces = tuple(Piece(end, end, 1) for end in ends)  # what lay between is not known any more
        return RowSplit(
            first=row.first, last=row.last, pieces=pieces, taken=row.count - len(pieces), rest=None
        )
    job, anchor = row.definition.job, _row_anchor(row)
    pieces_found: list[Piece] = []
    begin, members = row.first, 0
    for at in taken:
        inside = [fire.instant for fire in fires_between(job, anchor, begin - _TICK, at - _TICK)]
        if inside:
            pieces_found.append(Piece(inside[0], inside[-1], len(inside)))
        members += _is_member(row, at)
        begin = at + _TICK
    rest = next_fire(job, anchor, taken[-1])
    return RowSplit(
        first=row.first,
        last=row.last,
        pieces=tuple(pieces_found),
        taken=members,
        rest=None if rest is None else rest.instant,
    )
