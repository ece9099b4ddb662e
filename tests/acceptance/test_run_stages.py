"""Stages, splits and retries of runs with real daemons: the processes themselves write down what ran, and when."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fleet import Fleet, lines
from support.waiting import wait_until

STEPS = {"-2": "setup", "-4": "split", "-1": "gather", "-3": "teardown"}
# one short append is one write: lines of several processes stay whole
SAY = "echo $SCHEDULERD_SUBTASK {word} >> {file}"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, None, "stages", listed=("a", "b")) as fleet:
        yield fleet


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    return tmp_path / "witness"


def begin(fleet: Fleet, table: str) -> None:
    """The daemons, with this table."""
    fleet.table(table)
    for name in ("a", "b"):
        fleet.start_worker(name)
    fleet.start_scheduler()
    fleet.wait_ready("a", "b")


def restart(fleet: Fleet) -> None:
    """kill -9 of the scheduler, and a new one."""
    assert fleet.scheduler is not None
    fleet.scheduler.kill()
    fleet.start_scheduler()


def trigger(fleet: Fleet, job: str) -> str:
    """A run of the job."""
    return str(fleet.json("trigger", job)["run_id"])


def final(fleet: Fleet, run: str) -> dict[str, Any]:
    """The run, once it has ended."""

    def ended() -> bool:
        return fleet.json("run", run)["state"] in ("succeeded", "failed", "cancelled")

    assert wait_until(ended, 90, every=0.2), fleet.ctl("why", run)
    found: dict[str, Any] = fleet.json("run", run)
    return found


def said(witness: Path) -> list[str]:
    """`setup begin`, `0 end` ... in the order in which it was written down."""
    words = [line.split(" ", 1) for line in lines(witness)]
    return [f"{STEPS.get(subtask, subtask)} {rest}" for subtask, rest in words]


def gated(witness: Path, folder: Path) -> str:
    """Every stage says that it begins, waits for its gate, and says that it has ended."""
    wait = f"while [ ! -e {folder}/go$SCHEDULERD_SUBTASK ]; do sleep 0.02; done"
    line = f"{SAY.format(word='begin', file=witness)}; {wait}; {SAY.format(word='end', file=witness)}"
    return f"""
[job.staged]
command = '''{line}'''
[job.staged.split]
shards = 2
[job.staged.setup]
command = '''{line}'''
[job.staged.gather]
command = '''{line}; cat'''
[job.staged.teardown]
command = '''{line}'''
"""


def test_each_stage_runs_once_though_the_scheduler_is_killed_in_every_one(
    fleet: Fleet, witness: Path, tmp_path: Path
) -> None:
    begin(fleet, gated(witness, tmp_path))
    run = trigger(fleet, "staged")
    for words, gates in (
        ({"setup begin"}, ["-2"]),
        ({"0 begin", "1 begin"}, ["0", "1"]),
        ({"gather begin"}, ["-1"]),
        ({"teardown begin"}, ["-3"]),
    ):
        assert wait_until(lambda words=words: words <= set(said(witness)), 60, every=0.02), said(witness)
        restart(fleet)
        for gate in gates:
            (tmp_path / f"go{gate}").touch()
    found = final(fleet, run)
    assert (found["state"], found["reason"]) == ("succeeded", "")
    told = said(witness)
    assert sorted(told) == sorted(
        f"{stage} {word}" for stage in ("setup", "0", "1", "gather", "teardown") for word in ("begin", "end")
    )
    assert told[:2] == ["setup begin", "setup end"]
    assert told[-4:] == ["gather begin", "gather end", "teardown begin", "teardown end"]
    gathered = [json.loads(line) for line in found["result"].splitlines()]
    assert [(part["subtask"], part["state"], part["code"]) for part in gathered] == [
        (0, "succeeded", 0),
        (1, "succeeded", 0),
    ]
    assert '"subtask":1' in fleet.ctl("logs", run, "--subtask", "-1")


@pytest.mark.parametrize("stage", ["setup", "0", "gather"])
def test_teardown_runs_after_a_cancel_in_any_stage_and_after_a_kill_of_the_scheduler(
    fleet: Fleet, witness: Path, tmp_path: Path, stage: str
) -> None:
    begin(fleet, gated(witness, tmp_path))
    run = trigger(fleet, "staged")
    passed = {"setup": [], "0": ["-2"], "gather": ["-2", "0", "1"]}[stage]
    for gate in passed:
        (tmp_path / f"go{gate}").touch()
    assert wait_until(lambda: f"{stage} begin" in said(witness), 60, every=0.02)
    fleet.ctl("cancel", run)
    assert wait_until(lambda: "teardown begin" in said(witness), 60, every=0.02)
    assert fleet.json("run", run)["state"] == "running"
    restart(fleet)
    (tmp_path / "go-3").touch()
    found = final(fleet, run)
    assert (found["state"], found["reason"]) == ("cancelled", "operator")
    assert said(witness)[-2:] == ["teardown begin", "teardown end"]
    assert f"{stage} end" not in said(witness)
    assert said(witness).count("teardown begin") == 1


def test_a_run_that_takes_too_long_is_ended_and_torn_down(fleet: Fleet, witness: Path) -> None:
    say = SAY.format(word="began", file=witness)
    table = f"""
[job.long]
command     = '''{say}; sleep 600'''
run_timeout = "1s"
split       = {{ shards = 3 }}
gather      = {{ command = '''{say}''' }}
teardown    = {{ command = '''{say}''' }}
"""
    begin(fleet, table)
    found = final(fleet, trigger(fleet, "long"))
    assert (found["state"], found["reason"]) == ("failed", "timeout")
    assert sorted(said(witness)) == ["0 began", "1 began", "2 began", "teardown began"]
    assert said(witness)[-1] == "teardown began"


def test_a_matrix_gives_each_subtask_its_combination(fleet: Fleet, witness: Path) -> None:
    table = f"""
[job.risk]
command = '''echo {{{{ matrix.desk }}}} {{{{ matrix.scenario }}}} "$SCHEDULERD_ITEM" >> {witness}'''
[job.risk.split]
matrix  = {{ desk = ["rates", "f x"], scenario = ["base", "stress"] }}
exclude = [{{ desk = "f x", scenario = "stress" }}]
include = [{{ desk = "fx", scenario = "crash", severity = 9 }}]
"""
    begin(fleet, table)
    assert final(fleet, trigger(fleet, "risk"))["state"] == "succeeded"
    assert sorted(lines(witness)) == [
        'f x base {"desk":"f x","scenario":"base"}',
        'fx crash {"desk":"fx","scenario":"crash","severity":9}',
        'rates base {"desk":"rates","scenario":"base"}',
        'rates stress {"desk":"rates","scenario":"stress"}',
    ]


@pytest.mark.parametrize(
    ("split", "extra", "told"),
    [
        ("echo one; echo broken >&2; exit 3", "", "broken"),
        ("echo listing; sleep 600", 'timeout = "1s"', "listing"),
        ("echo '[1, 2'", "", "begins like a JSON array but is none"),
        ("seq 4", "", "the split command listed 4 items, more than max_items, 3"),
    ],
)
def test_a_split_command_that_fails_hangs_or_lists_too_much_is_a_failed_run_with_its_output(
    fleet: Fleet, split: str, extra: str, told: str
) -> None:
    table = f"[job.listed]\ncommand = 'x'\n{extra}\nkill_after = '1s'\n[job.listed.split]\nmax_items = 3\n"
    begin(fleet, f"{table}command = '''{split}'''")
    run = trigger(fleet, "listed")
    found = final(fleet, run)
    assert (found["state"], found["reason"]) == ("failed", "split")
    assert [part["index"] for part in found["subtasks_detail"]] == [-4]
    assert told in fleet.ctl("logs", run) + fleet.ctl("run", run)


def test_a_run_keeps_to_its_width_and_fails_fast(fleet: Fleet, witness: Path, tmp_path: Path) -> None:
    line = f"echo + >> {witness}; sleep 0.2; echo - >> {witness}"
    table = f"""
[job.narrow]
command = '''{line}'''
split   = {{ shards = 9, max_parallel = 2 }}
[job.fast]
command = '''[ $SCHEDULERD_SUBTASK = 1 ] && exit 4; echo $SCHEDULERD_SUBTASK >> {tmp_path}/fast; sleep 600'''
split   = {{ shards = 40, max_parallel = 3, fail_fast = true }}
"""
    begin(fleet, table)
    assert final(fleet, trigger(fleet, "narrow"))["state"] == "succeeded"
    running = [0]
    for sign in lines(witness):
        running.append(running[-1] + (1 if sign == "+" else -1))
    assert (max(running), len(running)) == (2, 19)
    found = final(fleet, trigger(fleet, "fast"))
    assert (found["state"], found["reason"]) == ("failed", "exit")
    states = [part["state"] for part in found["subtasks_detail"]]
    assert (states.count("failed"), states.count("cancelled")) == (1, 39)
    assert len(lines(tmp_path / "fast")) <= 3


def test_failed_subtasks_alone_are_retried_over_a_kill_of_the_scheduler(
    fleet: Fleet, witness: Path, tmp_path: Path
) -> None:
    good = tmp_path / "good"
    say = SAY.format(word="$SCHEDULERD_ATTEMPT $SCHEDULERD_PREVIOUS_OUTCOME", file=witness)
    table = f"""
[job.some]
command = '''{say}; [ $SCHEDULERD_SUBTASK != 2 ] || [ -e {good} ] && echo part $SCHEDULERD_SUBTASK'''
split   = {{ items = ["a", "b", "c"] }}
gather  = {{ command = '''{say}; echo need $SCHEDULERD_NEED_MET; cat''' }}
"""
    begin(fleet, table)
    run = trigger(fleet, "some")
    found = final(fleet, run)
    assert (found["state"], found["reason"]) == ("failed", "exit")
    assert found["result"].startswith("need 0\n")
    missing = [json.loads(line) for line in found["result"].splitlines()[1:]][2]
    assert (missing["item"], missing["state"], missing["code"]) == ("c", "failed", 1)
    good.touch()
    witness.unlink()
    restart(fleet)
    fleet.wait_ready("a", "b")
    assert "retrying" in fleet.ctl("retry", run, "--failed-only")
    found = final(fleet, run)
    assert (found["state"], found["rounds"]) == ("succeeded", 2)
    assert said(witness) == ["2 2 failed", "gather 2 none"]
    assert re.findall(r"part \d", found["result"]) == ["part 0", "part 1", "part 2"]
    assert found["result"].startswith("need 1\n")
    assert "reopened" in fleet.ctl("why", run)


def test_subtasks_of_a_worker_that_dies_move_to_another(fleet: Fleet, witness: Path, tmp_path: Path) -> None:
    """Of a worker that is started again at once: what it had begun is lost by its own word, and given to the other."""
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    table = f"""
[job.moving]
command = '''echo $SCHEDULERD_WORKER $SCHEDULERD_SUBTASK >> {witness}; {wait}'''
on_lost = "retry"
split   = {{ shards = 4 }}
"""
    begin(fleet, table)
    run = trigger(fleet, "moving")
    assert wait_until(lambda: len(lines(witness)) == 4, 60, every=0.05)
    mine = sorted(line.split()[1] for line in lines(witness) if line.startswith("a "))
    assert len(mine) == 2
    fleet.workers["a"].kill()
    fleet.start_worker("a")
    assert wait_until(lambda: len(lines(witness)) == 6, 90, every=0.1), fleet.ctl("why", run)
    moved = sorted(line.split()[1] for line in lines(witness)[4:])
    assert moved == mine
    (tmp_path / "go").touch()
    found = final(fleet, run)
    assert (found["state"], found["subtasks"]["succeeded"]) == ("succeeded", 4)
    states = {part["index"]: [one["state"] for one in part["attempts"]] for part in found["subtasks_detail"]}
    assert all(states[int(subtask)] == ["lost", "succeeded"] for subtask in mine)
