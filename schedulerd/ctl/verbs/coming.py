"""next: coming fire times, of a job or (offline) of an expression."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from schedulerd.ctl import names, times
from schedulerd.ctl.client import path_of
from schedulerd.ctl.exits import Exit, Failure
from schedulerd.ctl.session import Session, common, pass_session
from schedulerd.ctl.tables import Column, show_table

_COLUMNS = (Column("LOCAL"), Column("UTC"), Column("IN"), Column("NOTE"))


@click.command("next")
@click.argument("job", required=False)
@click.option("-n", "count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
@click.option("--from", "start", type=times.Instant(), help="From this time on; default now.")
@click.option("--until", type=times.Instant(), help="Up to this time.")
@click.option("--expr", metavar="CRON", help="Of this expression instead of a job; needs no server.")
@click.option(
    "--timezone", default=None, metavar="ZONE", help="The zone that --expr is read in; default UTC."
)
@common
@pass_session
def next_verb(
    session: Session,
    job: str | None,
    count: int,
    start: str | None,
    until: str | None,
    expr: str | None,
    timezone: str | None,
) -> None:
    """Coming fire times, with a note where the clock jumps."""
    if (job is None) == (expr is None):
        raise click.UsageError("one of JOB and --expr is expected")
    if expr is None and timezone is not None:
        raise click.UsageError("--timezone goes with --expr; a job has its own")
    if expr is not None:
        items = _offline(expr, timezone or "UTC", count, start, until)
    else:
        path = path_of("jobs", names.one_job(session.client, job or ""), "next")
        items = session.client.get(path, **{"n": count, "from": start, "until": until})["items"]
    now = session.now()

    def table(found: list[dict[str, Any]]) -> None:
        rows = [
            [
                _local(session, item),
                times.rfc3339(times.read(item["fire_time"])),
                times.ago(item["fire_time"], now),
                item["note"] or "",
            ]
            for item in found
        ]
        show_table(_COLUMNS, rows, is_wide=session.is_wide, empty="it does not fire again")

    session.show_list(items, "fire_time", table)


def _local(session: Session, item: dict[str, Any]) -> str:
    """In the job's own zone, unless another was asked for."""
    if session.zone is not None:
        return times.shown(item["fire_time"], session.zone)
    return f"{times.read(item['local']):%Y-%m-%d %H:%M:%S %z}"


def _offline(
    expr: str, timezone: str, count: int, start: str | None, until: str | None
) -> list[dict[str, Any]]:
    from schedulerd.offline.next_expr import next_expr  # the one door to what needs no server

    after = datetime.now(UTC) if start is None else times.read(start) - timedelta(microseconds=1)
    end = None if until is None else times.read(until)
    try:
        fires = next_expr(expr, after=after, timezone=timezone, until=end, count=count)
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from error
    return [{"fire_time": fire.fire_time, "local": fire.local, "note": fire.note} for fire in fires]
