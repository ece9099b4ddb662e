"""events: what happened, and with -f what happens."""

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from schedulerd.ctl import names, times
from schedulerd.ctl.exits import Exit, Failure, printable
from schedulerd.ctl.session import Session, common, pass_session
from schedulerd.ctl.tables import Column, show_table

_SHOWN = 50
_AGAIN = 1.0  # seconds between two tries to follow on
_PATIENCE = 60.0  # seconds for which a follower waits for a server that is gone, or between two leaders

_COLUMNS = (
    Column("TIME"),
    Column("TYPE"),
    Column("ABOUT"),
    Column("WORKER"),
    Column("WHAT"),
    Column("EPOCH", is_wide=True, is_number=True),
    Column("SEQ", is_wide=True, is_number=True),
)


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option(
    "-n", "count", type=click.IntRange(0), default=_SHOWN, show_default=True, help="The newest so many."
)
@click.option("--job", help="Only about this job and its runs.")
@click.option("--run", "word", metavar="RUN", help="Only about this run.")
@click.option("--type", "types", multiple=True, help="Only of this type; may be given several times.")
@common
@pass_session
def events_verb(
    session: Session, follow: bool, count: int, job: str | None, word: str | None, types: tuple[str, ...]
) -> None:
    """What happened: takeovers, workers lost and found, losses, retries, late results, orders of people ..."""
    query: dict[str, Any] = {"job": None if job is None else names.one_job(session.client, job)}
    query |= {"run": None if word is None else _run_id(session, word), "type": list(types) or None}
    newest = session.client.get("/v1/events", limit=1)["items"] if follow else []
    items = list(session.client.items("/v1/events", limit=count, **query))[::-1]
    if not follow:
        session.show_list(items, "seq", lambda rows: _table(session, rows))
        return
    for item in items:
        _show(session, item)
    last = max((item["seq"] for item in [*items, *newest]), default=0)
    for item in _follow(session, query, last):
        _show(session, item)


def _run_id(session: Session, word: str) -> str:
    """The whole id of a run: the server compares it letter by letter."""
    return str(session.client.get(f"/v1/runs/{names.run_id(session.client, word)}")["id"])


def _follow(session: Session, query: dict[str, Any], last: int) -> Iterator[dict[str, Any]]:
    """What comes after `last`, over a server that restarts. Raises Failure when it stays away."""
    gone_since: float | None = None
    while True:
        try:
            for line in session.client.stream(
                "/v1/events", query=query, headers={"Last-Event-ID": str(last)}
            ):
                gone_since = None
                if line.startswith("data: "):
                    item = json.loads(line.removeprefix("data: "))
                    last = item["seq"]
                    yield item
        except Failure as failure:
            if failure.code is not Exit.UNREACHABLE:
                raise
            gone_since = gone_since or time.monotonic()
            if time.monotonic() - gone_since >= _PATIENCE:
                raise
        time.sleep(_AGAIN)


def _show(session: Session, item: dict[str, Any]) -> None:
    if session.output in ("json", "jsonl"):
        click.echo(json.dumps(item, separators=(",", ":")))
    elif session.output == "name":
        click.echo(str(item["seq"]))
    else:
        cells = [printable(cell) for cell in _row(session, item)[:5]]
        click.echo("  ".join(cell for cell in cells if cell != "-"))


def _table(session: Session, items: list[dict[str, Any]]) -> None:
    rows = [_row(session, item) for item in items]
    show_table(_COLUMNS, rows, is_wide=session.is_wide, empty="no such event")


def _row(session: Session, item: dict[str, Any]) -> list[str]:
    return [
        times.exact(item["time"], session.zone),
        item["type"],
        item["attempt"] or item["run"] or item["job"] or "-",
        item["worker"] or "-",
        item["detail"] or "-",
        "-" if item["epoch"] is None else str(item["epoch"]),
        str(item["seq"]),
    ]
