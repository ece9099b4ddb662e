"""`schedulerctl next --expr`: when an expression fires, without a daemon and without a job."""

from datetime import datetime

from schedulerd.core.coming import coming
from schedulerd.core.cron import parse, parse_every
from schedulerd.core.zones import zone
from schedulerd.model.job import Argv, Cron, Every, Job, Trigger
from schedulerd.protocol.api_types import NextFire
from schedulerd.protocol.ids import rfc3339


def next_expr(
    expression: str,
    *,
    after: datetime,
    timezone: str = "UTC",
    until: datetime | None = None,
    count: int = 10,
) -> list[NextFire]:
    """The first `count` fire times later than `after` and not later than `until` (both aware).

    Notes tell what the zone's clock does to a fire time. `@every d` counts from `after`; `H` is the value of a job
    without a name. Raises CronError or UnknownZone (both ValueErrors) with a sentence for people.
    """
    where = zone(timezone)
    period = parse_every(expression)
    if period is None:
        parse(expression)
        trigger: Trigger = Cron(expressions=(expression,))
    else:
        trigger = Every(period=period)
    job = Job(name="", trigger=trigger, work=Argv(argv=("true",)), timezone=where.name)
    return [
        NextFire(fire_time=rfc3339(fire.instant), local=fire.local.isoformat(), note=fire.note)
        for fire in coming(job, after, after, until, count)
    ]
