"""`schedule`: cron texts -> a trigger; whatever core/cron refuses becomes a fault at its very character."""

from schedulerd.adapters.jobfiles.faults import Fault
from schedulerd.core.cron import CronError, parse, parse_every
from schedulerd.model.job import Cron, Every, Trigger


def read_schedule(name: str, expressions: list[str], faults: list[Fault]) -> Trigger:
    """The trigger of the job called `name` (which chooses what `H` means); `@every 90s` alone is a period."""
    kept: list[str] = []
    period = None
    for index, expression in enumerate(expressions):
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
    return Every(period=period) if period is not None else Cron(expressions=tuple(kept))
