"""workers and version."""

from typing import Any

import click

from schedulerd.ctl import times
from schedulerd.ctl.exits import Failure
from schedulerd.ctl.session import Session, common, pass_session
from schedulerd.ctl.tables import Column, show_table

_COLUMNS = (
    Column("NAME"),
    Column("STATE"),
    Column("RUNNING", is_number=True),
    Column("SLOTS", is_number=True),
    Column("LABELS"),
    Column("SEEN"),
    Column("ADDRESS", is_wide=True),
    Column("VERSION", is_wide=True),
    Column("ID", is_wide=True),
)


@click.command("workers")
@click.option("-w", "--wide", is_flag=True, help="More columns.")
@common
@pass_session
def workers_verb(session: Session, wide: bool) -> None:
    """Workers: state, what they run, labels."""
    now = session.now()

    def table(items: list[dict[str, Any]]) -> None:
        rows = [
            [
                worker["name"],
                worker["state"],
                str(worker["running"]),
                str(worker["slots"]),
                " ".join(worker["labels"]) or "-",
                times.ago(worker["last_seen"], now) or "-",
                worker["address"],
                worker["version"] or "-",
                worker["id"] or "-",
            ]
            for worker in items
        ]
        show_table(_COLUMNS, rows, is_wide=wide or session.is_wide, empty="no worker was found yet")

    session.show_list(session.client.get("/v1/workers")["items"], "name", table)


@click.command("version")
@common
@pass_session
def version_verb(session: Session) -> None:
    """The versions of schedulerctl and of the server, if one answers."""
    from importlib.metadata import version  # not needed by any other verb

    own = version("schedulerd")
    try:
        server: str | None = session.client.get("/version")["version"]
    except Failure as failure:
        server = None
        if not session.is_quiet:
            failure.show()

    def table(found: dict[str, Any]) -> None:
        click.echo(f"schedulerctl {found['schedulerctl']}")
        click.echo(f"schedulerd   {found['version'] or 'unreachable'}")

    session.show_one({"schedulerctl": own, "version": server}, "version", table)
