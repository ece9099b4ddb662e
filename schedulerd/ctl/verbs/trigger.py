"""trigger: start runs now, and wait for them if asked."""

import sys
import time
from typing import Any

import click

from schedulerd.ctl import names
from schedulerd.ctl.client import path_of
from schedulerd.ctl.exits import Exit, Failure
from schedulerd.ctl.session import Session, Tally, common, pass_session
from schedulerd.ctl.times import Duration, brief
from schedulerd.ctl.verbs.logs import FINAL, Log

_SHORTEST, _LONGEST = 0.1, 1.0  # seconds between two looks


@click.command("trigger")
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option("--env", multiple=True, metavar="K=V", help="Add a variable to the environment of the run.")
@click.option("--key", help="The same key never starts a second run.")
@click.option("--wait", is_flag=True, help="Wait for the end; exit 1 when the run failed.")
@click.option("--timeout", type=Duration(), help="Wait no longer than this; exit 7.")
@click.option("-f", "--follow", is_flag=True, help="Wait, and show what it writes.")
@common
@pass_session
def trigger_verb(
    session: Session,
    jobs: tuple[str, ...],
    env: tuple[str, ...],
    key: str | None,
    wait: bool,
    timeout: float | None,
    follow: bool,
) -> None:
    """Start a run now, whatever the schedule says."""
    found = names.job_names(session.client, jobs)
    variables = names.variables(env)
    if follow and len(found) > 1:
        raise click.UsageError(f"-f shows one run; {len(found)} jobs were named")
    tally, started = Tally(), list[str]()
    for name in found:
        try:
            answer = _trigger(session, name, variables, key)
        except Failure as failure:
            tally.failed(failure)
            continue
        tally.done()
        if answer["run_id"]:
            started.append(answer["run_id"])
        if not wait and not follow:
            session.show_one(answer, "run_id", lambda item: _say(session, item))
        else:
            _say(session, answer, err=True)
    if wait or follow:
        _wait(session, started, timeout, follow)
    tally.finish()


def _trigger(session: Session, name: str, env: dict[str, str], key: str | None) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    try:
        answer = session.client.post(path_of("jobs", name, "trigger"), {"env": env}, headers)
    except Failure as failure:
        if failure.answer.get("outcome") and session.output in ("json", "jsonl"):
            refused = {member: failure.answer.get(member) for member in ("outcome", "run_id", "reason")}
            session.show_one(refused, "run_id", lambda _: None)
        raise
    assert isinstance(answer, dict)
    return answer


def _say(session: Session, answer: dict[str, Any], err: bool = False) -> None:
    reason = f" ({answer['reason']})" if answer["reason"] else ""
    if not session.is_quiet:
        click.echo(f"{answer['outcome']} {answer['run_id'] or ''}{reason}", err=err)


def _wait(session: Session, runs: list[str], timeout: float | None, follow: bool) -> None:
    """Wait until all are final; exit 1 when one did not succeed, 7 when time is up."""
    deadline = None if timeout is None else time.monotonic() + timeout
    ended = []
    for run in runs:
        if follow:
            Log(session, run).follow()
        ended.append(_final(session, run, deadline, timeout))
    for end in ended:
        session.show_one(end, "id", _say_end)
    if any(end["state"] != "succeeded" for end in ended):
        sys.exit(int(Exit.FAILED))


def _final(session: Session, name: str, deadline: float | None, timeout: float | None) -> dict[str, Any]:
    pause = _SHORTEST
    while True:
        run = session.client.get(path_of("runs", name))
        assert isinstance(run, dict)
        if run["state"] in FINAL:
            return run
        if deadline is not None and time.monotonic() + pause > deadline:
            raise Failure(
                Exit.TIMED_OUT, f"{name} is still {run['state']} after {brief(timeout or 0)}; it goes on"
            )
        time.sleep(pause)
        pause = min(_LONGEST, pause * 1.5)


def _say_end(run: dict[str, Any]) -> None:
    reason = f" ({run['reason']})" if run["reason"] else ""
    click.echo(f"{run['state']} {run['id']}{reason}")
