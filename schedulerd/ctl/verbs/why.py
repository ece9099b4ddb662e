"""why: the account of one fire time or run."""

from typing import Any

import click

from schedulerd.ctl import names, times
from schedulerd.ctl.exits import printable
from schedulerd.ctl.session import Session, common, pass_session
from schedulerd.ctl.tables import Column, plain, state_word

_COLUMNS = (Column("TIME"), Column("SOURCE"), Column("WHAT"))


@click.command("why")
@click.argument("what", metavar="JOB|RUN")
@click.argument("time", required=False, type=times.Instant())
@common
@pass_session
def why_verb(session: Session, what: str, time: str | None) -> None:
    """Why a fire time of JOB (default the newest) or RUN went as it did."""
    if "@" in what or "/" in what:
        if time is not None:
            raise click.UsageError("TIME goes with JOB; a run has its own")
        found = session.client.get("/v1/why", run=names.run_id(session.client, what))
    else:
        found = session.client.get("/v1/why", job=names.one_job(session.client, what), time=time)
    session.show_one(found, "verdict", lambda item: _show(session, item))


def _show(session: Session, why: dict[str, Any]) -> None:
    about = why["run_id"] or f"{why['job']} {times.shown(why['fire_time'], session.zone)}"
    words = why["verdict"].replace("_", " ")
    click.echo(f"{printable(about)}  {state_word(words)}: {printable(why['reason']).replace('_', ' ')}")
    click.echo(f"  {printable(why['text'])}")
    if not why["timeline"]:
        return
    click.echo("")
    shown = times.exact if why["run_id"] else times.shown  # what a run did has its order within a second
    rows = [
        [shown(entry["time"], session.zone), printable(entry["source"]), printable(entry["text"])]
        for entry in why["timeline"]
    ]
    for line in plain(_COLUMNS, rows).splitlines():
        click.echo(f"  {line}")
