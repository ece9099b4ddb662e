"""Stopped daemons, full disks, torn journals, copied identities and replayed frames, with real processes.

All but one are long. What must hold after each is the rig's account: every fire time one row, no attempt twice, what is
recorded is what the processes saw, and nothing left running.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemons import PROGRAMS, Daemon
from support.fault_rig import AFTER_LEADER, AFTER_WORKER, SHORT_LEASES, Rig, wait_stopped
from support.ports import free_ports
from support.scripted_leader import ScriptedLeader, spec
from support.waiting import wait_until

from schedulerd.hostkit.clock import boot_ms, boot_seconds
from schedulerd.hostkit.clock_failpoint import VARIABLE as CLOCK
from schedulerd.protocol.messages import Dispatch, Order, Refused
from workerd.state import TOMBSTONE_MS

PAST_ALL_TERMS = 12.0  # seconds: more than the lost_seconds of SHORT_LEASES
ATTEMPT = "job@20261123T020000Z~0~1"


def sleep_until(moment: float) -> None:
    """Let a stopped daemon be stopped for so long: what is waited for is the time itself."""
    assert wait_until(lambda: boot_seconds() >= moment, 2 * PAST_ALL_TERMS, every=0.1)


# ---- stopped past every term


@pytest.mark.long
def test_a_worker_stopped_past_every_term_is_called_lost_and_wakes_to_nothing_of_its_own(
    tmp_path: Path,
) -> None:
    with Rig(tmp_path, SHORT_LEASES) as rig:
        rig.start()
        worker = rig.fleet.workers["a"]
        worker.send(signal.SIGSTOP)
        wait_stopped(worker)
        stopped = boot_seconds()
        rig.wait_on_time(stopped, AFTER_WORKER)  # by the other worker
        assert wait_until(lambda: rig.has_logged("schedulerd", "worker_lost"), 60), rig.tail()
        sleep_until(stopped + PAST_ALL_TERMS)
        worker.send(signal.SIGCONT)
        rig.fleet.wait_ready("a", "b")
        rig.wait_lines(12)
        account = rig.account()
        assert account.events["worker_lost"] == 1


@pytest.mark.long
@pytest.mark.parametrize("point", ["fire.after_commit", "assign.after_commit", "record.after_commit"])
def test_a_leader_stopped_past_every_term_and_woken_finds_nothing_done_twice(
    tmp_path: Path, point: str
) -> None:
    with Rig(tmp_path, SHORT_LEASES) as rig:
        rig.worker("a")
        rig.worker("b")
        scheduler = rig.scheduler(f"{point}=stop@6")
        wait_stopped(scheduler)
        sleep_until(boot_seconds() + PAST_ALL_TERMS)
        scheduler.send(signal.SIGCONT)
        rig.wait_on_time(boot_seconds(), AFTER_LEADER)
        rig.wait_lines(12)
        account = rig.account()
        lost = [row for row in account.attempts.values() if row[0] == "lost"]
        assert {row[4] for row in lost} <= {
            "fenced"
        }  # the workers ended what may not overlap, and nothing else


# ---- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of sixteen mebibytes, for root; it is full when a file in it has grown."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a disk that can be filled needs root and mount; the failpoints stand for it elsewhere")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """A file that takes all the room there is."""
    path = place / "ballast"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    return path


@pytest.mark.long
def test_a_full_disk_under_the_journal_ends_the_worker_and_its_next_start_tells_the_truth(
    tmp_path: Path, small_disk: Path
) -> None:
    with Rig(tmp_path) as rig:
        (small_disk / "a").mkdir()
        (tmp_path / "a").symlink_to(small_disk / "a")
        rig.start()
        worker = rig.fleet.workers["a"]
        ballast = fill(small_disk)
        assert worker.wait(60) == 1
        assert rig.has_logged("a", "No space left on device")
        failed = boot_seconds()
        held = rig.held("a")
        ballast.unlink()
        rig.worker("a")
        rig.wait_on_time(failed, AFTER_WORKER)
        rig.wait_lines(12)
        account = rig.account()
        account.check_held(held, "a")


@pytest.mark.long
def test_a_full_disk_under_the_ledger_stops_firing_and_no_more_until_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    with Rig(tmp_path) as rig:
        (tmp_path / "schedulerd").symlink_to(small_disk)
        rig.start()
        ballast = fill(small_disk)
        assert wait_until(lambda: rig.has_logged("schedulerd", "the ledger failed"), 60), rig.tail()
        before = len([line for line in rig.lines() if line.word == "begin"])
        wait_until(lambda: not rig.processes(), 30)  # what ran ends; nothing new begins unrecorded
        ballast.unlink()
        rig.wait_on_time(boot_seconds(), AFTER_LEADER)
        rig.wait_lines(12)
        assert rig.fleet.scheduler is not None
        assert rig.fleet.scheduler.process.poll() is None  # it has healed by itself
        account = rig.account()
        assert before > 0
        assert account.in_state("lost") == []


# ---- torn journals


@pytest.mark.long
@pytest.mark.parametrize("damage", ["cut", "garbled", "rubbish"])
def test_a_journal_whose_last_unsynced_record_is_torn_costs_nothing(tmp_path: Path, damage: str) -> None:
    """An acknowledgement is the record that is not synced, so it is what a crash of the host may tear."""
    with Rig(tmp_path) as rig:
        worker = rig.worker("a", "forget.after_journal=kill@6")
        rig.worker("b")
        rig.scheduler()
        assert worker.wait(60) == -signal.SIGKILL
        died = boot_seconds()
        held = rig.held("a")
        journal = tmp_path / "a" / "journal"
        data = journal.read_bytes()
        torn = {
            "cut": data[:-3],
            "garbled": data[:-3] + bytes(byte ^ 0x5A for byte in data[-3:]),
            "rubbish": data + os.urandom(100),
        }
        journal.write_bytes(torn[damage])
        rig.worker("a")
        assert rig.has_logged("a", "journal cut after its last good record")
        rig.wait_on_time(died, AFTER_WORKER)
        rig.wait_lines(12)
        account = rig.account()
        account.check_held(held, "a")  # the result that was acknowledged came again, and changed nothing


# ---- two daemons with one identity


@pytest.mark.long
def test_a_copied_state_directory_gets_no_work_and_its_copy_of_the_journal_changes_nothing(
    tmp_path: Path,
) -> None:
    with Rig(tmp_path) as rig:
        rig.start()
        twin_dir = tmp_path / "twin"
        shutil.copytree(tmp_path / "a", twin_dir, ignore=shutil.ignore_patterns("scratch", "lock"))
        config = (tmp_path / "a.toml").read_text()
        address = f"127.0.0.1:{rig.fleet.port_of('b')}"
        assert address not in config.partition("[discovery]")[0]
        # it takes the place of worker b, whose address the scheduler knows
        assert rig.fleet.workers["b"].stop() == 0
        path = tmp_path / "twin.toml"
        path.write_text(
            config.replace('state_dir = "a"', 'state_dir = "twin"')
            .replace('name = "a"', 'name = "twin"')
            .replace(f"127.0.0.1:{rig.fleet.port_of('a')}", address, 1)
        )
        with Daemon([PROGRAMS / "workerd", "--config", path], log=tmp_path / "twin.log") as twin:
            twin.wait_said("READY=1")
            assert wait_until(lambda: rig.has_logged("schedulerd", "reason=duplicate_worker"), 60), rig.tail()
            began = boot_seconds()
            rig.wait_on_time(began, AFTER_WORKER)
            rig.wait_lines(20)
            assert rig.fleet.ready_workers() == {"a"}
            account = rig.account()
            assert "twin" not in {row[2] for row in account.attempts.values()}
            assert account.in_state("lost") == []


# ---- replayed frames


def test_a_dispatch_that_is_replayed_starts_nothing_whenever_it_comes(tmp_path: Path) -> None:
    """While it runs, after its end, after its acknowledgement, after a restart, after its tombstone is forgotten."""
    (port,) = free_ports(1)
    endpoint, clock, seen = f"127.0.0.1:{port}", tmp_path / "clock", tmp_path / "seen"
    config = tmp_path / "workerd.toml"
    config.write_text(
        f'name = "w"\nstate_dir = "state"\nslots = 2\n[listen]\naddress = "tcp://{endpoint}"\n'
        '[discovery]\nkind = "static"\n[timing]\nbeat_seconds = 0.2\nsuspect_seconds = 0.7\n'
    )
    argv = [PROGRAMS / "workerd", "--config", config]
    log, env = tmp_path / "workerd.log", {CLOCK: str(clock)}
    what = spec("sh", "-c", f"echo began >> {seen}")
    order = Order(ATTEMPT, 0, boot_ms() + 60_000, 1)

    def replayed(leader: ScriptedLeader) -> str:
        """What the worker says to the same Dispatch, by the reason of its refusal."""
        before = len(leader.frames)

        def is_refused() -> bool:
            leader.say(Dispatch([what], [order]))
            leader.listen(1000)
            return any(isinstance(frame.message, Refused) for frame in leader.frames[before:])

        assert wait_until(is_refused, 60)
        refusals = leader.wait_for(Refused, since=before).refusals
        assert {refusal.attempt for refusal in refusals} == {ATTEMPT}
        return refusals[-1].reason

    with ScriptedLeader(endpoint) as leader, Daemon(argv, log=log, env=env) as worker:
        worker.wait_said("READY=1")
        leader.greet()
        leader.say(Dispatch([what], [order]))
        leader.say(Dispatch([what], [order]))
        assert leader.outcome(ATTEMPT).state == "succeeded"
        before = len(leader.frames)
        leader.say(Dispatch([what], [order]))
        assert leader.outcome(ATTEMPT, since=before).state == "succeeded"  # it is told again, not done again
        leader.acknowledge(ATTEMPT)
        assert replayed(leader) == "tombstone"
        former = leader.nonce
        worker.kill()

        with Daemon(argv, log=log, env=env) as restarted:
            restarted.wait_said("READY=1")
            leader.greet()
            leader.say(Dispatch([what], [order]), nonce=former)  # for the boot before: dropped
            assert replayed(leader) == "tombstone"
            ahead = (TOMBSTONE_MS + 120_000) // 1000
            clock.write_text(f"0 {ahead}\n")  # an hour and more later
            before = len(leader.frames)
            assert wait_until(lambda: (leader.echo(), replayed(leader))[1] == "expired", 30)
        assert seen.read_text() == "began\n"
