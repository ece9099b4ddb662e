"""A cron expression, parsed once -> the wall times it matches, and its fire times in a zone.

What the fields mean together (stars, days, what is fixed, what can never match) is decided here; single
fields are read in `cron_grammar`, days of months in `cron_days`; walls are searched in `cron_walls`, gaps and
folds in `search`. Refusals are CronErrors.
"""

import difflib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from schedulerd.core.cron_days import can_match, day_table
from schedulerd.core.cron_fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, CronError
from schedulerd.core.cron_grammar import read_field
from schedulerd.core.cron_walls import CronTimes, lowest
from schedulerd.core.search import next_instant
from schedulerd.core.zones import to_seconds, zone

__all__ = ["CronError", "CronTimes", "fire_times", "parse", "parse_every"]

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LAST_ANSWER = datetime(9999, 12, 29, tzinfo=UTC)
_LONGEST = 2000  # characters; every second of a minute, listed, is 170
_WORD = re.compile(r"[^ \t\r\n\f\v]+")
_HASH_WORD = re.compile(r"(?<![A-Za-z])[Hh](?![A-Za-z])")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])", re.ASCII)
_UNIT_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def fire_times(expression: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """The first `count` fire times strictly after `after` (aware), as aware datetimes of `timezone`.

    With the default policies: a fixed time in a gap fires at the first instant after it, one in a fold the
    first time. `@every d` counts from `after`; `H` takes the value of a job without a name. Fewer than
    `count` come back when the next lies more than a century ahead. Raises CronError for an expression that is
    refused, UnknownZone (also a ValueError) for a zone that is not there, ValueError for a naive `after`.
    """
    if after.tzinfo is None or after.utcoffset() is None:
        raise ValueError(f"after={after.isoformat()} has no zone; an aware datetime is expected")
    where = zone(timezone)
    period = parse_every(expression)
    if period is not None:
        start = after.astimezone(UTC)
        reach = min(count, (_LAST_ANSWER - start) // period)
        return [(start + k * period).astimezone(where.info) for k in range(1, reach + 1)]
    times = parse(expression)
    at = to_seconds(after)
    found: list[datetime] = []
    while len(found) < count:
        following = next_instant(times, where, at)
        if following is None:
            break
        at = following[0]
        found.append(where.aware(at))
    return found


def parse(expression: str, name: str = "") -> CronTimes:
    """The compact value of `expression`; `name` is the job's and matters only where an `H` stands.

    Equal texts give the same value, parsed once. Raises CronError.
    """
    return _parse(expression, name if has_hash(expression) else "")


def parse_every(expression: str) -> timedelta | None:
    """The period of `@every 90s`; None when the text is anything else. Raises CronError for a bad period."""
    if "@" not in expression:
        return None
    words = list(_WORD.finditer(expression))
    if not words or words[0][0].lower() != "@every":
        return None
    if len(words) != 2:
        at = words[2].start() if len(words) > 2 else words[0].end()
        raise CronError(
            "@every takes one duration", expression=expression, offset=at, hint='like "@every 1h30m"'
        )
    text, at = words[1][0], words[1].start()
    pieces = list(_DURATION.finditer(text.lower()))
    if not pieces or "".join(piece[0] for piece in pieces) != text.lower() or len(text) > 40:
        problem = f'"{text}" is no duration, expected numbers with the units w, d, h, m, s'
        raise CronError(problem, expression=expression, offset=at, hint='like "90s" or "1h30m"')
    period_ms = sum(float(piece[1]) * _UNIT_MS[piece[2]] for piece in pieces)
    if not 1000 <= period_ms <= 100 * 366 * 86_400_000:
        problem = f'the period "{text}" is not between one second and a hundred years'
        raise CronError(problem, expression=expression, offset=at, hint='like "90s" or "1h30m"')
    return timedelta(milliseconds=period_ms)


@lru_cache(maxsize=1 << 17)
def has_hash(expression: str) -> bool:
    """Whether an `H` stands in the text, so that its fire times depend on the job's name."""
    return _HASH_WORD.search(expression) is not None


@lru_cache(maxsize=1 << 17)
def _parse(expression: str, name: str) -> CronTimes:
    if len(expression) > _LONGEST:
        problem = f"an expression of {len(expression)} characters, expected at most {_LONGEST}"
        raise CronError(problem, hint="split it into a list of expressions")
    text = _without_macro(expression)
    words = list(_WORD.finditer(text))
    _check_count(expression, words)
    kinds = [MINUTE, HOUR, DAY, MONTH, WEEKDAY]
    if len(words) == 6:
        kinds.insert(0, SECOND)
    read = [
        read_field(kind, word[0], word.start(), expression, name)
        for kind, word in zip(kinds, words, strict=True)
    ]
    minutes, hours, days, months, weekdays = read[-5:]
    seconds = read[0].mask if len(read) == 6 else 1
    is_either = not (days.is_star or weekdays.is_star)
    table = day_table(days.mask, days.special, weekdays.mask, weekdays.special, is_either)
    if not can_match(table, months.mask):
        raise CronError(
            f'"{words[-3][0]} {words[-2][0]} {words[-1][0]}" is a day that never comes',
            expression=expression,
            offset=words[-3].start(),
            hint="no month named here has such a day",
        )
    first_second = lowest(seconds)
    first_minute = lowest(minutes.mask) * 60 + first_second
    return CronTimes(
        expression=expression,
        seconds=seconds,
        minutes=minutes.mask,
        hours=hours.mask,
        months=months.mask,
        days=table,
        is_fixed=not (minutes.is_star or hours.is_star),
        first_second=first_second,
        first_minute=first_minute,
        first_time=lowest(hours.mask) * 3600 + first_minute,
    )


def _without_macro(expression: str) -> str:
    """The five fields of a macro; any other text as it is. Raises CronError for a macro that is none."""
    word = expression.strip(" \t\r\n\f\v")
    if not word.startswith("@"):
        return expression
    meaning = MACROS.get(word.lower())
    if meaning is not None:
        return meaning
    at = expression.index("@")
    named = word.split()[0].lower()
    if named == "@reboot":
        raise CronError('"@reboot" names a boot, not a time of the clock', expression=expression, offset=at)
    if named == "@every":
        raise CronError(
            '"@every" is a period, not fields', expression=expression, offset=at, hint='write every = "..."'
        )
    near = difflib.get_close_matches(named, MACROS, n=1)
    hint = f'write "{near[0]}"' if near else "the macros are " + ", ".join(MACROS)
    raise CronError(f'"{word}" is not a macro', expression=expression, offset=at, hint=hint)


def _check_count(expression: str, words: list[re.Match[str]]) -> None:
    """Refuses whatever has not five or six fields. Raises CronError."""
    if words and "=" in words[0][0] and words[0][0].upper().startswith(("TZ=", "CRON_TZ=")):
        found = words[0][0].split("=", 1)[1]
        raise CronError(
            "a time zone inside the expression",
            expression=expression,
            offset=words[0].start(),
            hint=f'set timezone = "{found}" beside it',
        )
    if len(words) in (5, 6):
        return
    if not words:
        raise CronError(
            "an empty expression, expected 5 fields, or 6 with seconds first", hint='like "0 3 * * *"'
        )
    at = words[6].start() if len(words) > 6 else words[-1].end()
    hint = "there is no year field" if len(words) == 7 else "minute hour day-of-month month weekday"
    problem = f"{len(words)} field{'s' if len(words) > 1 else ''}, expected 5, or 6 with seconds first"
    raise CronError(problem, expression=expression, offset=at, hint=hint)
