"""status: like systemctl's, of one job or of the whole cluster."""

from typing import Any

import click

from schedulerd.ctl import names, times
from schedulerd.ctl.client import path_of
from schedulerd.ctl.exits import printable
from schedulerd.ctl.session import Session, common, pass_session
from schedulerd.ctl.tables import state_word
from schedulerd.ctl.verbs.logs import Log
from schedulerd.ctl.verbs.runs import STEPS, show_recent

_STRIP = {"succeeded": "✓", "failed": "✗", "cancelled": "−", "running": "▶", "pending": "·"}
_HISTORY = 20
_LAST_LINES = 5
_SUBTASKS = 10


@click.command("status")
@click.argument("job", required=False)
@common
@pass_session
def status_verb(session: Session, job: str | None) -> None:
    """How a job is doing and what to try; without JOB, how the cluster is doing."""
    if job is None:
        session.show_one(
            session.client.get("/v1/cluster"), "version", lambda found: _show_cluster(session, found)
        )
        return
    found = session.client.get(path_of("jobs", names.one_job(session.client, job)))
    session.show_one(found, "name", lambda item: _show_job(session, item))


def _show_cluster(session: Session, cluster: dict[str, Any]) -> None:
    leader = cluster["leader"]
    role = "leading" if cluster["is_leading"] else "not leading"
    if leader and not cluster["is_leading"]:
        role = f"standby of {printable(leader['name'])}"
    ready = "ready" if cluster["ready"] else "not ready"
    click.echo(f"schedulerd {cluster['version']}  {role}, {ready}, epoch {cluster['epoch']}")
    for reason in cluster["reasons"]:
        click.echo(f"  {printable(reason)}")
    since = times.ago(cluster["started_at"], session.now())
    facts = [
        ("since", f"{times.shown(cluster['started_at'], session.zone)} ({since})"),
        ("jobs", str(cluster["jobs"])),
    ]
    if cluster["is_leading"]:
        facts += [
            ("running", f"{cluster['open_runs']} runs, {cluster['open_attempts']} attempts"),
            ("waiting", f"{cluster['pending_subtasks']} subtasks"),
            ("workers", f"{cluster['workers_ready']} ready"),
        ]
    elif leader:
        facts.append(("leader", printable(f"{leader['name']}  {leader['url'] or ''}".rstrip())))
    _facts(facts)
    failing = [job["name"] for job in session.client.items("/v1/jobs", 11, failing=True)]
    if failing:
        more = " and more" if len(failing) > 10 else ""
        click.echo(f"  failing    {', '.join(failing[:10])}{more}")


def _show_job(session: Session, job: dict[str, Any]) -> None:
    now = session.now()
    runs = list(session.client.items("/v1/runs", _HISTORY, job=job["name"]))
    about = f" - {job['description']}" if job["description"] else ""
    click.echo(f"{job['name']}{printable(about)}")
    facts = [
        ("state", _state(session, job)),
        ("schedule", f"{job['schedule']}  {job['timezone']}"),
        ("origin", job["origin"]),
    ]
    if job["next_fire_time"]:
        following = job["next_fire_time"]
        facts.append(("next", f"{times.shown(following, session.zone)} ({times.ago(following, now)})"))
    if runs:
        strip = "".join(_STRIP.get(run["state"], "?") for run in reversed(runs))
        good = sum(1 for run in runs if run["state"] == "succeeded")
        facts.append(("history", f"{strip}  {good} of {len(runs)} succeeded"))
    _facts(facts)
    if runs:
        click.echo("")
        show_recent(session, runs[:5])
        _show_last(session, runs[0])
    _show_hints(job, runs)


def _state(session: Session, job: dict[str, Any]) -> str:
    paused = job["paused"]
    if not paused:
        return str(state_word(job["state"])) + (f", {job['running']} running" if job["running"] else "")
    until = f" until {times.shown(paused['until'], session.zone)}" if paused["until"] else ""
    reason = f": {paused['reason']}" if paused["reason"] else ""
    return f"{state_word('paused')} by {printable(paused['by'])}{until}{printable(reason)}"


def _show_last(session: Session, run: dict[str, Any]) -> None:
    """What went wrong in the newest run, and its last lines."""
    if run["state"] == "failed":
        detail = session.client.get(path_of("runs", run["id"]))
        bad = [part for part in detail["subtasks_detail"] if part["state"] in ("failed", "timeout", "lost")]
        for part in bad[:_SUBTASKS]:
            name = STEPS.get(part["index"], str(part["index"]))
            last = part["attempts"][-1] if part["attempts"] else None
            where = f" on {last['worker']}: {last['reason']} {last['detail']}".rstrip() if last else ""
            code = f" (exit {last['exit_code']})" if last and last["exit_code"] is not None else ""
            click.echo(f"  subtask {name} {part['state']}{printable(where)}{code}")
        if len(bad) > _SUBTASKS:
            click.echo(f"  and {len(bad) - _SUBTASKS} more")
    if run["state"] in ("failed", "succeeded"):
        click.echo("")
        Log(session, run["id"]).show_new(_LAST_LINES)


def _show_hints(job: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    hints = []
    if job["paused"] and job["paused"]["by"] != "definition":
        hints.append(f"schedulerctl resume {job['name']}")
    if runs and runs[0]["state"] == "failed":
        hints += [f"schedulerctl logs {runs[0]['id']}", f"schedulerctl run {runs[0]['id']}"]
        if runs[0]["subtasks"]["succeeded"]:
            hints.append(f"schedulerctl retry {runs[0]['id']} --failed-only")
        hints.append(f"schedulerctl trigger {job['name']} --wait")
    if hints:
        click.echo("\ntry")
        for hint in hints:
            click.echo(f"  {hint}")


def _facts(facts: list[tuple[str, str]]) -> None:
    for name, text in facts:
        click.echo(f"  {name:<10} {text}")
