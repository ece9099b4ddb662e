"""add: jobs into the table through the API, from a TOML file or from options."""

from pathlib import Path
from typing import Any

import click

from schedulerd.ctl import names
from schedulerd.ctl.client import path_of
from schedulerd.ctl.exits import Exit, Failure
from schedulerd.ctl.session import Session, Tally, common
from schedulerd.ctl.times import shown


@click.command("add", context_settings={"ignore_unknown_options": False})
@click.argument("what", metavar="FILE.toml|NAME")
@click.argument("argv", nargs=-1, metavar="[-- PROGRAM [ARG]...]")
@click.option(
    "--schedule", multiple=True, metavar="CRON", help="Fire by this expression; several are one schedule."
)
@click.option("--every", metavar="DURATION", help="Fire once every so long: 90s, 1h30m.")
@click.option("--at", multiple=True, metavar="TIME", help="Fire once at this time.")
@click.option("--timezone", metavar="ZONE", help="The zone of --schedule and --at; default UTC.")
@click.option("--command", metavar="LINE", help="A line for the shell, instead of PROGRAM.")
@click.option("--env", multiple=True, metavar="K=V", help="A variable of its environment.")
@click.option("--cwd", metavar="DIR", help="Its working directory.")
@click.option("--timeout", metavar="DURATION", help="How long an attempt may run; default 1h.")
@click.option("--requires", multiple=True, metavar="LABEL", help="A label that its worker must have.")
@click.option("--tag", multiple=True, metavar="TAG", help="A word to find it by.")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--paused", is_flag=True, help="Fire nothing until that is changed.")
@click.option("--replace", is_flag=True, help="Change jobs that are there already, too.")
@common
@click.pass_context
def add_verb(ctx: click.Context, /, what: str, argv: tuple[str, ...], replace: bool, **options: Any) -> None:
    """Create jobs: all of a TOML file, or one from options."""
    session = ctx.ensure_object(Session)
    documents = _documents(what, argv, options)
    headers = {} if replace else {"If-None-Match": "*"}
    tally, answers = Tally(), list[dict[str, Any]]()
    for name, document in documents.items():
        try:
            answer = session.client.request("PUT", path_of("jobs", name), body=document, headers=headers)
        except Failure as failure:
            tally.failed(failure)
            continue
        tally.done()
        job = answer.json()
        answers.append(job)
        if not session.is_for_programs:
            _told(session, job, is_new=answer.status == 201)
    if session.is_for_programs and len(documents) == 1:
        for job in answers:
            session.show_one(job, "name", lambda _: None)
    elif session.is_for_programs:
        session.show_list(answers, "name", lambda _: None)
    tally.finish()


def _told(session: Session, job: dict[str, Any], is_new: bool) -> None:
    following = shown(job["next_fire_time"], session.zone) if job["next_fire_time"] else job["state"]
    session.say(f"{'added' if is_new else 'changed'} {job['name']}, next {following}")


def _documents(what: str, argv: tuple[str, ...], options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    given = {key: value for key, value in options.items() if value}
    if what.endswith(".toml") or "/" in what:
        if argv or given:
            raise click.UsageError("a file and options were given; expected one of them")
        return _of_file(Path(what))
    if argv and "command" in given:
        raise click.UsageError("a program and --command were given; expected one of them")
    document: dict[str, Any] = {"argv": list(argv)} if argv else {}
    if not argv and "command" not in given:
        raise click.UsageError("nothing to run was given; expected -- PROGRAM [ARG]... or --command LINE")
    for key, value in given.items():
        if key == "env":
            document[key] = names.variables(value)
        elif key == "tag":
            document["tags"] = list(value)
        else:
            document[key] = list(value) if isinstance(value, tuple) else value
    return {what: document}


def _of_file(path: Path) -> dict[str, dict[str, Any]]:
    from schedulerd.offline.documents import read_documents  # the one door to what needs no server

    documents, faults = read_documents(path)
    if faults:
        raise Failure(Exit.FAILED, f"{path}: nothing was added", faults)
    if not documents:
        raise Failure(Exit.FAILED, f"{path}: no job was found in it, expected [job.NAME] tables")
    return documents
