"""Whether a job's calendars let a fire time run. Knows days and spans; where they were read from is others' affair."""

import bisect
from datetime import date, datetime

from schedulerd.core.zones import DAY, from_seconds, instant_of, to_seconds, zone
from schedulerd.model.job import Calendar, Job

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_STEPS = 20_000  # of weekends and ranges that one search for an open day gets through


def refusal(job: Job, instant: datetime) -> str | None:
    """Which calendar excludes `instant` (aware), in a few words; None when it may run."""
    if not job.calendars and not job.excluded:
        return None
    day, second = instant.astimezone(zone(job.timezone).info).date().toordinal(), to_seconds(instant)
    for calendar in job.excluded:
        if holds(calendar, day, second):
            return f"in not_calendar{_named(calendar)}"
    if job.calendars and not any(holds(calendar, day, second) for calendar in job.calendars):
        return f"not in calendar{_named(*job.calendars)}"
    return None


def holds(calendar: Calendar, day: int, second: int) -> bool:
    """Whether the day (an ordinal) or the instant (seconds since 1970) is in the calendar."""
    return (
        (bool(calendar.weekdays) and (day - 1) % 7 in calendar.weekdays)
        or _within(calendar.days, day, day)
        or _within(calendar.spans, second, second + 1)
    )


def opens_after(job: Job, instant: datetime) -> datetime | None:
    """An instant after `instant`, which is excluded, such that all between them are excluded as well.

    Not always the latest such one: whoever asks again and again gets through years of excluded time in few steps.
    None when nothing is open any more.
    """
    where = zone(job.timezone)
    second = to_seconds(instant)
    edges = [  # inside a day, spans alone change the answer
        edge for calendar in (*job.calendars, *job.excluded) for edge in _edges_after(calendar.spans, second)
    ]
    near = from_seconds(min(edges)) if edges else None
    day: int | None = instant.astimezone(where.info).date().toordinal() + 1
    for _ in range(_STEPS):
        if job.calendars:
            day = min(
                filter(None, (_day_from(calendar, day or 0) for calendar in job.calendars)), default=None
            )
        if day is None or day >= date.max.toordinal() - 1:
            return near
        past = max((_day_past(calendar, day) for calendar in job.excluded), default=day)
        if past == day:
            start = instant_of(datetime.combine(date.fromordinal(day), datetime.min.time()), where)
            return start if near is None else min(near, start)
        day = past
    return near


def _day_from(calendar: Calendar, day: int) -> int | None:
    """A day at or before the first one from `day` on that the calendar holds any part of; None when there is none."""
    place = bisect.bisect_left(calendar.days, day, key=_end_of)
    listed = [max(day, calendar.days[place][0])] if place < len(calendar.days) else []
    weekly = [day + (weekday - (day - 1)) % 7 for weekday in calendar.weekdays]
    near = bisect.bisect_left(
        calendar.spans, (day - _EPOCH_DAY - 1) * DAY, key=_end_of
    )  # a day for all zones
    touched = (
        [max(day, calendar.spans[near][0] // DAY + _EPOCH_DAY - 1)] if near < len(calendar.spans) else []
    )
    return min(listed + weekly + touched, default=None)


def _day_past(calendar: Calendar, day: int) -> int:
    """`day` if it is not in the calendar, else a later day up to which all are."""
    place = bisect.bisect_left(calendar.days, day, key=_end_of)
    if place < len(calendar.days) and calendar.days[place][0] <= day:
        return calendar.days[place][1] + 1
    return day + 1 if (day - 1) % 7 in calendar.weekdays else day


def _within(ranges: tuple[tuple[int, int], ...], first: int, last: int) -> bool:
    """Whether one of the ascending ranges holds `first` and reaches to `last`."""
    place = bisect.bisect_right(ranges, first, key=_start_of) - 1
    return place >= 0 and ranges[place][1] >= last


def _edges_after(ranges: tuple[tuple[int, int], ...], second: int) -> tuple[int, ...]:
    """The next start and the next end after `second`."""
    starts = bisect.bisect_right(ranges, second, key=_start_of)
    ends = bisect.bisect_right(ranges, second, key=_end_of)
    return tuple(ranges[place][part] for place, part in ((starts, 0), (ends, 1)) if place < len(ranges))


def _start_of(span: tuple[int, int]) -> int:
    return span[0]


def _end_of(span: tuple[int, int]) -> int:
    return span[1]


def _named(*calendars: Calendar) -> str:
    names = ", ".join(calendar.name for calendar in calendars if calendar.name)
    return f" {names}" if names else ""
