"""What schedulerctl shows people, letter by letter. `pytest tests/golden --rewrite-golden` agrees to new output."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ctl
from support.api_server import call, served
from support.small_scheduler import SmallScheduler

from schedulerd.protocol import messages as msg

HERE = Path(__file__).parent / "ctl"
TABLE = """
[job.backup]
description = "Nightly dump"
schedule = ["*/2 * * * *", "30 4 * * 1-5"]
timezone = "Europe/Prague"
argv = ["dump", "--day", "{{ fire_time.date }}"]
requires = ["role=db"]
tags = ["db", "nightly"]
env = { PGHOST = "db-1" }
retry = { max = 1 }

[job.report]
description = "Merges \\u001b[31mshards"
every = "1m"
command = "report | tee log"
split = { items = ["north", "south"] }

[job.page-oncall]
command = "page"
"""
CASES = {
    "list": ["list"],
    "list-wide": ["list", "-w"],
    "list-none": ["list", "--paused", "--tag", "absent"],
    "status": ["status"],
    "status-job": ["status", "report"],
    "status-paused": ["status", "page-oncall"],
    "show": ["show", "backup"],
    "show-effective": ["show", "backup", "--effective"],
    "show-toml": ["show", "backup", "--toml"],
    "next": ["next", "backup", "-n", "4", "--from", "2026-11-23T03:27:00Z"],
    "next-expr": [
        "next",
        "--expr",
        "30 2 * * *",
        "--timezone",
        "Europe/Prague",
        "--from",
        "2027-10-30T00:00:00Z",
        "-n",
        "2",
    ],
    "next-expr-gap": [
        "next",
        "--expr",
        "15 2 * * *",
        "--timezone",
        "Australia/Lord_Howe",
        "--from",
        "2027-10-01T16:00:00Z",
        "-n",
        "2",
    ],
    "runs": ["runs"],
    "runs-wide": ["-o", "wide", "runs", "backup"],
    "run": ["run", "report/last"],
    "slots": ["slots", "backup"],
    "why-run": ["why", "report"],
    "why-manual": ["why", "page-oncall", "2026-11-23 02:10"],
    "why-no-fire-time": ["why", "backup", "2026-11-23 02:03"],
    "why-ran": ["why", "backup", "2026-11-23 02:02"],
    "logs": ["logs", "report"],
    "workers": ["workers"],
    "workers-wide": ["workers", "-w"],
    "unknown": ["show", "bakup"],
    "help": ["--help"],
    "trigger-help": ["trigger", "--help"],
}


def _ends(spec: msg.Spec, order: msg.Order) -> msg.Outcome | None:
    if spec.job != "report":
        return msg.Outcome(order.attempt, "succeeded", exit_code=0, stdout=msg.Captured(tail=b"ok\n"))
    if order.item == '"south"':
        error = msg.Captured(tail=b"\x1b[31mno route\x1b[0m\tto south\n")
        return msg.Outcome(order.attempt, "failed", "exit", exit_code=3, stderr=error)
    return msg.Outcome(order.attempt, "succeeded", exit_code=0, stdout=msg.Captured(tail=b"north: 12\n"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, SmallScheduler]]:
    place = tmp_path_factory.mktemp("golden")
    with SmallScheduler(place, workers=("web-01", "web-02")) as scheduler, served(scheduler) as server:
        scheduler.ending = _ends
        scheduler.table(TABLE)
        scheduler.advance(250)
        who, why = {"Schedulerd-User": "eva@desk"}, {"reason": "nobody is there"}
        assert call(server, "POST", "/v1/jobs/page-oncall/pause", why, who).status == 200
        yield server.address, scheduler


@pytest.mark.parametrize("name", CASES)
def test_output_is_as_agreed(
    name: str, world: tuple[str, SmallScheduler], request: pytest.FixtureRequest
) -> None:
    address, scheduler = world
    result = ctl.run(*CASES[name], address=address, now=lambda: scheduler.now)
    text = result.stdout + (
        f"--- exit {result.exit_code}, standard error\n{result.stderr}" if result.stderr else ""
    )
    file = HERE / f"{name}.txt"
    if request.config.getoption("rewrite_golden"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
    assert "\x1b" not in text
