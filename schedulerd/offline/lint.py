"""What is legal in a job and yet hardly what its writer meant. Warnings only; `check --strict` counts them."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from schedulerd.core.cron import MACROS
from schedulerd.model.job import Cron, Definition
from schedulerd.offline.lint_clock import clock_warnings

_RANGES: Mapping[str, tuple[int, int]] = {  # in the order of six fields
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day of month": (1, 31),
    "month": (1, 12),
    "weekday": (0, 6),
}
_STEP = re.compile(r"(\*|\?|\d+)(?:-(\d+))?/(\d+)", re.ASCII)
_WHOLE = frozenset("*?")


def warnings(definition: Definition, now: datetime) -> Iterator[str]:
    """Lines `file:line: key: warning: text` about one job; clock changes are looked for in two years from `now`."""
    job = definition.job
    place = definition.sources.get("schedule", definition.origin.text)
    decided = definition.sources.keys() & {"dst_gap", "dst_fold"}  # their writer has thought of it
    for expression in job.trigger.expressions if isinstance(job.trigger, Cron) else ():
        of_clock = clock_warnings(expression, job.name, job.timezone, now)
        for text in (*_of_text(expression), *(text for key, text in of_clock if key not in decided)):
            yield f"{place}: schedule: warning: {text}"


@lru_cache(maxsize=1 << 14)
def _of_text(expression: str) -> tuple[str, ...]:
    """What the text alone tells."""
    if expression.strip().lower() in MACROS:
        return ()
    fields = expression.split()
    if len(fields) not in (5, 6):
        return ()
    named = dict(zip(list(_RANGES)[-len(fields) :], fields, strict=True))
    found = [text for name, field in named.items() for text in _steps(name, field)]
    found += _both_days(named["day of month"], named["weekday"])
    return tuple(found)


def _steps(name: str, field: str) -> Iterator[str]:
    """Steps that leave only the first value of their range, or that do not come out even at its end."""
    low, high = _RANGES[name]
    for step in _STEP.finditer(field):
        width = int(step[3])
        first = low if step[1] in _WHOLE else int(step[1])
        last = int(step[2]) if step[2] else high
        if width > last - first:
            if width > 1 or first != last:
                yield f'{name} "{step[0]}" means only {first}, its step is wider than {first}-{last}'
        elif step[1] in _WHOLE and (high - low + 1) % width:
            newest = high - (high - low) % width
            rest = (
                " of each month, whatever day came before"
                if name == "day of month"
                else f", {high - newest + 1} after {newest} instead of {width}"
            )
            yield f'{name} "{step[0]}" does not come out even: it starts again at {low}{rest}'


def _both_days(days: str, weekdays: str) -> Iterator[str]:
    """Day of month and weekday are both given: people expect one rule and get the other."""
    if days in _WHOLE or weekdays in _WHOLE:
        return
    both = f'day of month "{days}" and weekday "{weekdays}" are both given'
    star = next(
        (name for name, field in (("day of month", days), ("weekday", weekdays)) if field[0] in _WHOLE), None
    )
    if star is None:
        yield f"{both}: it fires on days that match either of them"
    else:
        yield f"{both}: it fires only on days that match both of them, since the {star} begins with a star"
