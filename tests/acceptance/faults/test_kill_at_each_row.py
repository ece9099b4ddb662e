"""kill -9 exactly at each row of the durability table, disks that fail there, and what jobs themselves witnessed.

`make test` runs the points named QUICK, about ten seconds each; `--long` runs all of them.
"""

import signal
from pathlib import Path

import pytest
from support.fault_rig import AFTER_LEADER, AFTER_WORKER, Rig
from support.waiting import wait_until

from schedulerd.hostkit.clock import boot_seconds

# point -> at which passing; late enough that work is under way
LEADER = {
    "fire.before_commit": 3,
    "fire.after_commit": 3,
    "assign.before_commit": 4,
    "assign.after_commit": 4,
    "dispatch.before_send": 5,
    "dispatch.after_send": 5,
    "record.before_commit": 6,
    "record.after_commit": 6,
    "ack.before_send": 6,
    "ack.after_send": 6,
    "ledger.before_commit": 12,
    "ledger.after_commit": 12,
}
WORKER = {
    "epoch.before_journal": 1,
    "epoch.after_journal": 1,
    "accept.before_journal": 4,
    "accept.after_journal": 4,
    "start.before_journal": 4,
    "start.after_journal": 4,
    "start.before_spawn": 5,
    "start.after_spawn": 5,
    "start.before_told": 5,
    "end.before_journal": 4,
    "end.after_journal": 4,
    "result.after_send": 4,
    "forget.before_journal": 4,
    "forget.after_journal": 4,
    "journal.before_write": 12,
    "journal.torn": 12,
    "journal.before_sync": 9,
    "journal.before_rename": 1,
}
QUICK = {"assign.after_commit", "record.after_commit", "start.after_journal", "end.after_journal"}

# what the journal of the killed worker has to hold, so that the test is known to have struck where it should
STARTING = {
    "start.after_journal",
    "start.before_spawn",
    "start.after_spawn",
    "start.before_told",
    "end.before_journal",
}


def points(table: dict[str, int]) -> list[object]:
    """As parameters; what is not quick is long."""
    return [
        pytest.param(name, hit, id=name, marks=() if name in QUICK else pytest.mark.long)
        for name, hit in table.items()
    ]


@pytest.mark.parametrize(("point", "hit"), points(LEADER))
def test_a_leader_killed_at_this_point_loses_and_doubles_nothing(
    tmp_path: Path, point: str, hit: int
) -> None:
    with Rig(tmp_path) as rig:
        rig.worker("a")
        rig.worker("b")
        scheduler = rig.scheduler(f"{point}=kill@{hit}", until="")
        assert scheduler.wait(60) == -signal.SIGKILL, rig.tail()
        assert rig.has_logged("schedulerd", f"failpoint {point}: kill at hit {hit}")
        died = boot_seconds()
        rig.scheduler()
        rig.wait_on_time(died, AFTER_LEADER)
        rig.wait_lines(12)
        account = rig.account()
        assert account.in_state("lost") == []  # nothing that ran ended with the leader


@pytest.mark.parametrize(("point", "hit"), points(WORKER))
def test_a_worker_killed_at_this_point_loses_only_what_it_had_begun(
    tmp_path: Path, point: str, hit: int
) -> None:
    with Rig(tmp_path) as rig:
        act = (
            "kill-parent" if point == "start.after_spawn" else "kill"
        )  # the helper spawns, workerd is to die
        worker = rig.worker("a", f"{point}={act}@{hit}", until="")
        rig.worker("b")
        rig.scheduler()
        assert worker.wait(60) == -signal.SIGKILL, rig.tail()
        assert rig.has_logged("a", f"failpoint {point}: {act} at hit {hit}")
        died = boot_seconds()
        held = rig.held("a")
        begun = held.starting - held.ended.keys()
        assert bool(begun) or point not in STARTING
        rig.wait_gone(begun)
        rig.worker("a")
        rig.wait_ready(died, AFTER_WORKER)
        rig.wait_on_time(died, AFTER_WORKER)
        rig.wait_lines(12)
        account = rig.account()
        if point not in ("epoch.before_journal", "epoch.after_journal", "journal.before_rename"):
            account.check_held(held, "a")
        assert set(account.in_state("lost")) == begun & account.attempts.keys()
        assert rig.has_logged("a", "journal cut after its last good record") == (point == "journal.torn")


@pytest.mark.long
@pytest.mark.parametrize(
    "points",
    [
        "ledger.before_commit=error:ENOSPC@12-14",  # nothing of the batch is in the ledger
        "ledger.after_commit=error:EIO@12",  # all of it is, and the leader does not know
    ],
)
def test_a_ledger_that_fails_at_commit_costs_a_leadership_and_nothing_else(
    tmp_path: Path, points: str
) -> None:
    with Rig(tmp_path) as rig:
        rig.worker("a")
        rig.worker("b")
        rig.scheduler(points)
        assert wait_until(lambda: rig.has_logged("schedulerd", "the ledger failed"), 60), rig.tail()
        failed = boot_seconds()
        rig.wait_on_time(failed, AFTER_LEADER)
        rig.wait_lines(12)
        account = rig.account()
        assert account.in_state("lost") == []


@pytest.mark.long
@pytest.mark.parametrize("point", ["journal.before_write=error:ENOSPC@12", "journal.before_sync=error:EIO@9"])
def test_a_journal_that_fails_ends_the_worker_before_anything_unjournaled_is_said(
    tmp_path: Path, point: str
) -> None:
    with Rig(tmp_path) as rig:
        worker = rig.worker("a", point)
        rig.worker("b")
        rig.scheduler()
        assert worker.wait(60) == 1
        assert rig.has_logged("a", "the journal cannot be written")
        failed = boot_seconds()
        held = rig.held("a")
        rig.worker("a")
        rig.wait_on_time(failed, AFTER_WORKER)
        rig.wait_lines(12)
        account = rig.account()
        account.check_held(held, "a")
