"""Values -> the words and numbers that the API and the pages show."""

from datetime import UTC, datetime, timedelta
from typing import assert_never

from schedulerd.adapters.jobfiles.durations import format_duration
from schedulerd.errors import CommandError
from schedulerd.model.job import At, Cron, Every, Manual, Trigger
from schedulerd.protocol import ids
from schedulerd.protocol.ids import rfc3339

LONGEST_PAUSE = timedelta(days=36500)


def schedule_text(trigger: Trigger) -> str:
    """`0 2 * * *`, `every 5m`, `at 2026-12-05T02:00:00Z`, `manual`; several cron texts with ` | ` between them."""
    match trigger:
        case Cron(expressions=expressions, is_at_boot=is_at_boot):
            return " | ".join([*(["@reboot"] if is_at_boot else []), *expressions])
        case Every(period=period, is_from_end=is_from_end):
            return f"every {format_duration(period)}{' after the last end' if is_from_end else ''}"
        case At(instants=instants):
            more = f" and {len(instants) - 1} more" if len(instants) > 1 else ""
            return f"at {rfc3339(instants[0])}{more}"
        case Manual():
            return "manual"
        case _:
            assert_never(trigger)


def time_text(instant: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return None if instant is None else rfc3339(instant)


def rounded(length: timedelta) -> str:
    """A stretch of time to the second: `3m20s`."""
    return format_duration(timedelta(seconds=round(length.total_seconds())))


def read_time(text: str, name: str) -> datetime:
    """The instant in RFC 3339 text with an offset. Raises CommandError invalid, naming the parameter."""
    try:
        instant = ids.read_time(text)
    except ValueError as error:
        raise CommandError(
            "invalid", f'{name}: "{text}" is not a time; expected 2026-11-23T02:00:00Z'
        ) from error
    if instant.tzinfo is None:
        raise CommandError("invalid", f'{name}: "{text}" has no zone; expected 2026-11-23T02:00:00Z')
    if not 1900 <= instant.year <= 2200:
        raise CommandError("invalid", f'{name}: "{text}" lies outside the years 1900 to 2200')
    return instant.astimezone(UTC)


def pause_end(now: datetime, for_seconds: float | None, until: str | None) -> datetime | None:
    """When a pause ends; None = when somebody resumes it. Raises CommandError invalid."""
    if for_seconds is not None and until is not None:
        raise CommandError("invalid", "for_seconds and until: both were given; expected one of them")
    if for_seconds is not None:
        if not 0 < for_seconds <= LONGEST_PAUSE.total_seconds():
            raise CommandError(
                "invalid", f"for_seconds: {for_seconds:g} is not above 0 and at most 100 years"
            )
        return now + timedelta(seconds=for_seconds)
    if until is None:
        return None
    end = read_time(until, "until")
    if end <= now:
        raise CommandError("invalid", f'until: "{until}" is past')
    return end
