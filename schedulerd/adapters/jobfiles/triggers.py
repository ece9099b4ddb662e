"""When a job fires: cron texts -> a trigger, with a fault at the very character; periods; windows and calendars."""

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from schedulerd.adapters.jobfiles.calendars import Parts, resolve
from schedulerd.adapters.jobfiles.documents import JobDocument
from schedulerd.adapters.jobfiles.faults import Fault
from schedulerd.adapters.jobfiles.instants import read_instant
from schedulerd.core.cron import CronError, parse, parse_every
from schedulerd.model.job import Cron, Every, Trigger


def read_schedule(name: str, expressions: list[str], faults: list[Fault]) -> Trigger:
    """The trigger of the job called `name` (which chooses what `H` means); `@every 90s` alone is a period.

    `@reboot` is no time of the clock and may stand beside expressions.
    """
    kept: list[str] = []
    period = None
    is_at_boot = False
    for index, expression in enumerate(expressions):
        if expression.strip().lower() == "@reboot":
            is_at_boot = True
            continue
        try:
            period = parse_every(expression)
            if period is None:
                parse(expression, name)
        except CronError as error:
            hint = f"; {error.hint}" if error.hint else ""
            text = f"{error.problem}{hint}"
            faults.append(Fault(path=("schedule", index), text=text, index=error.offset))
            continue
        if period is not None and len(expressions) > 1:
            text = f'"{expression}" stands beside other schedules, expected it alone or as every = "..."'
            faults.append(Fault(path=("schedule", index), text=text))
        elif expression not in kept:
            kept.append(expression)
    return (
        Every(period=period) if period is not None else Cron(expressions=tuple(kept), is_at_boot=is_at_boot)
    )


def counted(trigger: Every, document: JobDocument, faults: list[Fault]) -> Every:
    """The period with what it counts from."""
    anchor = None
    if document.anchor is not None:
        anchor = read_instant("anchor", document.anchor, document.timezone or "UTC", faults)
    return structs.replace(trigger, anchor=anchor, is_from_end=document.every_from == "end")


def read_limits(
    document: JobDocument, calendars: Mapping[str, Parts | None], faults: list[Fault]
) -> dict[str, Any]:
    """The window and the calendars, as fields of a job; those that are not given are left out."""
    timezone = document.timezone or "UTC"
    limits: dict[str, Any] = {}
    for key in ("start", "end"):
        value = getattr(document, key)
        instant = None if value is None else read_instant(key, value, timezone, faults)
        if instant is not None:
            limits[key] = instant
    if len(limits) == 2 and limits["end"] < limits["start"]:
        faults.append(Fault(path=("end",), text="lies before start, expected it later", at_key=True))
    for key, name in (("calendar", "calendars"), ("not_calendar", "excluded")):
        value = getattr(document, key)
        found = () if value is None else resolve(key, value, timezone, calendars, faults)
        if found:
            limits[name] = found
    return limits
