"""pause, resume, cancel, retry, rm: short orders, each to one or several things."""

from collections.abc import Callable
from typing import Any

import click

from schedulerd.ctl import names, times
from schedulerd.ctl.client import path_of
from schedulerd.ctl.exits import Failure
from schedulerd.ctl.session import Session, Tally, common, pass_session

_JOBS = click.argument("jobs", nargs=-1, required=True, metavar="JOB...")


@click.command("pause")
@_JOBS
@click.option("--for", "seconds", type=times.Duration(), help="Resume by itself after this long.")
@click.option("--reason", default="", help="Kept and shown.")
@click.option("--cancel-running", is_flag=True, help="Also end the runs under way.")
@common
@pass_session
def pause_verb(
    session: Session, jobs: tuple[str, ...], seconds: float | None, reason: str, cancel_running: bool
) -> None:
    """Fire nothing until resumed; survives restarts. Passed fire times are recorded as skipped."""
    body = {"for_seconds": seconds, "reason": reason, "cancel_running": cancel_running}

    def order(name: str) -> dict[str, Any]:
        job = session.client.post(path_of("jobs", name, "pause"), body)
        assert isinstance(job, dict)
        return job

    def told(job: dict[str, Any]) -> str:
        until = (job["paused"] or {}).get("until")
        return f"paused {job['name']}" + (f" until {times.shown(until, session.zone)}" if until else "")

    _each(session, names.job_names(session.client, jobs), order, told)


@click.command("resume")
@_JOBS
@common
@pass_session
def resume_verb(session: Session, jobs: tuple[str, ...]) -> None:
    """End a pause; what it skipped is not made up for."""

    def order(name: str) -> dict[str, Any]:
        job = session.client.post(path_of("jobs", name, "resume"))
        assert isinstance(job, dict)
        return job

    def told(job: dict[str, Any]) -> str:
        following = job["next_fire_time"]
        return f"resumed {job['name']}" + (
            f", next {times.shown(following, session.zone)}" if following else ""
        )

    _each(session, names.job_names(session.client, jobs), order, told)


@click.command("cancel")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--kill", is_flag=True, help="KILL at once, without TERM before.")
@common
@pass_session
def cancel_verb(session: Session, runs: tuple[str, ...], kill: bool) -> None:
    """End runs: TERM, then KILL after the job's kill_after."""

    def order(word: str) -> dict[str, Any]:
        run = names.run_id(session.client, word)
        answer = session.client.post(path_of("runs", run, "cancel"), {"kill": kill})
        assert isinstance(answer, dict)
        return answer

    _each(session, list(runs), order, lambda answer: f"cancelling {answer['run_id']}", key="run_id")


@click.command("retry")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--failed-only", is_flag=True, help="Leave subtasks that succeeded as they are.")
@common
@pass_session
def retry_verb(session: Session, runs: tuple[str, ...], failed_only: bool) -> None:
    """Run ended runs again: new attempts of their subtasks, then gather."""

    def order(word: str) -> dict[str, Any]:
        run = names.run_id(session.client, word)
        answer = session.client.post(path_of("runs", run, "retry"), {"failed_only": failed_only})
        assert isinstance(answer, dict)
        return answer

    def told(answer: dict[str, Any]) -> str:
        is_queued = answer["outcome"] == "queued"
        return f"retrying {answer['run_id']}" + (", behind other runs of its job" if is_queued else "")

    _each(session, list(runs), order, told, key="run_id")


@click.command("rm")
@_JOBS
@click.option("--cancel", is_flag=True, help="Also end its runs under way.")
@common
@pass_session
def rm_verb(session: Session, jobs: tuple[str, ...], cancel: bool) -> None:
    """Remove jobs that were made through the API; their history stays."""

    def order(name: str) -> dict[str, Any]:
        session.client.request("DELETE", path_of("jobs", name), query={"cancel": True if cancel else None})
        return {"name": name}

    _each(session, names.job_names(session.client, jobs), order, lambda answer: f"removed {answer['name']}")


def _each(
    session: Session,
    words: list[str],
    order: Callable[[str], dict[str, Any]],
    told: Callable[[dict[str, Any]], str],
    key: str = "name",
) -> None:
    """Give the order for each word; a failure is told and does not stop the others."""
    tally, answers = Tally(), list[dict[str, Any]]()
    for word in words:
        try:
            answers.append(order(word))
        except Failure as failure:
            tally.failed(failure)
            continue
        tally.done()
        if not session.is_for_programs:
            session.say(told(answers[-1]))
    if session.is_for_programs and len(words) == 1:
        for answer in answers:
            session.show_one(answer, key, lambda _: None)
    elif session.is_for_programs:
        session.show_list(answers, key, lambda _: None)
    tally.finish()
