"""check and reload: the job table as a whole."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from schedulerd.ctl.exits import printable
from schedulerd.ctl.session import Session, common, pass_session


@click.command("check")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option("--strict", is_flag=True, help="Warnings count as faults.")
@common
@pass_session
def check_verb(session: Session, paths: tuple[Path, ...], strict: bool) -> None:
    """Check job files, offline; every fault as file:line:col. Without a PATH: jobs.d here."""
    from schedulerd.offline.check import check_paths  # the one door to what needs no server

    text = io.StringIO()
    code = check_paths(paths or (Path("jobs.d"),), text, strict=strict)
    *lines, summary = text.getvalue().splitlines()
    if session.output in ("json", "jsonl"):
        click.echo(json.dumps({"accepted": code == 0, "lines": lines, "summary": summary}))
    else:
        for line in lines:
            click.echo(printable(line))
        session.say(summary)
    sys.exit(code)


@click.command("reload")
@common
@pass_session
def reload_verb(session: Session) -> None:
    """Read the jobs directory anew; with a fault the table in force stays."""
    answer = session.client.post("/v1/reload")

    def table(found: dict[str, Any]) -> None:
        for word in ("added", "changed", "removed"):
            for name in found[word]:
                session.say(f"{word} {printable(name)}")
        session.say(f"{found['unchanged']} unchanged")

    session.show_one(answer, "unchanged", table)
