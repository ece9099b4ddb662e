"""`GET /v1/why` and `schedulerctl why`: the account of fire times and runs, with the real core and ledger."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support import ctl
from support.api_server import call, served
from support.small_scheduler import NIGHT, SmallScheduler

from schedulerd.api.server import Server
from schedulerd.protocol import messages as msg

TABLE = """
[job.backup]
schedule = "*/2 * * * *"
timezone = "Europe/Prague"
argv = ["dump"]

[job.slow]
every = "1m"
command = "sleep 600"

[job.bad]
schedule = "*/5 * * * *"
command = "false"
retry = { max = 1 }

[job.asleep]
schedule = "* * * * *"
paused = true
command = "true"

[job.by-hand]
command = "true"

[job.once]
at = 2026-11-23T02:01:00Z
command = "true"
"""


def _ends(spec: msg.Spec, order: msg.Order) -> msg.Outcome | None:
    if spec.job == "slow":
        return None
    if spec.job == "bad":
        return msg.Outcome(order.attempt, "failed", "exit", exit_code=3)
    return msg.Outcome(order.attempt, "succeeded", exit_code=0)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[SmallScheduler]:
    with SmallScheduler(tmp_path) as scheduler:
        scheduler.ending = _ends
        scheduler.table(TABLE)
        yield scheduler


@pytest.fixture
def server(scheduler: SmallScheduler) -> Iterator[Server]:
    with served(scheduler) as server:
        yield server


def why(server: Server, **query: str) -> Any:
    words = "&".join(f"{key}={value.replace('+', '%2B')}" for key, value in query.items())
    answer = call(server, "GET", f"/v1/why?{words}")
    assert answer.status == 200, answer.body
    return answer.json


def told(answer: Any) -> list[tuple[str, str]]:
    return [(entry["source"], entry["text"]) for entry in answer["timeline"]]


def test_a_run_is_told_with_its_attempts(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(301)
    answer = why(server, job="bad")
    assert answer["run_id"] == "bad@20261123T020500Z"
    assert (answer["verdict"], answer["reason"]) == ("ran", "failed: exit")
    assert answer["fire_time"] == "2026-11-23T02:05:00Z"
    texts = told(answer)
    assert texts[0] == ("trigger", "*/5 * * * * names 2026-11-23 02:05:00 +0000 (UTC)")
    tower = "scheduler tower epoch 1"
    assert [(source, text) for source, text in texts if "subtask 0" in text] == [
        (tower, "subtask 0, attempt 1: assigned to w1"),
        ("worker w1", "subtask 0, attempt 1: accepted and started"),
        ("worker w1", "subtask 0, attempt 1: failed (exit, exit code 3)"),
        (tower, "subtask 0, attempt 1: given out again: after failed, as attempt 2: retry 1 of 1"),
        (tower, "subtask 0, attempt 2: assigned to w1"),
        ("worker w1", "subtask 0, attempt 2: accepted and started"),
        ("worker w1", "subtask 0, attempt 2: failed (exit, exit code 3)"),
    ]
    assert texts[-1] == (tower, "closed: failed: exit; its 2 results are recorded and acknowledged")
    times = [entry["time"] for entry in answer["timeline"]]
    assert times == sorted(times)
    assert why(server, run="bad@") == answer
    assert why(server, job="bad", time="2026-11-23T02:05:00Z") == answer


def test_a_run_under_way_says_what_it_waits_for(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(120)
    answer = why(server, job="slow", time=why(server, job="slow")["fire_time"])
    first = answer if answer["run_id"] else why(server, run="slow@")
    assert first["verdict"] == "running"
    assert first["reason"] == "working"
    assert first["text"].endswith("1 of 1 subtasks are with workers")


def test_a_pause_is_told_with_who_and_why(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(60)
    body, by = {"reason": "disk is full"}, {"Schedulerd-User": "eva@desk"}
    call(server, "POST", "/v1/jobs/backup/pause", body, by)
    scheduler.advance(300)
    call(server, "POST", "/v1/jobs/backup/resume", {}, by)
    scheduler.advance(130)
    answer = why(server, job="backup", time="2026-11-23T02:04:00Z")
    assert (answer["verdict"], answer["reason"], answer["run_id"]) == ("skipped", "paused", None)
    assert answer["text"] == "no run: the job was paused by eva@desk: disk is full"
    assert told(answer) == [
        ("operator", "paused by eva@desk: disk is full"),
        ("trigger", "*/2 * * * * names 2026-11-23 03:04:00 +0100 (Europe/Prague)"),
        ("ledger", "skipped: paused, one of 3 from 2026-11-23T02:02:00Z to 2026-11-23T02:06:00Z"),
        ("operator", "resumed by eva@desk"),
    ]
    between = why(server, job="backup", time="2026-11-23T02:03:00Z")
    assert between["verdict"] == "not_a_fire_time"  # although the row of skips goes over it


def test_a_pause_by_definition_is_told(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(61)
    answer = why(server, job="asleep")
    assert answer["text"] == "no run: the job was paused by its own definition (jobs.toml:16)"


def test_overlap_names_the_run_that_was_in_the_way(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(240)
    answer = why(server, job="slow")
    (open_run,) = [run["id"] for run in call(server, "GET", "/v1/runs?job=slow").json["items"]]
    assert (answer["verdict"], answer["reason"]) == ("skipped", "overlap")
    assert answer["text"] == f"no run: {open_run} was not final and overlap is skip"
    assert ("run", f"{open_run} was not final") in told(answer)


def test_a_missed_fire_time_names_the_leader_that_found_it(tmp_path: Path, scheduler: SmallScheduler) -> None:
    scheduler.advance(60)
    with (
        SmallScheduler(tmp_path, start=NIGHT + timedelta(hours=3, minutes=1)) as later,
        served(later) as server,
    ):
        old = why(server, job="backup", time="2026-11-23T02:10:00Z")
        assert (old["verdict"], old["reason"]) == ("skipped", "too_old")
        assert ("leader", "tower began to lead in epoch 2, 2h51m later") in told(old)
        young = why(server, job="backup", time="2026-11-23T04:10:00Z")
        assert (young["verdict"], young["reason"]) == ("skipped", "misfire")
        assert (caught := why(server, job="backup"))["verdict"] in ("pending", "ran")
        later.advance(2)
        caught = why(server, job="backup")
        assert caught["verdict"] == "ran"
        assert any("recorded as a catchup run" in text for _, text in told(caught))


@pytest.mark.parametrize(
    ("job", "time", "verdict", "reason"),
    [
        ("backup", "2026-11-23T02:10:00Z", "not_yet", "future"),
        ("asleep", "2026-11-23T02:10:00Z", "not_yet", "paused"),
        ("backup", "2026-11-23T01:10:00Z", "no_row", "before_known"),
        ("backup", "2026-11-23T02:10:30Z", "not_a_fire_time", "schedule"),
        ("by-hand", "2026-11-23T02:10:00Z", "never", "manual"),
        ("once", "2026-11-23T03:00:00Z", "not_a_fire_time", "schedule"),
        ("once", "2026-11-23T02:01:00Z", "ran", "succeeded"),
    ],
)
def test_what_is_no_row_is_told_apart(
    scheduler: SmallScheduler, server: Server, job: str, time: str, verdict: str, reason: str
) -> None:
    scheduler.advance(125)
    answer = why(server, job=job, time=time)
    assert (answer["verdict"], answer["reason"]) == (verdict, reason)
    assert answer["text"]


def test_what_is_no_fire_time_names_the_nearest(scheduler: SmallScheduler, server: Server) -> None:
    answer = why(server, job="backup", time="2026-11-23T02:10:30+00:00")
    assert "the nearest are 2026-11-23T02:10:00Z and 2026-11-23T02:12:00Z" in answer["text"]
    scheduler.table(
        '[job.spring]\nschedule = "30 2 * * *"\ntimezone = "Europe/Prague"\nargv = ["x"]', "b.toml"
    )
    answer = why(server, job="spring", time="2027-03-28T03:30:00+02:00")
    after_gap = [text for _, text in told(answer) if "does not exist" in text]
    assert len(after_gap) == 1
    assert "it stands for 2027-03-28 02:30:00" in after_gap[0]


def test_a_changed_definition_is_told(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(60)
    scheduler.table(TABLE.replace("*/2 * * * *", "*/3 * * * *"))
    answer = why(server, job="backup", time="2026-11-23T02:00:00Z")
    assert answer["reason"] == "before_known"
    scheduler.advance(240)
    scheduler.table(TABLE.replace("*/2 * * * *", "* * * * *"))
    answer = why(server, job="backup", time="2026-11-23T02:02:00Z")
    assert (answer["verdict"], answer["reason"]) == ("no_row", "other_definition")


def test_a_job_that_is_gone_keeps_its_account(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(125)
    scheduler.table("")
    assert why(server, job="backup")["verdict"] == "ran"
    answer = why(server, job="backup", time="2026-11-23T01:00:00Z")
    assert (answer["verdict"], answer["reason"]) == ("no_row", "removed")


def test_without_time_a_job_tells_of_its_newest_fire_time_run_or_what_comes(server: Server) -> None:
    assert why(server, job="backup")["verdict"] == "not_yet"
    assert why(server, job="by-hand")["verdict"] == "never"
    call(server, "POST", "/v1/jobs/by-hand/trigger", {}, {"Schedulerd-User": "eva@desk"})
    answer = why(server, job="by-hand")
    assert answer["verdict"] == "ran"
    assert ("operator", "a manual run by eva@desk: no schedule named this time") in told(answer)


def test_the_question_has_to_be_sound(server: Server) -> None:
    assert call(server, "GET", "/v1/why?job=bakup").json["near"] == ["backup"]
    assert call(server, "GET", "/v1/why?job=bakup&time=2026-11-23T01:10:00Z").status == 404
    assert call(server, "GET", "/v1/why").status == 422
    assert call(server, "GET", "/v1/why?job=backup&run=x").status == 422
    assert call(server, "GET", "/v1/why?job=backup&time=yesterday").status == 422


def test_schedulerctl_takes_jobs_times_and_runs(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(125)

    def asked(*words: str) -> Any:
        result = ctl.run("-o", "json", "why", *words, address=server.address, now=lambda: scheduler.now)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    assert asked("backup") == asked("backup/last") == asked("backup@2026") == why(server, job="backup")
    assert asked("back*", "2026-11-23 02:01")["verdict"] == "not_a_fire_time"
    assert ctl.run("why", "backup@2026", "now", address=server.address).exit_code == 2
    assert ctl.run("why", "bakup", address=server.address).exit_code == 3
