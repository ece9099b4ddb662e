"""A second opinion on fire times: walks every minute (or second) of real time and asks what the clock shows.

Slow and plain on purpose. Reads expressions by itself, knows the rules and nothing of how schedulerd searches. Macros
are written out and `H` is worked out from its definition; refusals are beyond it: give it expressions that are legal.
"""

import calendar
import hashlib
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {name.lower(): (number + 1) % 7 for number, name in enumerate(calendar.day_abbr)}
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# what each place is called in the hash of `H`, and the lowest and highest value that `H` alone may take
HASHED = [
    ("second", 0, 59, 59),
    ("minute", 0, 59, 59),
    ("hour", 0, 23, 23),
    ("day of month", 1, 28, 31),
    ("month", 1, 12, 12),
    ("weekday", 0, 6, 7),
]


class Look(NamedTuple):
    """What the clock of a zone shows at one instant."""

    instant: datetime  # UTC
    wall: datetime  # naive
    is_second_pass: bool
    gone: tuple[datetime, ...]  # walls that a jump of at most three hours skipped right before


def enumerate_fires(
    expression: str, timezone: str, after: datetime, until: datetime, name: str = ""
) -> list[datetime]:
    """Every fire time in (after, until], UTC, by looking at each instant between them; `name` is for `H`."""
    fields = written_out(expression, name)
    second, minute, hour = fields[:3]
    seconds, minutes, hours = numbers(second, 0, 59), numbers(minute, 0, 59), numbers(hour, 0, 23)
    day_fields = (fields[3], fields[4], fields[5])

    def shows(wall: datetime) -> bool:
        return (
            wall.minute in minutes
            and wall.hour in hours
            and wall.second in seconds
            and day_matches(wall.date(), *day_fields)
        )

    is_fixed = minute[0] != "*" and hour[0] != "*"
    found = []
    for look in looks(timezone, after.replace(second=0, microsecond=0), until, whole_minutes=seconds == {0}):
        fires = shows(look.wall) and not (is_fixed and look.is_second_pass)
        if is_fixed and look.gone:
            fires = fires or any(shows(wall) for wall in look.gone)
        if fires and look.instant > after:
            found.append(look.instant)
    return found


@lru_cache(maxsize=8)
def looks(timezone: str, start: datetime, until: datetime, *, whole_minutes: bool) -> tuple[Look, ...]:
    """What the clock shows at each minute (or second) of (start, until]."""
    zone = ZoneInfo(timezone)
    step = _step(zone, start, until, whole_minutes=whole_minutes)
    before = start.astimezone(zone).replace(tzinfo=None)
    found = []
    for instant in _walk(start, until, step):
        local = instant.astimezone(zone)
        wall = local.replace(tzinfo=None, fold=0)
        gone: tuple[datetime, ...] = ()
        if timedelta(0) < wall - before - step <= timedelta(hours=3):
            gone = tuple(_walk(before, wall - timedelta(seconds=1), step))
        found.append(Look(instant, wall, local.fold == 1, gone))
        before = wall
    return tuple(found)


def _walk(start: datetime, until: datetime, step: timedelta) -> Iterator[datetime]:
    while start + step <= until:
        start += step
        yield start


def _step(zone: ZoneInfo, after: datetime, until: datetime, *, whole_minutes: bool) -> timedelta:
    """A minute where that misses nothing, else a second: some old offsets have odd seconds."""
    offsets = [moment.astimezone(zone).utcoffset() for moment in (after, until)]
    even = all(offset is not None and offset.total_seconds() % 60 == 0 for offset in offsets)
    return timedelta(minutes=1) if whole_minutes and even else timedelta(seconds=1)


@lru_cache(maxsize=10_000)
def written_out(expression: str, name: str) -> tuple[str, ...]:
    """The six fields, seconds first, with macros replaced and every `H` a number or range."""
    fields = MACROS.get(expression.strip().lower(), expression).split()
    if len(fields) == 5:
        fields.insert(0, "0")
    return tuple(
        ",".join(_without_hash(place, name, *HASHED[at]) for place in field.split(","))
        for at, field in enumerate(fields)
    )


def _without_hash(place: str, name: str, label: str, low: int, alone: int, high: int) -> str:
    """`H` is low + hash mod the number of values; with a step it chooses where in the first step to begin."""
    match = re.fullmatch(r"h(?:\((\d+)-(\d+)\))?(?:/(\d+))?", place.lower())
    if match is None:
        return place
    first, last = (int(match[1]), int(match[2])) if match[1] else (low, alone)
    digest = hashlib.sha256(f"{name}\0{label}".encode()).digest()
    chosen = int.from_bytes(digest[:8], "big")
    if match[3] is None:
        return str(first + chosen % (last - first + 1))
    step = int(match[3])
    start = first + chosen % min(step, last - first + 1)
    return ",".join(str(value) for value in range(start, last + 1, step))


@lru_cache(maxsize=100_000)
def day_matches(day: date, day_of_month: str, month: str, weekday: str) -> bool:
    """Whether the three date fields name `day`."""
    if day.month not in numbers(month, 1, 12, "month"):
        return False
    by_day = any(_is_day(day, place) for place in day_of_month.split(","))
    by_weekday = any(_is_weekday(day, place) for place in weekday.split(","))
    if day_of_month[0] in "*?" or weekday[0] in "*?":
        return by_day and by_weekday
    return by_day or by_weekday


def _is_day(day: date, place: str) -> bool:
    place = place.upper()
    length = calendar.monthrange(day.year, day.month)[1]
    if place.endswith("W"):
        wanted = place[:-1]
        number = length - int(wanted[2:] or 0) if wanted.startswith("L") else int(wanted)
        if not 1 <= number <= length:
            return False
        workdays = [n for n in range(1, length + 1) if date(day.year, day.month, n).weekday() < 5]
        return day.day == min(workdays, key=lambda n: (abs(n - number), -n if number == 1 else n))
    if place.startswith("L"):
        return day.day == length - int(place[2:] or 0)
    return day.day in numbers(place, 1, 31)


def _is_weekday(day: date, place: str) -> bool:
    place = place.lower()
    length = calendar.monthrange(day.year, day.month)[1]
    today = day.isoweekday() % 7
    if "#" in place:
        which, count = place.split("#")
        nth = day.day + 7 > length if count == "l" else (day.day - 1) // 7 + 1 == int(count)
        return today == _number(which, WEEKDAYS) % 7 and nth
    if "l" in place:
        return today == _number(place.replace("l", ""), WEEKDAYS) % 7 and day.day + 7 > length
    return today in {number % 7 for number in numbers(place, 0, 7, "weekday")}


@lru_cache(maxsize=10_000)
def numbers(text: str, low: int, high: int, names: str = "") -> frozenset[int]:
    """The numbers a plain field names; `names` says which names it may use."""
    known = {"month": MONTHS, "weekday": WEEKDAYS}.get(names, {})
    found: set[int] = set()
    for place in text.lower().split(","):
        base, _, step = place.partition("/")
        first, dash, last = base.partition("-")
        if first in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, known)
            end = _number(last, known) if dash else (high if step else start)
        found |= {n for n in range(start, end + 1) if (n - start) % int(step or 1) == 0}
    return frozenset(found)


def _number(text: str, names: dict[str, int]) -> int:
    return names[text] if text in names else int(text)
