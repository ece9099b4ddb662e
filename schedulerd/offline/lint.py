"""What is legal in a job and yet hardly what its writer meant. Warnings only; `check --strict` counts them."""

import re
from collections.abc import Iterator

from schedulerd.model.job import Cron, Definition

_FIELDS = {  # name -> first and last value, in the order of six fields
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day of month": (1, 31),
    "month": (1, 12),
    "weekday": (0, 6),
}
_STEP = re.compile(r"(\*|\d+)(?:-(\d+))?/(\d+)", re.ASCII)


def warnings(definition: Definition) -> Iterator[str]:
    """Lines `file:line: key: warning: text` about one job."""
    job = definition.job
    for expression in job.trigger.expressions if isinstance(job.trigger, Cron) else ():
        for text in _wide_steps(expression):
            place = definition.sources.get("schedule", definition.origin.text)
            yield f"{place}: schedule: warning: {text}"


def _wide_steps(expression: str) -> Iterator[str]:
    """A step that leaves only the first value of its range (crontab takes it without a word)."""
    fields = expression.split()
    if len(fields) not in (5, 6):
        return
    for (name, (low, high)), field in zip(list(_FIELDS.items())[-len(fields) :], fields, strict=True):
        for step in _STEP.finditer(field):
            first = low if step[1] == "*" else int(step[1])
            last = int(step[2]) if step[2] else high
            if int(step[3]) > last - first:
                yield f'{name} "{step[0]}" means only {first}, its step is wider than {first}-{last}'
