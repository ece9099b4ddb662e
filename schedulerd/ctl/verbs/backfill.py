"""backfill: runs for fire times that passed without one."""

from typing import Any

import click

from schedulerd.ctl import names, times
from schedulerd.ctl.client import path_of
from schedulerd.ctl.session import Session, common, pass_session
from schedulerd.ctl.tables import Column, show_table

_COLUMNS = (Column("FIRE TIME"), Column("RUN"), Column("WAS"))


@click.command("backfill")
@click.argument("job")
@click.option("--from", "start", type=times.Instant(), help="From this time on: a time, or a duration ago.")
@click.option("--to", "end", type=times.Instant(), help="Up to this time; nothing beyond now.")
@click.option(
    "--max-parallel",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How many of its runs may go at once.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be run.")
@click.option("--cancel", is_flag=True, help="Instead, end all backfill runs of the job that are not final.")
@common
@pass_session
def backfill_verb(
    session: Session,
    job: str,
    start: str | None,
    end: str | None,
    max_parallel: int,
    dry_run: bool,
    cancel: bool,
) -> None:
    """Run the passed fire times of an interval that have no run."""
    if cancel == (start is not None or end is not None or dry_run):
        raise click.UsageError("either --from and --to, or --cancel is expected")
    if not cancel and (start is None or end is None):
        raise click.UsageError("both --from and --to are expected")
    path = path_of("jobs", names.one_job(session.client, job), "backfill")
    if cancel:
        ended = session.client.request("DELETE", path).json()
        session.show_one(ended, "job", lambda found: session.say(_cancelled(found)))
        return
    body = {"from": start, "to": end, "max_parallel": max_parallel, "dry_run": dry_run}
    session.show_one(session.client.post(path, body), "job", lambda found: _show(session, found))


def _show(session: Session, answer: dict[str, Any]) -> None:
    runs, existing = answer["runs"], answer["existing"]
    if answer["dry_run"] and runs:
        rows = [
            [times.shown(run["fire_time"], session.zone), run["run_id"], run["was"] or "no row"]
            for run in runs
        ]
        show_table(_COLUMNS, rows, is_wide=session.is_wide, empty="")
    text = f"nothing to do for {answer['job']}: no fire time of the interval is without a run"
    if runs:
        first, last = (times.shown(run["fire_time"], session.zone) for run in (runs[0], runs[-1]))
        span = first if len(runs) == 1 else f"{first} to {last}"
        would = "would make" if answer["dry_run"] else "making"
        text = f"{would} {_count(len(runs))} of {answer['job']}, {span}, {answer['max_parallel']} at a time"
    if existing:
        text += f"; {existing:,} fire time{'' if existing == 1 else 's'} ran already"
    session.say(text)


def _cancelled(answer: dict[str, Any]) -> str:
    if not answer["cancelled"]:
        return f"{answer['job']} has no backfill runs left"
    return f"cancelling {_count(len(answer['cancelled']))} of {answer['job']}"


def _count(number: int) -> str:
    return f"{number:,} run" if number == 1 else f"{number:,} runs"
