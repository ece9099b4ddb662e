"""Pools, queue and replace with real daemons: what jobs write themselves proves them over kills of the scheduler."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.consul_agent import ConsulAgent
from support.fleet import Fleet, lines
from support.waiting import wait_until

# one short append is one write: lines of several processes stay whole and in order
WHO = "$SCHEDULERD_RUN_ID $SCHEDULERD_SUBTASK"
WITNESS = (
    f"""'''echo "start {WHO}" >> {{file}}; {{work}}; echo "end {WHO}" >> {{file}}'''"""  # as a TOML value
)
MAX = 3


@pytest.fixture
def fleet(tmp_path: Path, consul: ConsulAgent, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    with Fleet(tmp_path, consul, f"t-{abs(hash(request.node.name)) % 10**8}") as fleet:
        yield fleet


def restart(fleet: Fleet) -> None:
    """kill -9 of the scheduler, and a new one."""
    assert fleet.scheduler is not None
    fleet.scheduler.kill()
    fleet.start_scheduler()


def most_at_once(said: list[str]) -> int:
    """How many were between their start line and their end line, at most."""
    most, running = 0, dict[str, None]()
    for line in said:
        word, _, who = line.partition(" ")
        if word == "start":
            assert who not in running
            running[who] = None
        else:
            del running[who]
        most = max(most, len(running))
    return most


def starts(file: Path) -> list[str]:
    """Runs in the order they began."""
    return [line.split()[1] for line in lines(file) if line.startswith("start ")]


def open_runs(fleet: Fleet, job: str, *states: str) -> list[str]:
    """Ids of the runs of `job` in these states, oldest first."""
    words = [word for state in states for word in ("--state", state)]
    found = fleet.json("runs", job, *words)["items"]
    return sorted(run["id"] for run in found)


def test_never_more_than_max_attempts_of_a_pool_at_once_over_kills_of_the_scheduler(
    fleet: Fleet, tmp_path: Path
) -> None:
    probe, free = tmp_path / "probe", tmp_path / "free"
    body = WITNESS.format(file=probe, work="sleep 0.3")
    jobs = [
        f'[job.part-{number}]\nevery = "1s"\noverlap = "{overlap}"\npools = ["probe"]\ncommand = {body}\n'
        for number, overlap in enumerate(("skip", "queue", "skip", "skip", "queue", "skip"))
    ]
    wide = f'[job.wide]\nevery = "3s"\npools = ["probe"]\nsplit = {{ shards = 5 }}\ncommand = {body}\n'
    aside = f"[job.aside]\nevery = \"1s\"\ncommand = 'echo aside >> {free}'\n"
    fleet.table("\n".join([f"[pool.probe]\nmax = {MAX}\n", *jobs, wide, aside]))
    for name in ("a", "b"):
        fleet.start_worker(name, slots=8)
    fleet.start_scheduler()
    fleet.wait_ready("a", "b")
    rng = random.Random(3)
    for _ in range(4):
        count = len(lines(probe)) + rng.randrange(20, 40)
        assert wait_until(lambda count=count: len(lines(probe)) >= count, 60, every=0.005)
        restart(fleet)
    aside_before = len(lines(free))
    assert wait_until(lambda: len(lines(free)) >= aside_before + 3, 30)  # nobody waits behind the full pool

    (tmp_path / "jobs.d" / "jobs.toml").write_text("")
    fleet.ctl("reload")  # no more of them; what is open finishes
    assert wait_until(
        lambda: not fleet.json("runs", "--state", "pending", "--state", "running")["items"], 100, every=0.5
    )
    assert most_at_once(lines(probe)) == MAX
    said = lines(probe)
    assert len([line for line in said if line.startswith("start")]) == len(said) / 2 > 40


def test_queued_runs_begin_in_their_order_over_kills_of_the_scheduler(fleet: Fleet, tmp_path: Path) -> None:
    probe, gate = tmp_path / "probe", tmp_path / "gate"
    body = WITNESS.format(file=probe, work=f"while [ ! -e {gate} ]; do sleep 0.05; done")
    fleet.table(f'[job.one]\noverlap = "queue"\nqueue_max = 3\ncommand = {body}\n')
    fleet.start_worker("a")
    fleet.start_scheduler()
    fleet.wait_ready("a")
    asked = [fleet.json("trigger", "one") for _ in range(4)]
    assert [answer["outcome"] for answer in asked] == ["started", "queued", "queued", "queued"]
    refused = fleet.json("trigger", "one", code=6)
    assert refused["outcome"] == "refused"
    assert "queue_max" in refused["reason"]
    assert wait_until(lambda: len(starts(probe)) == 1, 30)

    restart(fleet)
    assert open_runs(fleet, "one", "pending") == sorted(answer["run_id"] for answer in asked[1:])
    assert fleet.json("trigger", "one", code=6)["outcome"] == "refused"
    assert "overlap is queue" in fleet.ctl("why", asked[2]["run_id"])
    gate.touch()
    assert wait_until(lambda: len(starts(probe)) >= 2, 60, every=0.01)
    restart(fleet)
    assert wait_until(lambda: len(lines(probe)) == 8, 60)
    assert most_at_once(lines(probe)) == 1
    assert starts(probe) == [answer["run_id"] for answer in asked]
    assert wait_until(lambda: len(open_runs(fleet, "one", "succeeded")) == 4, 30)


def test_a_replacement_begins_after_the_old_run_has_ended_over_a_kill_of_the_scheduler(
    fleet: Fleet, tmp_path: Path
) -> None:
    probe, gate, told = tmp_path / "probe", tmp_path / "gate", tmp_path / "told"
    # it is told to end and does so only when the gate opens
    stubborn = f"trap 'touch {told}' TERM; while [ ! -e {gate} ]; do sleep 0.05; done"
    body = WITNESS.format(file=probe, work=stubborn)
    fleet.table(f'[job.one]\noverlap = "replace"\nkill_after = "5m"\ncommand = {body}\n')
    fleet.start_worker("a")
    fleet.start_scheduler()
    fleet.wait_ready("a")
    first = fleet.json("trigger", "one")
    assert wait_until(lambda: len(starts(probe)) == 1, 30)
    second = fleet.json("trigger", "one")
    assert (first["outcome"], second["outcome"]) == ("started", "started")
    assert first["run_id"] in second["reason"]
    assert wait_until(told.exists, 30)

    restart(fleet)
    fleet.wait_ready("a")
    assert open_runs(fleet, "one", "pending") == [second["run_id"]]
    third = fleet.json("trigger", "one")  # takes the place of the one that waits, too
    assert open_runs(fleet, "one", "cancelled") == [second["run_id"]]
    assert starts(probe) == [first["run_id"]]
    gate.touch()
    assert wait_until(lambda: len(lines(probe)) == 4, 60)
    assert most_at_once(lines(probe)) == 1
    assert starts(probe) == [first["run_id"], third["run_id"]]
    assert wait_until(lambda: open_runs(fleet, "one", "succeeded") == [third["run_id"]], 30)
    reasons = {run["id"]: run["reason"] for run in fleet.json("runs", "one", "--state", "cancelled")["items"]}
    assert reasons == {first["run_id"]: "replaced", second["run_id"]: "replaced"}
