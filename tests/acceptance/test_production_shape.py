"""schedulerd, three workers and a real Consul as processes: workers come and go, kill -9 under load loses nothing."""

import random
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from support.consul_agent import ConsulAgent
from support.fleet import Fleet, lines
from support.waiting import wait_until

WITNESS = 'echo "$SCHEDULERD_RUN_ID $SCHEDULERD_SUBTASK $SCHEDULERD_ATTEMPT $SCHEDULERD_WORKER" >> {file}'

# terms a test can wait for; what they mean to each other stays as it is
SHORT_TERMS = """
[timing]
beat_seconds = 0.5
expiry_seconds = 3
margin_seconds = 1
suspect_seconds = 2
fence_seconds = 6
fence_kill_seconds = 8
lost_seconds = 10
"""


@pytest.fixture
def fleet(tmp_path: Path, consul: ConsulAgent, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    cluster = f"t-{abs(hash(request.node.name)) % 10**8}"
    with Fleet(tmp_path, consul, cluster) as fleet:
        yield fleet


def test_subtasks_go_round_robin_over_workers_that_come_and_go(fleet: Fleet, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    fleet.table(f"""
[job.spread]
command = '''{WITNESS.format(file=seen)}'''
split = {{ shards = 6 }}
""")
    for name in ("a", "b", "c"):
        fleet.start_worker(name)
    fleet.start_scheduler()
    fleet.wait_ready("a", "b", "c")

    fleet.ctl("trigger", "spread", "--wait")
    assert Counter(line.split()[3] for line in lines(seen)) == {"a": 2, "b": 2, "c": 2}

    assert fleet.workers["b"].stop() == 0
    fleet.wait_ready("a", "c")
    seen.unlink()
    fleet.ctl("trigger", "spread", "--wait")
    assert Counter(line.split()[3] for line in lines(seen)) == {"a": 3, "c": 3}

    fleet.start_worker("d")
    fleet.wait_ready("a", "c", "d")
    seen.unlink()
    fleet.ctl("trigger", "spread", "--wait")
    assert Counter(line.split()[3] for line in lines(seen)) == {"a": 2, "c": 2, "d": 2}


@pytest.mark.parametrize("comes_back", [True, False], ids=["worker-restarted", "worker-stays-dead"])
def test_every_fire_time_is_accounted_for_through_kill_9_of_scheduler_and_worker(
    tmp_path: Path, consul: ConsulAgent, comes_back: bool
) -> None:
    seen = tmp_path / "seen"
    with Fleet(tmp_path, consul, f"kill-{comes_back}".lower(), "" if comes_back else SHORT_TERMS) as fleet:
        names = _start_under_load(fleet, seen)
        assert wait_until(lambda: len(lines(seen)) >= 40, 60)

        assert fleet.scheduler is not None
        fleet.scheduler.kill()
        began = datetime.now(UTC)
        assert wait_until(
            lambda: datetime.now(UTC) - began > timedelta(seconds=3), 10
        )  # fire times pass meanwhile
        fleet.start_scheduler()
        after_restart = len(lines(seen))
        assert wait_until(lambda: len(lines(seen)) >= after_restart + 40, 60)

        fleet.workers["b"].kill()
        after_kill = len(lines(seen))
        if not comes_back:
            assert wait_until(lambda: fleet.ready_workers() == {"a", "c"}, 30, every=0.2)
        if comes_back:
            fleet.start_worker("b", slots=8)
        assert wait_until(lambda: len(lines(seen)) >= after_kill + 60, 60)

        _close_account(fleet, names, seen)


def test_kill_9_of_the_scheduler_at_any_moment_loses_and_doubles_nothing(
    fleet: Fleet, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    names = _start_under_load(fleet, seen)
    rng = random.Random(7)
    for _ in range(6):
        count = len(lines(seen)) + rng.randrange(1, 25)
        assert wait_until(lambda count=count: len(lines(seen)) >= count, 60, every=0.001)
        assert fleet.scheduler is not None
        fleet.scheduler.kill()
        fleet.start_scheduler()
    _close_account(fleet, names, seen)


def _close_account(fleet: Fleet, names: list[str], seen: Path) -> None:
    """Pause everything, let it end, and compare the ledger with what the jobs wrote."""
    for name in names:
        fleet.ctl("pause", name, "--reason", "the account is taken")
    until = datetime.now(UTC)
    unfinished = ("runs", "--state", "pending", "--state", "running")
    assert wait_until(lambda: not fleet.json(*unfinished)["items"], 100, every=1.0)
    starts = Counter(tuple(line.split()[:2]) for line in lines(seen))
    assert max(starts.values()) == 1, [key for key, count in starts.items() if count > 1]
    for name in names:
        _check_account(fleet, name, until, starts)


def _start_under_load(fleet: Fleet, seen: Path) -> list[str]:
    """Three workers and a table that keeps them busy; the names of its jobs."""
    body = WITNESS.format(file=seen)
    names = [f"tick-{number}" for number in range(6)]
    jobs = [
        f"[job.{name}]\nevery = \"1s\"\ncommand = '''{body}; sleep 0.2'''\nmisfire = \"all\"\n"
        for name in names
    ]
    wide = (
        f"[job.wide]\nevery = \"2s\"\ncommand = '''{body}'''\nsplit = {{ shards = 8 }}\nmisfire = \"all\"\n"
    )
    fleet.table("\n".join([*jobs, wide]))
    for name in ("a", "b", "c"):
        fleet.start_worker(name, slots=8)
    fleet.start_scheduler()
    fleet.wait_ready("a", "b", "c")
    return [*names, "wide"]


def _check_account(fleet: Fleet, job: str, until: datetime, starts: Counter[tuple[str, ...]]) -> None:
    """Every fire time of `job` has one row, and each run's row says what its subtasks' own lines say."""
    period = timedelta(seconds=2 if job == "wide" else 1)
    rows = [
        row for row in fleet.json("slots", job)["items"] if datetime.fromisoformat(row["fire_time"]) <= until
    ]
    times = sorted(datetime.fromisoformat(row["fire_time"]) for row in rows)
    assert len(times) >= 5
    assert [b - a for a, b in pairwise(times)] == [period] * (len(times) - 1)
    assert times[-1] > until - period
    subtasks = 8 if job == "wide" else 1
    runs = {run["id"]: run for run in fleet.json("runs", job)["items"]}
    for row in rows:
        if row["outcome"] == "skipped":
            assert row["reason"] in ("overlap", "misfire", "paused"), row
            continue
        run = runs[row["run_id"]]
        began = sum(starts[(run["id"], str(index))] for index in range(subtasks))
        if run["state"] == "succeeded":
            assert began == subtasks, run
        else:
            assert run["state"] == "failed", run
            assert run["reason"] == "lost", run


def test_consul_down_at_start_is_said_and_waited_for(tmp_path: Path, own_consul: ConsulAgent) -> None:
    own_consul.stop()
    with Fleet(tmp_path, own_consul, "down") as fleet:
        fleet.table('[job.a]\nargv = ["true"]\n')
        scheduler = fleet.start_scheduler(until="EXTEND_TIMEOUT_USEC=30000000")
        assert "READY=1" not in scheduler.said
        assert any(
            "Consul" in line or "8500" in line or own_consul.address in line for line in scheduler.said
        ), scheduler.said
        own_consul.start()
        scheduler.wait_said("READY=1", 60)
        assert scheduler.stop() == 0


def test_sigterm_ends_schedulerd_cleanly_and_sighup_reads_the_table(fleet: Fleet) -> None:
    fleet.table('[job.a]\nargv = ["true"]\n')
    scheduler = fleet.start_scheduler()
    scheduler.forget()
    fleet.table('[job.a]\nargv = ["true"]\n[job.b]\nargv = ["true"]\n')
    scheduler.send(signal.SIGHUP)
    scheduler.wait_said("READY=1")
    assert any(line.startswith("RELOADING=1") for line in scheduler.said)
    assert [job["name"] for job in fleet.json("list")["items"]] == ["a", "b"]
    fleet.table('[job.a]\nargv = ["true"]\nnonsense = 1\n')
    shown = fleet.ctl("reload", code=1)
    assert [job["name"] for job in fleet.json("list")["items"]] == ["a", "b"]
    assert "jobs.toml:3:1" in shown or "jobs.toml:3:1" in (fleet.place / "schedulerd.log").read_text()
    assert scheduler.stop() == 0
    scheduler.wait_said("STOPPING=1")
