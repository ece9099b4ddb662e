"""A second opinion on fire times: walks every minute (or second) of real time and asks what the clock shows.

Slow and plain on purpose. Reads expressions by itself, knows the rules and nothing of how schedulerd searches. `H`,
macros and refusals are beyond it: give it expressions that are legal.
"""

import calendar
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {name.lower(): (number + 1) % 7 for number, name in enumerate(calendar.day_abbr)}


def enumerate_fires(expression: str, timezone: str, after: datetime, until: datetime) -> list[datetime]:
    """Every fire time in (after, until], UTC, by looking at each instant between them."""
    fields = expression.split()
    if len(fields) == 5:
        fields.insert(0, "0")
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
    zone = ZoneInfo(timezone)
    step = _step(zone, after, until, whole_minutes=seconds == {0})
    found = []
    start = after.replace(second=0, microsecond=0)
    before = start.astimezone(zone).replace(tzinfo=None)
    for instant in _walk(start, until, step):
        local = instant.astimezone(zone)
        wall = local.replace(tzinfo=None, fold=0)
        skipped = wall - before - step
        fires = shows(wall) and not (is_fixed and local.fold == 1)
        if is_fixed and timedelta(0) < skipped <= timedelta(hours=3):
            fires = fires or any(shows(gone) for gone in _walk(before, wall - timedelta(seconds=1), step))
        if fires and instant > after:
            found.append(instant)
        before = wall
    return found


def _walk(start: datetime, until: datetime, step: timedelta) -> Iterator[datetime]:
    while start + step <= until:
        start += step
        yield start


def _step(zone: ZoneInfo, after: datetime, until: datetime, *, whole_minutes: bool) -> timedelta:
    """A minute where that misses nothing, else a second: some old offsets have odd seconds."""
    offsets = [moment.astimezone(zone).utcoffset() for moment in (after, until)]
    even = all(offset is not None and offset.total_seconds() % 60 == 0 for offset in offsets)
    return timedelta(minutes=1) if whole_minutes and even else timedelta(seconds=1)


@lru_cache(maxsize=100_000)
def day_matches(day: date, day_of_month: str, month: str, weekday: str) -> bool:
    """Whether the three date fields name `day`."""
    if day.month not in numbers(month, 1, 12, MONTHS):
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
    return today in {number % 7 for number in numbers(place, 0, 7, WEEKDAYS)}


def numbers(text: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    """The numbers a plain field names."""
    known = names or {}
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
    return found


def _number(text: str, names: dict[str, int]) -> int:
    return names[text] if text in names else int(text)
