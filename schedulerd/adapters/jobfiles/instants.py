"""Dates and times of TOML or RFC 3339 -> instants. Those without an offset are read in the job's zone."""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schedulerd.adapters.jobfiles.faults import Fault, shown, wrong_kind
from schedulerd.protocol.ids import read_time

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_LONGEST_GAP = timedelta(hours=3)  # a longer one is a correction of the calendar: nothing is made up for
_EXPECTED = "expected a date and time such as 2026-12-05T03:00:00+01:00"


def read_instants(values: list[object], timezone: str, faults: list[Fault]) -> tuple[datetime, ...]:
    """The instants, UTC, ascending, without repeats. What cannot be read becomes a fault at ("at", index)."""
    instants = set()
    for index, value in enumerate(values):
        try:
            instants.add(_instant(value, timezone))
        except ValueError as error:
            faults.append(Fault(path=("at", index), text=str(error)))
    return tuple(sorted(instants))


def read_instant(key: str, value: object, timezone: str, faults: list[Fault]) -> datetime | None:
    """One instant, UTC; what cannot be read becomes a fault at `key`."""
    try:
        return _instant(value, timezone)
    except ValueError as error:
        faults.append(Fault(path=(key,), text=str(error)))
        return None


def _instant(value: object, timezone: str) -> datetime:
    """Raises ValueError with a sentence that says what was found and what was expected."""
    moment = read_moment(value)
    try:
        return (_in_zone(moment, timezone) if moment.tzinfo is None else moment).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{shown(value)} lies outside the years 1 to 9999 in UTC") from error


def read_moment(value: object) -> datetime:
    """What TOML or RFC 3339 text says, naive without an offset. Raises ValueError with a sentence."""
    if isinstance(value, datetime):
        return value
    match value:
        case date():
            raise ValueError(f"{value.isoformat()} has no time of day, {_EXPECTED}")
        case time():
            raise ValueError(f"{value.isoformat()} has no date, {_EXPECTED}")
        case str() if _RFC3339.fullmatch(value):
            pass
        case str():
            raise ValueError(f"{shown(value)} is not understood, {_EXPECTED}")
        case _:
            raise ValueError(wrong_kind(value, _EXPECTED.removeprefix("expected ")))
    try:
        return read_time(value.upper())
    except ValueError as error:
        raise ValueError(f"{shown(value)} is no date of the calendar ({error}), {_EXPECTED}") from error


def _in_zone(wall: datetime, timezone: str) -> datetime:
    """The first instant with this wall time; for one that a spring change skips, the first one after the gap."""
    where = ZoneInfo(timezone)
    instant = wall.replace(tzinfo=where, fold=0).astimezone(UTC)
    if instant.astimezone(where).replace(tzinfo=None) == wall:
        return instant
    before = wall.replace(tzinfo=where, fold=1).astimezone(
        UTC
    )  # a gap: fold 1 counts with the offset after it
    if instant - before > _LONGEST_GAP:
        raise ValueError(f"{shown(wall)} does not exist in {timezone}, {_EXPECTED}")
    low, high = before.replace(microsecond=0), instant.replace(microsecond=0)
    offset = high.astimezone(where).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(where).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high
