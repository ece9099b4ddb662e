"""Retries of whole runs, and runs of 10,000 subtasks, over the API and by schedulerctl."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ctl
from support.api_server import Answer, call, served
from support.small_scheduler import SmallScheduler

from schedulerd.api.server import Server
from schedulerd.protocol import messages as msg
from schedulerd.protocol.ids import split_attempt_id

WIDE = 10_000
PATIENCE = 3.0  # seconds for one answer about a wide run; a fraction of one on a quiet machine
TABLE = f"""
[job.report]
command = "report"
split   = {{ items = ["north", "south", "west"], need = "60%" }}
gather  = {{ command = "cat" }}
setup   = {{ command = "mk" }}
teardown = {{ command = "rm" }}

[job.plain]
command = "x"

[job.queued]
command = "x"
overlap = "queue"

[job.none]
command = "x"
split = {{ items = [] }}

[job.wide]
command = "x"
split = {{ shards = {WIDE} }}

[job.slow]
command = "sleep 600"
"""


class Ends:
    """How attempts end: as told, by (job, subtask); everything else succeeds."""

    def __init__(self) -> None:
        self.bad: set[tuple[str, int]] = set()
        self.seen: list[str] = []

    def __call__(self, spec: msg.Spec, order: msg.Order) -> msg.Outcome | None:
        _, subtask, number = split_attempt_id(order.attempt)
        self.seen.append(f"{subtask}~{number}")
        if spec.job == "slow":
            return None
        if (spec.job, subtask) in self.bad:
            return msg.Outcome(order.attempt, "failed", "exit", exit_code=3)
        output = msg.Captured(b"" if spec.job == "wide" else f"{subtask} of round {number}\n".encode())
        return msg.Outcome(order.attempt, "succeeded", exit_code=0, stdout=output)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def scheduler(tmp_path: Path, ends: Ends) -> Iterator[SmallScheduler]:
    with SmallScheduler(tmp_path, [f"w{number}" for number in range(60)]) as scheduler:
        scheduler.ending = ends
        scheduler.table(TABLE)
        yield scheduler


@pytest.fixture
def server(scheduler: SmallScheduler) -> Iterator[Server]:
    with served(scheduler) as server:
        yield server


def trigger(server: Server, job: str) -> str:
    """A run of the job."""
    return str(call(server, "POST", f"/v1/jobs/{job}/trigger", {}).json["run_id"])


def retry(server: Server, run: str, **body: bool) -> Answer:
    """Somebody asks for it."""
    return call(server, "POST", f"/v1/runs/{run}/retry", body, {"Schedulerd-User": "eva@desk"})


def attempts(server: Server, run: str) -> dict[int, list[str]]:
    """The states of the attempts of each subtask."""
    detail = call(server, "GET", f"/v1/runs/{run}").json
    return {part["index"]: [one["state"] for one in part["attempts"]] for part in detail["subtasks_detail"]}


def test_a_run_that_failed_is_retried_and_gather_makes_its_result_anew(server: Server, ends: Ends) -> None:
    ends.bad = {("report", 0), ("report", 1)}
    run = trigger(server, "report")
    first = call(server, "GET", f"/v1/runs/{run}").json
    assert (first["state"], first["reason"], first["rounds"]) == ("failed", "need", 1)
    assert first["result"] == "-1 of round 1\n"
    ends.bad.clear()
    ends.seen.clear()
    answer = retry(server, run, failed_only=True)
    assert (answer.status, answer.json) == (202, {"run_id": run, "outcome": "started"})
    assert ends.seen == ["-2~2", "0~2", "1~2", "-1~2", "-3~2"]
    again = call(server, "GET", f"/v1/runs/{run}").json
    assert (again["state"], again["reason"], again["rounds"]) == ("succeeded", "", 2)
    assert again["result"] == "-1 of round 2\n"
    assert again["subtasks"]["succeeded"] == 3
    assert attempts(server, run)[0] == ["failed", "succeeded"]
    assert attempts(server, run)[2] == ["succeeded"]
    events = call(server, "GET", f"/v1/events?run={run}&type=reopened").json["items"]
    assert events[0]["detail"] == "by eva@desk: what failed of it is run again"
    assert "2: it was retried" in call(server, "GET", f"/runs/{run}").body.decode()


def test_a_whole_run_is_run_again(server: Server, ends: Ends) -> None:
    run = trigger(server, "report")
    assert retry(server, run, failed_only=True).status == 409
    ends.seen.clear()
    assert retry(server, run).status == 202
    assert ends.seen == ["-2~2", "0~2", "1~2", "2~2", "-1~2", "-3~2"]


def test_what_cannot_be_retried_says_why(server: Server) -> None:
    run = trigger(server, "slow")
    refused = retry(server, run)
    assert (refused.status, "is not final" in refused.json["detail"]) == (409, True)
    assert retry(server, "slow@20200101T000000Z").status == 404
    assert retry(server, run, bogus=True).status == 422


def test_a_retry_by_schedulerctl(server: Server, scheduler: SmallScheduler, ends: Ends) -> None:
    def shell(*words: str) -> ctl.Result:
        return ctl.run(*words, address=server.address, now=lambda: scheduler.now)

    ends.bad = {("plain", 0)}
    run = trigger(server, "plain")
    told = shell("retry", "plain/last-failed", "--failed-only")
    assert (told.exit_code, told.stdout) == (0, f"retrying {run}\n")
    shown = shell("run", run).stdout
    assert "rounds     2: it was retried" in shown
    assert json.loads(shell("-o", "json", "retry", run).stdout) == {"run_id": run, "outcome": "started"}
    slow = trigger(server, "slow")
    assert shell("retry", slow).exit_code == 6
    assert shell("retry", slow, run).exit_code == 8


def test_why_tells_who_asked_for_a_retry_and_that_it_waits_for_its_turn(
    server: Server, scheduler: SmallScheduler, ends: Ends
) -> None:
    ends.bad = {("queued", 0)}
    run = trigger(server, "queued")
    ends.bad.clear()
    scheduler.ending = lambda spec, order: None
    other = trigger(server, "queued")
    assert retry(server, run).json["outcome"] == "queued"
    told = call(server, "GET", f"/v1/why?run={run}").json
    assert (told["verdict"], told["reason"]) == ("pending", "turn")
    assert "its retry waits until other runs of the job have ended" in told["text"]
    assert {"source": "operator", "text": "reopened by eva@desk: all of it is run again"} in [
        {key: line[key] for key in ("source", "text")} for line in told["timeline"]
    ]
    scheduler.ending = ends
    scheduler.finish(f"{other}~0~1")
    assert call(server, "GET", f"/v1/runs/{run}").json["state"] == "succeeded"


def test_a_run_without_items_says_so(server: Server, scheduler: SmallScheduler) -> None:
    run = trigger(server, "none")
    assert call(server, "GET", f"/v1/runs/{run}").json["state"] == "succeeded"
    assert "none: there were no items" in ctl.run("run", run, address=server.address).stdout
    assert "none: there were no items" in call(server, "GET", f"/runs/{run}").body.decode()
    assert "the split has no items" in ctl.run("why", run, address=server.address).stdout


# ---- 10,000 subtasks in one run


def timed(server: Server, path: str) -> Answer:
    """The answer, which does not take long."""
    begun = time.monotonic()
    answer = call(server, "GET", path)
    assert time.monotonic() - begun < PATIENCE, path
    assert answer.status == 200
    return answer


def test_a_run_of_ten_thousand_subtasks_is_read_in_pages_and_its_page_answers(
    server: Server, scheduler: SmallScheduler, ends: Ends
) -> None:
    ends.bad = {("wide", 9_998), ("wide", 5_000)}
    run = trigger(server, "wide")
    detail = timed(server, f"/v1/runs/{run}").json
    assert detail["subtasks"] == {
        "total": WIDE,
        "succeeded": WIDE - 2,
        "failed": 2,
        "running": 0,
        "pending": 0,
    }
    assert len(detail["subtasks_detail"]) == 1000
    assert detail["subtasks_hidden"] == WIDE - 1000
    bad = [part["index"] for part in detail["subtasks_detail"] if part["state"] == "failed"]
    assert bad == [5_000, 9_998]  # wherever they stand, they are not hidden
    seen: list[int] = []
    cursor = ""
    while cursor is not None:
        page = timed(server, f"/v1/runs/{run}/subtasks?limit=1000&cursor={cursor}").json
        seen += [part["index"] for part in page["items"] if len(part["attempts"]) == 1]
        cursor = page["next_cursor"]
    assert seen == list(range(WIDE))
    shown = timed(server, f"/runs/{run}").body.decode()
    assert "9800 more subtasks" in shown
    assert len(shown) < 300_000

    short = ctl.run("run", run, address=server.address)
    assert "... and 9000 more subtasks; --all shows them all" in short.stdout
    whole = json.loads(ctl.run("-o", "json", "run", run, address=server.address).stdout)
    assert (len(whole["subtasks_detail"]), whole["subtasks_hidden"]) == (WIDE, 0)

    ends.bad.clear()
    ends.seen.clear()
    assert retry(server, run, failed_only=True).status == 202
    assert ends.seen == ["5000~2", "9998~2"]
    assert retry(server, run).status == 202
    assert len(ends.seen) == 2 + WIDE
    assert timed(server, f"/v1/runs/{run}").json["state"] == "succeeded"
