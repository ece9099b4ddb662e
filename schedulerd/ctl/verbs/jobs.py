"""list and show: jobs."""

import shlex
from datetime import datetime
from typing import Any

import click

from schedulerd.ctl import names, times
from schedulerd.ctl.client import path_of
from schedulerd.ctl.exits import printable, printable_line
from schedulerd.ctl.session import Session, common, pass_session
from schedulerd.ctl.tables import Column, plain, show_table

COLUMNS = (
    Column("NAME"),
    Column("STATE"),
    Column("SCHEDULE"),
    Column("NEXT"),
    Column("LAST"),
    Column("TOOK", is_number=True),
    Column("WHERE"),
    Column("ZONE", is_wide=True),
    Column("LABELS", is_wide=True),
    Column("TAGS", is_wide=True),
    Column("DESCRIPTION", is_wide=True),
)


@click.command("list")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--paused", is_flag=True, help="Only paused jobs.")
@click.option("--failing", is_flag=True, help="Only jobs whose last run failed.")
@click.option("--tag", multiple=True, metavar="TAG", help="Only jobs with one of these tags.")
@click.option("-w", "--wide", is_flag=True, help="More columns.")
@common
@pass_session
def list_verb(
    session: Session, jobs: tuple[str, ...], paused: bool, failing: bool, tag: tuple[str, ...], wide: bool
) -> None:
    """Jobs: state, schedule, next and last run."""
    if jobs:
        found = [
            job
            for job in names.jobs(session.client, jobs)
            if (not paused or job["state"] == "paused")
            and (not failing or (job["last_run"] or {}).get("state") == "failed")
            and (not tag or set(tag) & set(job["tags"]))
        ]
    else:
        found = list(
            session.client.items(
                "/v1/jobs", paused=True if paused else None, failing=True if failing else None, tag=list(tag)
            )
        )
    now = session.now()

    def table(items: list[dict[str, Any]]) -> None:
        rows = [job_row(session, job, now) for job in items]
        empty = "no job fits" if jobs or paused or failing or tag else "there are no jobs"
        show_table(COLUMNS, rows, is_wide=wide or session.is_wide, empty=empty)

    session.show_list(found, "name", table)


def job_row(session: Session, job: dict[str, Any], now: datetime) -> list[str]:
    """One job as the cells of COLUMNS."""
    last = job["last_run"]
    return [
        job["name"],
        job["state"],
        job["schedule"],
        _next(session, job, now),
        f"{last['state']} {times.ago(last['finished_at'] or last['fire_time'], now)}" if last else "-",
        times.between(last["started_at"], last["finished_at"]) if last else "-",
        job["origin"],
        job["timezone"],
        " ".join(job["labels"]) or "-",
        " ".join(job["tags"]) or "-",
        job["description"] or "-",
    ]


def _next(session: Session, job: dict[str, Any], now: datetime) -> str:
    if job["next_fire_time"] is None:
        until = (job["paused"] or {}).get("until")
        return f"paused until {times.shown(until, session.zone)}" if until else "-"
    return f"{times.shown(job['next_fire_time'], session.zone)} ({times.ago(job['next_fire_time'], now)})"


@click.command("show")
@click.argument("job")
@click.option("--effective", is_flag=True, help="Every key with its value and where that came from.")
@click.option("--toml", is_flag=True, help="As a job file would have it.")
@common
@pass_session
def show_verb(session: Session, job: str, effective: bool, toml: bool) -> None:
    """One job and its definition."""
    path = path_of("jobs", names.one_job(session.client, job))
    if toml:
        text = session.client.request("GET", path, headers={"Accept": "application/toml"}).body.decode()
        click.echo("\n".join(printable_line(line) for line in text.split("\n")), nl=False)
        return

    def table(found: dict[str, Any]) -> None:
        values = found["effective"] if effective else found["definition"]
        rows = [[key, _value(key, value), found["source"].get(key, "")] for key, value in values.items()]
        click.echo(f"{found['name']}  {found['state']}  from {found['origin']}  version {found['version']}")
        columns = (
            (Column("KEY"), Column("VALUE"), Column("FROM"))
            if effective
            else (Column("KEY"), Column("VALUE"))
        )
        click.echo(
            plain(columns, [[printable(cell) for cell in row[: len(columns)]] for row in rows]), nl=False
        )

    session.show_one(session.client.get(path), "name", table)


def _value(key: str, value: object) -> str:
    """A value of a definition on one line; what is run, as a shell would be given it."""
    if isinstance(value, list):
        words = [_value(key, one) for one in value]
        return shlex.join(words) if key in ("argv", "shell") else ", ".join(words) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{name}={_value(name, inner)}" for name, inner in value.items()) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
