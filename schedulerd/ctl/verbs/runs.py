"""runs, run and slots: what fired, how it went, and what became of every fire time."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import click

from schedulerd.ctl import names, times
from schedulerd.ctl.client import path_of
from schedulerd.ctl.exits import printable
from schedulerd.ctl.session import Session, common, pass_session
from schedulerd.ctl.tables import Column, plain, show_table, state_word

STATES = ("pending", "running", "succeeded", "failed", "cancelled")
STEPS = {-1: "gather", -2: "setup", -3: "teardown", -4: "split"}
_LIMIT = 50

RUN_COLUMNS = (
    Column("RUN"),
    Column("STATE"),
    Column("FIRE TIME"),
    Column("TRIGGER"),
    Column("LATE", is_number=True),
    Column("TOOK", is_number=True),
    Column("SUBTASKS", is_number=True),
    Column("REASON"),
    Column("STARTED", is_wide=True),
    Column("FINISHED", is_wide=True),
)
_SLOT_COLUMNS = (
    Column("FIRE TIME"),
    Column("OUTCOME"),
    Column("RUN"),
    Column("REASON"),
    Column("NOMINAL", is_wide=True),
)
_SUBTASK_COLUMNS = (
    Column("SUBTASK", is_number=True),
    Column("ITEM"),
    Column("STATE"),
    Column("TRY", is_number=True),
    Column("WORKER"),
    Column("STARTED"),
    Column("TOOK", is_number=True),
    Column("EXIT", is_number=True),
    Column("REASON"),
)
_ITEM_WIDTH = 40


@click.command("runs")
@click.argument("job", required=False)
@click.option("--state", multiple=True, type=click.Choice(STATES), help="Only runs in one of these states.")
@click.option(
    "--since", type=times.Instant(), help="Only fire times from then on: a time, or a duration ago."
)
@click.option("--limit", type=click.IntRange(1), default=_LIMIT, show_default=True, help="How many at most.")
@common
@pass_session
def runs_verb(
    session: Session, job: str | None, state: tuple[str, ...], since: str | None, limit: int
) -> None:
    """Runs, newest first."""
    wanted = [None] if job is None else names.job_names(session.client, [job])
    pages = [
        session.client.items("/v1/runs", limit, job=name, state=list(state), since=since) for name in wanted
    ]
    found = next(iter(pages)) if len(pages) == 1 else _newest(pages, limit)

    def table(items: list[dict[str, Any]]) -> None:
        rows = [run_row(session, run) for run in items]
        show_table(RUN_COLUMNS, rows, is_wide=session.is_wide, empty="there are no such runs")

    session.show_list(found, "id", table)


def run_row(session: Session, run: dict[str, Any]) -> list[str]:
    """One run as the cells of RUN_COLUMNS."""
    counts = run["subtasks"]
    ended = counts["succeeded"] + counts["failed"]
    return [
        run["id"],
        run["state"],
        times.shown(run["fire_time"], session.zone),
        run["trigger"],
        times.brief(run["late_seconds"]) if run["trigger"] == "schedule" else "-",
        times.between(run["started_at"], run["finished_at"]),
        f"{ended}/{counts['total']}" if counts["total"] else "-",
        run["reason"] or "-",
        times.shown(run["started_at"], session.zone),
        times.shown(run["finished_at"], session.zone),
    ]


@click.command("run")
@click.argument("run")
@click.option("--all", "is_all", is_flag=True, help="Every subtask, also of more than 1,000.")
@common
@pass_session
def run_verb(session: Session, run: str, is_all: bool) -> None:
    """One run: its subtasks and attempts."""
    name = names.run_id(session.client, run)
    found = session.client.get(path_of("runs", name))
    if found["subtasks_hidden"] and (is_all or session.is_for_programs):
        found["subtasks_detail"] = list(session.client.items(path_of("runs", name, "subtasks"), None))
        found["subtasks_hidden"] = 0
    session.show_one(found, "id", lambda item: _show_run(session, item))


def _show_run(session: Session, run: dict[str, Any]) -> None:
    counts = run["subtasks"]
    reason = f" ({run['reason']})" if run["reason"] else ""
    click.echo(f"{run['id']}  {state_word(run['state'])}{printable(reason)}")
    facts = [
        ["fire time", f"{times.shown(run['fire_time'], session.zone)}  ({run['trigger']})"],
        ["late", times.brief(run["late_seconds"])],
        ["took", times.between(run["started_at"], run["finished_at"])],
        ["subtasks", ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"],
    ]
    if not counts["total"] and run["state"] == "succeeded":
        facts[-1][1] = "none: there were no items"
    if run["rounds"] > 1:
        facts.append(["rounds", f"{run['rounds']}: it was retried"])
    if run["nominal"]:
        facts.insert(1, ["nominal", run["nominal"]])
    for name, text in facts:
        click.echo(f"  {name:<10} {printable(text)}")
    rows = [row for subtask in run["subtasks_detail"] for row in _subtask_rows(session, subtask)]
    if rows:
        click.echo("")
        show_table(_SUBTASK_COLUMNS, rows, is_wide=session.is_wide, empty="")
    if run["subtasks_hidden"]:
        click.echo(f"... and {run['subtasks_hidden']} more subtasks; --all shows them all")
    if run["result"]:
        click.echo("\nresult")
        for line in run["result"].splitlines()[:20]:
            click.echo(f"  {printable(line)}")


def _subtask_rows(session: Session, subtask: dict[str, Any]) -> Iterator[list[str]]:
    name = STEPS.get(subtask["index"], str(subtask["index"]))
    item = "-" if subtask["item"] is None else subtask["item"]
    item = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    item = item if len(item) <= _ITEM_WIDTH else item[: _ITEM_WIDTH - 1] + "…"
    if not subtask["attempts"]:
        yield [name, item, subtask["state"], "-", "-", "-", "-", "-", "-"]
    for attempt in subtask["attempts"]:
        code = attempt["exit_code"]
        ended = f"signal {attempt['signal']}" if attempt["signal"] else "-" if code is None else str(code)
        yield [
            name,
            item,
            attempt["state"],
            str(attempt["attempt"]),
            attempt["worker"],
            times.shown(attempt["started_at"], session.zone),
            times.between(attempt["started_at"], attempt["finished_at"]),
            ended,
            " ".join(filter(None, (attempt["reason"], attempt["detail"]))) or "-",
        ]


@click.command("slots")
@click.argument("job")
@click.option("--limit", type=click.IntRange(1), default=_LIMIT, show_default=True, help="How many at most.")
@common
@pass_session
def slots_verb(session: Session, job: str, limit: int) -> None:
    """Every passed fire time with its run, or the reason why there is none."""
    name = names.one_job(session.client, job)
    found = session.client.items("/v1/slots", limit, job=name)

    def table(items: list[dict[str, Any]]) -> None:
        rows = [
            [
                times.shown(slot["fire_time"], session.zone),
                slot["outcome"],
                slot["run_id"] or "-",
                slot["reason"] or "-",
                slot["nominal"] or "-",
            ]
            for slot in items
        ]
        is_wide = session.is_wide or any(slot["nominal"] for slot in items)
        show_table(_SLOT_COLUMNS, rows, is_wide=is_wide, empty=f"{name} has not had a fire time yet")

    session.show_list(found, "fire_time", table)


def show_recent(session: Session, runs: list[dict[str, Any]]) -> None:
    """A few runs below something else."""
    kept = [column for column in RUN_COLUMNS if not column.is_wide]
    rows = [[printable(cell) for cell in run_row(session, run)[: len(kept)]] for run in runs]
    for line in plain(kept, rows).splitlines():
        click.echo(f"  {line}")


def _newest(pages: list[Iterator[dict[str, Any]]], limit: int) -> list[dict[str, Any]]:
    """The newest of several jobs' runs."""
    found = [run for page in pages for run in islice(page, limit)]
    return sorted(found, key=lambda run: times.read(run["fire_time"]), reverse=True)[:limit]
