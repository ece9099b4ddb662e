"""An iCalendar file -> the days and times of its events. The one place that knows icalendar and dateutil.

All-day events are days, others stretches of time. Recurrences are written out up to a fixed date, so that the same file
gives the same calendar whenever it is read.
"""

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

import icalendar
from dateutil.rrule import rrulestr

HORIZON = 2050  # year from which on no occurrence of a recurring event is known
MOST = 20_000  # occurrences of one event, and ranges of one calendar

Days = list[tuple[date, date]]  # first and last, both included
Spans = list[tuple[datetime, datetime]]  # the end excluded; aware, or naive in the zone of whoever asks

_UNTIL = re.compile(r"UNTIL=(\d{8})(?:T(\d{6})(Z?))?")
_ENDLESS = re.compile(r"FREQ=(?:SECONDLY|MINUTELY|HOURLY)|INTERVAL=0+(?:;|$)")


def read_events(content: bytes) -> tuple[Days, Spans]:
    """What the events of the file cover. Raises ValueError with a sentence for what cannot be understood."""
    try:
        events: list[Any] = icalendar.Calendar.from_ical(content).walk("VEVENT")
        replaced = {_name(event, event["RECURRENCE-ID"].dt) for event in events if "RECURRENCE-ID" in event}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"is no iCalendar file ({_brief(error)})") from error
    days: Days = []
    spans: Spans = []
    for event in events:
        if event.get("STATUS") == "CANCELLED":
            continue
        try:
            for begin, end in _occurrences(event):
                if "RECURRENCE-ID" not in event and _name(event, begin) in replaced:
                    continue
                if isinstance(begin, datetime):
                    spans.append((begin, end))
                else:
                    days.append((begin, max(begin, end - timedelta(days=1))))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            named = str(event.get("SUMMARY", event.get("UID", "")))[:60]
            raise ValueError(f'holds the event "{named}" that is not understood ({_brief(error)})') from error
    return days, spans


def _name(event: Any, begin: date | datetime) -> tuple[str, date | datetime]:
    """What a later event that moves or cancels this occurrence calls it."""
    return str(event.get("UID")), begin


def _occurrences(event: Any) -> Iterator[tuple[Any, Any]]:
    """(begin, end) of each time the event takes place: dates, or datetimes with or without a zone."""
    begin = _start(event)
    length = _length(event, begin)
    if "RECURRENCE-ID" in event or ("RRULE" not in event and "RDATE" not in event):
        yield begin, begin + length
        return
    excluded = set(_dates(event, "EXDATE"))
    walls = dict.fromkeys(itertools.chain([begin], _by_rule(event, begin), _dates(event, "RDATE")))
    for wall in itertools.islice((wall for wall in walls if wall not in excluded), MOST + 1):
        yield wall, wall + length


def _by_rule(event: Any, begin: Any) -> Iterator[Any]:
    rules = event.get("RRULE", [])
    zone: tzinfo | None = getattr(begin, "tzinfo", None)
    is_day = not isinstance(begin, datetime)
    first = datetime.combine(begin, time()) if is_day else begin.replace(tzinfo=None)
    for rule in rules if isinstance(rules, list) else [rules]:
        text = rule.to_ical().decode()
        if _ENDLESS.search(text):
            raise ValueError(f"its rule {text} is finer than days")
        text = _UNTIL.sub(lambda found: _local_until(found, zone), text)
        for wall in itertools.islice(rrulestr(text, dtstart=first), MOST + 1):
            if wall.year >= HORIZON:
                break
            yield wall.date() if is_day else wall.replace(tzinfo=zone)


def _local_until(found: re.Match[str], zone: tzinfo | None) -> str:
    """The end of a rule as wall time of the event's zone, since the rule is followed on that clock."""
    if found[2] is None:
        return f"UNTIL={found[1]}T235959"
    until = datetime.fromisoformat(f"{found[1]}T{found[2]}")
    if found[3] and zone is not None:
        until = until.replace(tzinfo=UTC).astimezone(zone)
    return f"UNTIL={until:%Y%m%dT%H%M%S}"


def _start(event: Any) -> Any:
    if "DTSTART" not in event:
        raise ValueError("an event has no DTSTART")
    return event["DTSTART"].dt


def _length(event: Any, begin: Any) -> timedelta:
    """How long the event takes; a day, or nothing, when it does not tell."""
    if "DTEND" in event:
        length: timedelta = event["DTEND"].dt - begin
    elif "DURATION" in event:
        length = event["DURATION"].dt
    else:
        length = timedelta() if isinstance(begin, datetime) else timedelta(days=1)
    if length < timedelta():
        raise ValueError("its end lies before its start")
    return length


def _dates(event: Any, key: str) -> Iterator[Any]:
    found = event.get(key, [])
    for dates in found if isinstance(found, list) else [found]:
        for value in dates.dts:
            yield value.dt[0] if isinstance(value.dt, tuple) else value.dt


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 100 else f"{text[:97]}..."
