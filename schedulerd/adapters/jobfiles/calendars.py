"""`[calendar.X]` and calendars written into a job -> frozen values in a job's zone, or what is wrong with them."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path as FilePath
from typing import Any

from msgspec import Struct

from schedulerd.adapters.jobfiles import ics
from schedulerd.adapters.jobfiles.faults import Fault, did_you_mean, shown, wrong_kind
from schedulerd.adapters.jobfiles.files import read_content
from schedulerd.adapters.jobfiles.instants import read_moment
from schedulerd.adapters.jobfiles.toml_text import Path
from schedulerd.core.zones import from_seconds, instant_of, to_seconds, zone
from schedulerd.model.job import Calendar
from schedulerd.protocol.ids import rfc3339

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KEYS = ("dates", "weekdays", "times", "ics")  # of [calendar.X]
INLINE_KEYS = ("name", "dates", "weekdays", "times")  # of a calendar that a job holds itself

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_A_DATE = 'expected a date such as 2026-12-24, or a range "2026-12-24/2027-01-02"'
_A_TIME = 'expected a range of times such as "2026-12-24T12:00:00Z/2026-12-24T18:00:00Z"'
_A_WEEKDAY = 'expected mon, tue, wed, thu, fri, sat, sun or a range such as "mon-fri"'


class Parts(Struct, kw_only=True):
    """What a calendar says, before a job's zone is known."""

    name: str = ""
    days: ics.Days = []
    weekdays: list[int] = []
    spans: ics.Spans = []

    def frozen(self, timezone: str) -> Calendar:
        """The same as a value in that zone, in order and without overlaps."""
        where = zone(timezone)
        days = [(first.toordinal(), last.toordinal()) for first, last in self.days]
        spans = [
            tuple(
                to_seconds(instant_of(edge, where) if edge.tzinfo is None else edge.astimezone(UTC))
                for edge in span
            )
            for span in self.spans
        ]
        return Calendar(
            name=self.name,
            days=_merged(days, 1),
            weekdays=tuple(sorted(set(self.weekdays))),
            spans=_merged([(begin, end) for begin, end in spans if begin < end], 0),
        )


def read_calendar(name: str, table: Any, folder: FilePath | None, faults: list[Fault]) -> Parts | None:
    """The calendar in `table`, or None and its faults, with paths below the table.

    `folder` is what the path of an iCalendar file is relative to; None: the calendar stands inside a job.
    """
    if not isinstance(table, dict):
        faults.append(Fault(path=(), text=wrong_kind(table, "a table with dates, weekdays, times or ics")))
        return None
    before = len(faults)
    known = INLINE_KEYS if folder is None else KEYS
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known)
            if key == "ics":
                hint = ", a file is named in a table [calendar.NAME] of a job file"
            faults.append(Fault(path=(key,), text=f"unknown key{hint}", at_key=True))
    parts = Parts(name=name or str(table.get("name", "")))
    for key, read in (("dates", _read_date), ("weekdays", _read_weekday), ("times", _read_time)):
        value = table.get(key, [])
        for index, element in enumerate(value if isinstance(value, list) else [value]):
            try:
                read(element, parts)
            except ValueError as error:
                faults.append(Fault(path=(key, index), text=str(error)))
    if folder is not None and "ics" in table:
        _read_file(table["ics"], folder, parts, faults)
    if len(faults) == before and all(key not in table for key in KEYS):
        faults.append(Fault(path=(), text=f"holds nothing, expected one of {', '.join(known)}", at_key=True))
    if len(parts.days) + len(parts.spans) > ics.MOST:
        text = f"{len(parts.days) + len(parts.spans):,} dates and times were found, expected at most {ics.MOST:,}"
        faults.append(Fault(path=(), text=text, at_key=True))
    return parts if len(faults) == before else None


def resolve(
    key: str, value: Any, timezone: str, known: Mapping[str, Parts | None], faults: list[Fault]
) -> tuple[Calendar, ...]:
    """The calendars that `key` of a job names or holds; a name whose own table is faulty is passed over."""
    found: list[Calendar] = []
    is_list = isinstance(value, list)
    for index, element in enumerate(value if is_list else [value]):
        path: Path = (key, index) if is_list else (key,)
        if isinstance(element, str):
            if element not in known:
                text = (
                    f"calendar {shown(element)} is not defined{did_you_mean(element, known) or _where(known)}"
                )
                faults.append(Fault(path=path, text=text))
            elif (parts := known[element]) is not None:
                found.append(parts.frozen(timezone))
            continue
        inner: list[Fault] = []
        if isinstance(element, dict):
            parts = read_calendar("", element, None, inner)
            if parts is not None:
                found.append(parts.frozen(timezone))
        else:
            inner.append(Fault(path=(), text=wrong_kind(element, "the name of a calendar, or a table")))
        faults.extend(
            Fault(path=(*path, *fault.path), text=fault.text, at_key=fault.at_key, index=fault.index)
            for fault in inner
        )
    return tuple(found)


def to_document(calendar: Calendar) -> dict[str, Any]:
    """The calendar as a job holds it itself; reading it back gives an equal one."""
    dates = [
        "/".join(date.fromordinal(day).isoformat() for day in sorted({first, last}))
        for first, last in calendar.days
    ]
    times = ["/".join(rfc3339(from_seconds(edge)) for edge in span) for span in calendar.spans]
    document = {
        "name": calendar.name,
        "dates": dates,
        "weekdays": [WEEKDAYS[day] for day in calendar.weekdays],
        "times": times,
    }
    is_empty = not (dates or times or calendar.weekdays)
    return {key: value for key, value in document.items() if value or (is_empty and key == "dates")}


def _where(known: Mapping[str, Parts | None]) -> str:
    if known:
        return f", expected one of {', '.join(sorted(known)[:10])}"
    return ", expected a table [calendar.NAME] in a job file, or the calendar itself as a table here"


def _read_date(value: object, parts: Parts) -> None:
    if isinstance(value, date) and not isinstance(value, datetime):
        parts.days.append((value, value))
        return
    edges = value.split("/") if isinstance(value, str) else []
    if not 1 <= len(edges) <= 2 or not all(_DATE.fullmatch(edge) for edge in edges):
        raise ValueError(f"{shown(value)} is no date, {_A_DATE}")
    try:
        first, last = date.fromisoformat(edges[0]), date.fromisoformat(edges[-1])
    except ValueError as error:
        raise ValueError(f"{shown(value)} is no date of the calendar ({error}), {_A_DATE}") from error
    if last < first:
        raise ValueError(f"{shown(value)} ends before it begins, {_A_DATE}")
    parts.days.append((first, last))


def _read_weekday(value: object, parts: Parts) -> None:
    edges = value.lower().split("-") if isinstance(value, str) else []
    if not 1 <= len(edges) <= 2 or any(edge not in WEEKDAYS for edge in edges):
        raise ValueError(f"{shown(value)} is no weekday, {_A_WEEKDAY}")
    first, last = WEEKDAYS.index(edges[0]), WEEKDAYS.index(edges[-1])
    if last < first:
        raise ValueError(f'{shown(value)} runs backwards, write ["{edges[0]}-sun", "mon-{edges[1]}"]')
    parts.weekdays.extend(range(first, last + 1))


def _read_time(value: object, parts: Parts) -> None:
    edges = value.split("/") if isinstance(value, str) else []
    if len(edges) != 2:
        raise ValueError(f"{shown(value)} is no range of times, {_A_TIME}")
    begin, end = (read_moment(edge) for edge in edges)
    if (begin.tzinfo is None) != (end.tzinfo is None) or end <= begin:
        raise ValueError(f"{shown(value)} does not end after it begins, {_A_TIME}")
    if not date(1900, 1, 1) <= begin.date() <= end.date() <= date(9000, 1, 1):
        raise ValueError(f"{shown(value)} lies outside the years 1900 to 9000")
    parts.spans.append((begin, end))


def _read_file(value: object, folder: FilePath, parts: Parts, faults: list[Fault]) -> None:
    expected = "expected the path of an iCalendar file, from this file's directory"
    if not isinstance(value, str) or not value or "\0" in value:
        faults.append(Fault(path=("ics",), text=f"{shown(value)} is no path, {expected}"))
        return
    try:
        content = read_content(folder / value)
        days, spans = ics.read_events(content)
    except OSError as error:
        text = f"{shown(value)} cannot be read ({error.strerror or error}), {expected}"
        faults.append(Fault(path=("ics",), text=text))
    except ValueError as error:
        faults.append(Fault(path=("ics",), text=f"{shown(value)} {error}, {expected}"))
    else:
        parts.days.extend(days)
        parts.spans.extend((_plain(begin), _plain(end)) for begin, end in spans if end - begin > timedelta())


def _plain(edge: datetime) -> datetime:
    """Without a zone's name, which does not travel between processes."""
    return edge if edge.tzinfo is None else edge.astimezone(UTC)


def _merged(ranges: Iterable[tuple[int, int]], touch: int) -> tuple[tuple[int, int], ...]:
    """The ranges in order, those that overlap or touch (`touch` apart) joined."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + touch:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)
