"""Backfill from the terminal to the ledger: skips become runs, a few at a time, over restarts, until it is ended."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support import ctl
from support.api_server import call, served
from support.small_scheduler import NIGHT, SmallScheduler

from schedulerd.api.server import Server
from schedulerd.protocol import messages as msg

TABLE = """
[job.backup]
schedule = "* * * * *"
argv = ["x"]

[job.other]
schedule = "* * * * *"
argv = ["x"]

[job.by-hand]
argv = ["x"]
"""
SPAN = ("--from", "2026-11-23T02:03:00Z", "--to", "2026-11-23T02:06:00Z")
BODY = {"from": "2026-11-23T02:03:00Z", "to": "2026-11-23T02:06:00Z"}


def _goes_on(spec: msg.Spec, order: msg.Order) -> msg.Outcome | None:
    """Backfill runs of backup go on until a test ends them."""
    if spec.job == "backup" and order.attempt < "backup@20261123T0212":
        return None
    return msg.Outcome(order.attempt, "succeeded", exit_code=0)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[SmallScheduler]:
    """A run at 02:01, skips from 02:02 to 02:10, a run at 02:11; it is 02:11:05."""
    with SmallScheduler(tmp_path) as scheduler:
        scheduler.table(TABLE)
        scheduler.advance(65)
        with served(scheduler) as server:
            call(server, "POST", "/v1/jobs/backup/pause", {"reason": "dump"}, {"Schedulerd-User": "eva@desk"})
            scheduler.advance(540)
            call(server, "POST", "/v1/jobs/backup/resume", {})
        scheduler.advance(60)
        yield scheduler


@pytest.fixture
def server(scheduler: SmallScheduler) -> Iterator[Server]:
    with served(scheduler) as server:
        yield server


def account(server: Server, job: str = "backup") -> list[tuple[str, str]]:
    """(minute, run's state or the reason of the skip), oldest first."""
    states = {
        run["id"]: run["state"] for run in call(server, "GET", f"/v1/runs?job={job}&limit=1000").json["items"]
    }
    slots = call(server, "GET", f"/v1/slots?job={job}&limit=1000").json["items"]
    return [(slot["fire_time"][14:16], slot["reason"] or states[slot["run_id"]]) for slot in reversed(slots)]


def rows(tmp_path: Path) -> list[tuple[int, int, int]]:
    """(first minute, last minute, count) of the ranges of skips in the ledger."""
    connection = sqlite3.connect(tmp_path / "ledger.db")
    begin = int(NIGHT.timestamp())
    found = connection.execute(
        "SELECT first, last, count FROM slots WHERE job = 'backup' AND run IS NULL ORDER BY first"
    ).fetchall()
    connection.close()
    return [
        ((first // 10**6 - begin) // 60, (last // 10**6 - begin) // 60, count) for first, last, count in found
    ]


def states(server: Server) -> list[str]:
    found = call(server, "GET", "/v1/runs?job=backup&limit=1000").json["items"]
    return [run["state"] for run in reversed(found) if run["trigger"] == "backfill"]


def shell(server: Server, *words: str) -> Result:
    return ctl.run(*words, address=server.address)


def test_skips_become_runs_and_the_range_around_them_is_split(
    tmp_path: Path, scheduler: SmallScheduler, server: Server
) -> None:
    assert rows(tmp_path) == [(2, 10, 9)]
    answer = shell(server, "backfill", "backup", *SPAN)
    assert answer.stdout == (
        "making 4 runs of backup, 2026-11-23 02:03:00 to 2026-11-23 02:06:00, 1 at a time\n"
    )
    assert rows(tmp_path) == [(2, 2, 1), (7, 10, 4)]
    scheduler.advance(10)
    paused = [(f"{minute:02d}", "paused") for minute in (2, 7, 8, 9, 10)]
    ran = [(f"{minute:02d}", "succeeded") for minute in (1, 3, 4, 5, 6, 11)]
    assert account(server) == sorted(paused + ran)
    why = call(server, "GET", "/v1/why?job=backup&time=2026-11-23T02:04:00Z").json
    assert why["verdict"] == "ran"
    (old,) = [entry["text"] for entry in why["timeline"] if entry["text"].startswith("backfilled")]
    assert old.endswith("; was skipped: paused")
    run = call(server, "GET", "/v1/runs/backup@20261123T020400Z").json
    assert (run["trigger"], run["late_seconds"]) == ("backfill", 0.0)


def test_what_ran_is_left_alone_and_a_second_backfill_does_nothing(
    scheduler: SmallScheduler, server: Server
) -> None:
    everything = {"from": "2026-11-23T00:00:00Z", "to": "2026-11-24T00:00:00Z"}
    before = call(server, "GET", "/v1/runs/backup@20261123T020100Z").json
    answer = call(server, "POST", "/v1/jobs/backup/backfill", everything)
    assert answer.status == 202
    assert (len(answer.json["runs"]), answer.json["existing"]) == (9, 2)
    assert {run["was"] for run in answer.json["runs"]} == {"paused"}
    again = shell(server, "backfill", "backup", *SPAN)
    assert again.stdout == (
        "nothing to do for backup: no fire time of the interval is without a run; 4 fire times ran already\n"
    )
    scheduler.advance(40)
    assert {state for _, state in account(server)} == {"succeeded"}
    assert len(account(server)) == 11
    assert call(server, "GET", "/v1/runs/backup@20261123T020100Z").json == before


def test_a_dry_run_only_tells(tmp_path: Path, scheduler: SmallScheduler, server: Server) -> None:
    answer = call(server, "POST", "/v1/jobs/backup/backfill", {**BODY, "dry_run": True})
    assert answer.status == 200
    assert [run["run_id"] for run in answer.json["runs"]] == [
        f"backup@20261123T020{n}00Z" for n in (3, 4, 5, 6)
    ]
    table = shell(server, "backfill", "backup", *SPAN, "--dry-run", "--max-parallel", "2").stdout.splitlines()
    assert table[0].split() == ["FIRE", "TIME", "RUN", "WAS"]
    assert table[-1].startswith("would make 4 runs of backup")
    assert (
        json.loads(shell(server, "-o", "json", "backfill", "backup", *SPAN, "--dry-run").stdout)
        == answer.json
    )
    scheduler.advance(5)
    assert rows(tmp_path) == [(2, 10, 9)]
    assert states(server) == []


@pytest.mark.parametrize("width", [1, 3])
def test_as_many_go_at_once_as_were_asked_for(scheduler: SmallScheduler, server: Server, width: int) -> None:
    scheduler.ending = _goes_on
    call(server, "POST", "/v1/jobs/backup/backfill", {**BODY, "max_parallel": width})
    scheduler.advance(10)
    assert states(server) == ["running"] * width + ["pending"] * (4 - width)
    why = call(server, "GET", "/v1/why?run=backup@20261123T020600Z").json
    assert (why["verdict"], why["reason"]) == ("pending", "turn")
    scheduler.finish("backup@20261123T020300Z~0~1")
    scheduler.advance(2)
    assert states(server) == ["succeeded"] + ["running"] * width + ["pending"] * (3 - width)


def test_what_waits_is_in_nobodys_way(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.ending = lambda spec, order: None if order.attempt.startswith("by-hand") else _ends(order)
    body = {"from": "2026-11-23T02:02:00Z", "to": "2026-11-23T02:10:00Z"}
    call(server, "POST", "/v1/jobs/backup/backfill", body)
    assert states(server)[-1] == "pending"
    assert (
        call(server, "POST", "/v1/jobs/backup/trigger", {}).status == 201
    )  # overlap = "skip" does not refuse it
    scheduler.advance(120)
    assert [state for _, state in account(server)][-3:] == ["succeeded"] * 3
    assert [state for _, state in account(server, "other")] == ["succeeded"] * 13


def _ends(order: msg.Order) -> msg.Outcome:
    return msg.Outcome(order.attempt, "succeeded", exit_code=0)


def test_a_backfill_goes_on_after_a_restart(tmp_path: Path, scheduler: SmallScheduler) -> None:
    with served(scheduler) as server:
        call(server, "POST", "/v1/jobs/backup/backfill", {**BODY, "max_parallel": 2})
        assert states(server).count("pending") >= 2
    with SmallScheduler(tmp_path, start=NIGHT + timedelta(seconds=667)) as later, served(later) as server:
        later.ending = _goes_on
        later.advance(12)
        assert states(server).count("running") == 2  # still two at a time
        later.ending = lambda spec, order: _ends(order)
        for minute in (3, 4):
            later.finish(f"backup@20261123T020{minute}00Z~0~1")
        later.advance(80)
        assert states(server).count("succeeded") >= 2
        assert set(states(server)) <= {"succeeded", "running"}
        assert [state for _, state in account(server)][:2] == ["succeeded", "paused"]


def test_all_of_it_or_one_run_can_be_ended(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.ending = _goes_on
    call(server, "POST", "/v1/jobs/backup/backfill", BODY)
    scheduler.advance(5)
    assert states(server) == ["running", "pending", "pending", "pending"]
    assert shell(server, "cancel", "backup@20261123T020500Z").exit_code == 0
    assert states(server) == ["running", "pending", "cancelled", "pending"]
    assert shell(server, "backfill", "backup", "--cancel").stdout == "cancelling 3 runs of backup\n"
    scheduler.advance(2)
    assert states(server) == ["cancelled"] * 4
    assert shell(server, "backfill", "backup", "--cancel").stdout == "backup has no backfill runs left\n"
    assert call(server, "DELETE", "/v1/jobs/bakup/backfill").status == 404
    scheduler.advance(60)
    assert account(server)[-1][1] == "succeeded"


def test_removing_the_job_ends_what_waits(scheduler: SmallScheduler, server: Server) -> None:
    document = {"every": "1m", "argv": ["x"], "paused": True}
    assert call(server, "PUT", "/v1/jobs/made", document).status == 201
    scheduler.advance(300)
    body = {"from": "2026-11-23T02:00:00Z", "to": "2026-11-23T03:00:00Z"}
    assert len(call(server, "POST", "/v1/jobs/made/backfill", body).json["runs"]) >= 4
    assert call(server, "DELETE", "/v1/jobs/made?cancel=true").status == 204
    found = call(server, "GET", "/v1/runs?job=made").json["items"]
    assert found
    assert all(run["state"] in ("cancelled", "succeeded") for run in found)


@pytest.mark.parametrize(
    ("job", "body", "status", "text"),
    [
        ("bakup", BODY, 404, "there is no job"),
        ("by-hand", BODY, 422, "has no schedule"),
        ("backup", {"from": BODY["to"], "to": BODY["from"]}, 422, "lies before from"),
        ("backup", {"from": BODY["from"]}, 422, "to"),
        ("backup", {**BODY, "max_parallel": 0}, 422, "max_parallel"),
        ("backup", {**BODY, "fast": True}, 422, "fast"),
        ("backup", {**BODY, "to": "tomorrow"}, 422, "tomorrow"),
    ],
)
def test_what_cannot_be_done_is_refused(server: Server, job: str, body: Any, status: int, text: str) -> None:
    answer = call(server, "POST", f"/v1/jobs/{job}/backfill", body)
    assert answer.status == status
    assert text in answer.json["detail"]


def test_more_than_ten_thousand_are_refused_with_their_number(tmp_path: Path) -> None:
    with SmallScheduler(tmp_path) as first:
        first.table('[job.often]\nevery = "1s"\nargv = ["x"]\nmisfire = "skip"')
    with SmallScheduler(tmp_path, start=NIGHT + timedelta(hours=5)) as later, served(later) as server:
        later.advance(1)
        body = {"from": "2026-11-23T00:00:00Z", "to": "2026-11-24T00:00:00Z"}
        answer = call(server, "POST", "/v1/jobs/often/backfill", body)
        assert answer.status == 422
        assert "17,9" in answer.json["detail"]
        assert "have no run; at most 10,000 at once" in answer.json["detail"]
        body["to"] = "2026-11-23T04:00:00Z"
        body["from"] = "2026-11-23T03:00:01Z"
        made = call(server, "POST", "/v1/jobs/often/backfill", body)
        assert made.status == 202
        assert len(made.json["runs"]) == 3600


def test_usage_of_the_verb(server: Server) -> None:
    for words in ([], ["--from", "now"], ["--cancel", "--from", "now"], ["--cancel", "--dry-run"]):
        assert shell(server, "backfill", "backup", *words).exit_code == 2
    assert shell(server, "backfill", "bakup", *SPAN).exit_code == 3
