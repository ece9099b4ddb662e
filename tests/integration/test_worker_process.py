"""workerd as a process: real children, real signals, a real Consul, and what is left when it is killed."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.consul_agent import ConsulAgent, free_ports
from support.daemons import PROGRAMS, Daemon, clean_environment
from support.scripted_leader import ScriptedLeader, spec
from support.waiting import wait_until

from schedulerd.hostkit.consul_client import ConsulClient
from schedulerd.protocol.consul_names import labels_in
from schedulerd.protocol.messages import (
    Cancel,
    Cancellation,
    Dispatch,
    Heartbeat,
    Inventory,
    Refused,
    Result,
    Started,
)


class Stopped(Daemon):
    """A workerd that is stopped at once at the end of its test, instead of finishing what runs."""

    def __exit__(self, *raised: Any) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGINT)
            self.wait()
        super().__exit__(*raised)


class Workerd:
    """One workerd with a settings file of its own."""

    def __init__(self, directory: Path, **more: str) -> None:
        self.directory = directory
        (port,) = free_ports(1)
        self.endpoint = f"127.0.0.1:{port}"
        self.config = directory / "workerd.toml"
        self.write(**more)
        self.log = directory / "workerd.log"

    def write(self, *, labels: str = '["role=db"]', consul: str = "", timing: str = "") -> None:
        kind = "consul" if consul else "static"
        self.config.write_text(
            f'name = "web-01"\nstate_dir = "state"\nslots = 4\nlabels = {labels}\n'
            f'[listen]\naddress = "tcp://{self.endpoint}"\n'
            f'[discovery]\nkind = "{kind}"\n'
            + (f'[discovery.consul]\naddress = "{consul}"\n' if consul else "")
            + (f"[timing]\n{timing}\n" if timing else "")
        )

    def start(self) -> Daemon:
        daemon = Stopped(self.argv, log=self.log)
        daemon.wait_said("READY=1")
        return daemon

    @property
    def argv(self) -> list[str | Path]:
        return [PROGRAMS / "workerd", "--config", self.config]

    def refused(self) -> str:
        """What a start that must fail says."""
        ended = subprocess.run(
            self.argv, capture_output=True, text=True, timeout=60, check=False, env=clean_environment()
        )
        assert ended.returncode == 1
        assert "Traceback" not in ended.stderr
        return ended.stderr


@pytest.fixture
def workerd(tmp_path: Path) -> Workerd:
    return Workerd(tmp_path)


@contextmanager
def leading(workerd: Workerd, epoch: int = 1) -> Iterator[ScriptedLeader]:
    with ScriptedLeader(workerd.endpoint, epoch=epoch) as leader:
        leader.greet()
        yield leader


def sleeper(directory: Path, name: str, then: str = "") -> list[str]:
    """A program that writes its pid to a file and then waits for TERM."""
    return [
        "sh",
        "-c",
        f"echo $$ > {directory}/{name}.tmp; mv {directory}/{name}.tmp {directory}/{name}; {then} exec sleep 600",
    ]


def pid_in(file: Path) -> int:
    assert wait_until(file.exists), f"{file.name} was not written"
    return int(file.read_text())


def is_gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in ("Z", "X")


@contextmanager
def ending(*handles: int) -> Iterator[None]:
    """Whatever happens, these processes, named by pidfds, are killed afterwards."""
    try:
        yield
    finally:
        for handle in handles:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


# ---- work


def test_an_attempt_runs_and_its_result_says_everything(workerd: Workerd) -> None:
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec("sh", "-c", "echo out; echo err >&2; exit 3"), "job@20261123T020000Z~0~1")
        outcome = leader.outcome("job@20261123T020000Z~0~1")
        assert (outcome.state, outcome.reason, outcome.exit_code) == ("failed", "exit", 3)
        assert (outcome.stdout.head + outcome.stdout.tail, outcome.stderr.head + outcome.stderr.tail) == (
            b"out\n",
            b"err\n",
        )
        assert outcome.started_utc_ms is not None
        assert outcome.finished_utc_ms is not None
        assert outcome.started_utc_ms <= outcome.finished_utc_ms
        leader.acknowledge("job@20261123T020000Z~0~1")
        assert daemon.stop() == 0
        assert wait_until(lambda: _beats(leader)[-1].state == "leaving")
        daemon.wait_said("STOPPING=1")


def test_a_repeated_dispatch_starts_nothing_anew(workerd: Workerd) -> None:
    witness = workerd.directory / "witness"
    with workerd.start(), leading(workerd) as leader:
        what = spec("sh", "-c", f"echo ran >> {witness}")
        for _ in range(20):
            leader.dispatch(what, "j@20261123T020000Z~0~1")
        leader.outcome("j@20261123T020000Z~0~1")
        leader.acknowledge("j@20261123T020000Z~0~1")
        since = len(leader.frames)
        leader.dispatch(what, "j@20261123T020000Z~0~1")
        assert leader.wait_for(Refused, since=since).refusals[0].reason == "tombstone"
        leader.dispatch(spec("true"), "j@20261123T020000Z~1~1")
        leader.outcome("j@20261123T020000Z~1~1")
    assert witness.read_text() == "ran\n"


def test_results_come_again_until_they_are_acknowledged(workerd: Workerd) -> None:
    with workerd.start(), leading(workerd) as leader:
        leader.dispatch(spec("true"), "a~0~1")
        leader.outcome("a~0~1")
        for _ in range(2):
            leader.outcome("a~0~1", since=len(leader.frames))
        leader.acknowledge("a~0~1")
        assert wait_until(lambda: _beats(leader)[-1].journal_depth == 0)
        since = len(leader.frames)
        leader.wait_for(Heartbeat, since=since)
        assert not any(isinstance(frame.message, Result) for frame in leader.frames[since:])


def _beats(leader: ScriptedLeader) -> list[Heartbeat]:
    leader.listen(100)
    return [frame.message for frame in leader.frames if isinstance(frame.message, Heartbeat)]


def test_cancel_ends_a_child_and_an_expired_order_never_starts(workerd: Workerd) -> None:
    pid_file = workerd.directory / "pid"
    with workerd.start(), leading(workerd) as leader:
        leader.dispatch(spec(*sleeper(workerd.directory, "pid")), "a~0~1")
        pid = pid_in(pid_file)
        leader.wait_for(Started)
        leader.say(Cancel([Cancellation("a~0~1")]))
        assert leader.outcome("a~0~1").state == "cancelled"
        assert wait_until(lambda: is_gone(pid))
        late = leader.order("b~0~1", ttl_ms=-1)
        leader.say(Dispatch([spec("touch", str(workerd.directory / "ran"))], [late]))
        assert [(r.attempt, r.reason) for r in leader.wait_for(Refused).refusals] == [("b~0~1", "expired")]
    assert not (workerd.directory / "ran").exists()


def test_without_an_echo_a_guarded_attempt_ends_and_an_unguarded_one_goes_on(tmp_path: Path) -> None:
    workerd = Workerd(
        tmp_path,
        timing="beat_seconds = 0.2\nsuspect_seconds = 0.6\nfence_seconds = 2\nfence_kill_seconds = 3\n"
        "lost_seconds = 5\nexpiry_seconds = 2",
    )
    with workerd.start(), leading(workerd) as leader:
        # The shell ignores TERM: only KILL at the end of the term helps.
        written = f"echo $$ > {tmp_path}/one.tmp; mv {tmp_path}/one.tmp {tmp_path}/one"
        stubborn = ["sh", "-c", f"trap '' TERM; {written}; while :; do sleep 1; done"]
        leader.dispatch(spec(*stubborn, guarded=True, kill_after_ms=600_000), "a~0~1")
        leader.dispatch(spec(*sleeper(tmp_path, "two")), "b~0~1")
        one, two = pid_in(tmp_path / "one"), pid_in(tmp_path / "two")
        beats = leader.wait_for(Heartbeat)
        while beats.number < 15:  # 3 s of beats: longer than the term, and all of them echoed
            since = len(leader.frames)
            leader.echo()
            beats = leader.wait_for(Heartbeat, since=since)
        assert not is_gone(one)
        outcome = leader.outcome("a~0~1")
        assert (outcome.state, outcome.reason) == ("lost", "fenced")
        assert is_gone(one)
        assert not is_gone(two)


# ---- ends


def test_term_finishes_what_runs_and_refuses_what_comes(workerd: Workerd) -> None:
    go = workerd.directory / "go"
    wait_for_go = f"while ! [ -e {go} ]; do sleep 0.05; done; echo done"
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec("sh", "-c", wait_for_go), "a~0~1")
        leader.wait_for(Started)
        daemon.send(signal.SIGTERM)
        daemon.wait_said("STOPPING=1")
        leader.dispatch(spec("true"), "b~0~1")
        assert [refusal.reason for refusal in leader.wait_for(Refused).refusals] == ["draining"]
        go.touch()
        assert leader.outcome("a~0~1").state == "succeeded"
        leader.acknowledge("a~0~1")
        assert daemon.wait() == 0


@pytest.mark.parametrize("numbers", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]])
def test_a_second_term_or_an_interrupt_ends_everything_at_once(
    workerd: Workerd, numbers: list[signal.Signals]
) -> None:
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec(*sleeper(workerd.directory, "pid")), "a~0~1")
        pid = pid_in(workerd.directory / "pid")
        leader.wait_for(Started)
        for number in numbers:
            daemon.send(number)
            daemon.wait_said("STOPPING=1")
        assert daemon.wait() == 0
        assert wait_until(lambda: is_gone(pid))
    with workerd.start(), leading(workerd, epoch=2) as leader:
        assert leader.outcome("a~0~1").state == "lost"


def test_kill_9_takes_the_children_along_and_the_next_start_calls_them_lost(workerd: Workerd) -> None:
    witness = workerd.directory / "starts"
    what = spec(*sleeper(workerd.directory, "pid", then=f"echo s >> {witness};"))
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec("true"), "done~0~1")
        leader.outcome("done~0~1")
        leader.dispatch(what, "a~0~1")
        pid = pid_in(workerd.directory / "pid")
        leader.wait_for(Started)
        first = leader.greet()
        assert first.running == ["a~0~1"]
        old_nonce = leader.nonce
        daemon.kill()
        assert wait_until(lambda: is_gone(pid))
        with workerd.start():
            inventory = leader.greet()
            assert (inventory.running, sorted(inventory.ended)) == ([], ["a~0~1", "done~0~1"])
            assert leader.nonce != old_nonce
            since = len(leader.frames)
            leader.dispatch(what, "a~0~1")
            assert leader.outcome("a~0~1", since=since).state == "lost"
            leader.dispatch(spec("true"), "b~0~1")
            assert leader.outcome("b~0~1").state == "succeeded"
            assert leader.outcomes()["done~0~1"].state == "succeeded"
    assert witness.read_text() == "s\n"


def test_a_killed_helper_costs_what_it_had_in_hand_and_nothing_more(workerd: Workerd) -> None:
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec(*sleeper(workerd.directory, "pid")), "a~0~1")
        pid = pid_in(workerd.directory / "pid")
        leader.wait_for(Started)
        (helper,) = _children_of(daemon.pid)
        os.kill(helper, signal.SIGKILL)
        outcome = leader.outcome("a~0~1")
        assert (outcome.state, outcome.reason) == ("lost", "lost")
        assert is_gone(pid)
        leader.dispatch(spec("true"), "b~0~1")
        assert leader.outcome("b~0~1").state == "succeeded"


def test_a_stopped_helper_that_outlives_a_killed_workerd_is_ended_before_the_next_one_begins(
    workerd: Workerd,
) -> None:
    place = workerd.directory
    tree = sleeper(
        place, "pid", then=f"(setsid sh -c 'echo $$ > {place}/x; mv {place}/x {place}/far; exec sleep 600') &"
    )
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec(*tree), "a~0~1")
        pids = [pid_in(place / "pid"), pid_in(place / "far")]
        leader.wait_for(Started)
        (helper,) = _children_of(daemon.pid)
        handles = [os.pidfd_open(one) for one in (helper, *pids)]
        os.kill(helper, signal.SIGSTOP)
        daemon.kill()
        assert not any(map(is_gone, [helper, *pids]))
        # who merely has the file open is nobody's leftover
        with (place / "state" / "scratch.lock").open("rb") as file:
            reader = subprocess.Popen(["sleep", "600"], stdin=file)
        with ending(*handles, os.pidfd_open(reader.pid)), workerd.start() as again:
            assert all(map(is_gone, [helper, *pids]))  # before the new one was ready
            told = f"of an earlier workerd was stopped or hung: killed, with its children  pid={helper} children=2"
            assert told in again.log.read_text()
            assert leader.greet().ended == ["a~0~1"]
            assert leader.outcome("a~0~1").state == "lost"
            leader.dispatch(spec("true"), "b~0~1")
            assert leader.outcome("b~0~1").state == "succeeded"
            assert reader.poll() is None
    reader.wait()


def test_a_helper_that_ends_by_itself_after_its_workerd_is_waited_for_and_not_killed(
    workerd: Workerd,
) -> None:
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec(*sleeper(workerd.directory, "pid")), "a~0~1")
        pid = pid_in(workerd.directory / "pid")
        daemon.kill()
        with workerd.start() as again:
            assert is_gone(pid)
            assert "was stopped or hung" not in again.log.read_text()


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_torn_journal_does_not_keep_a_worker_from_starting(workerd: Workerd) -> None:
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec("true"), "a~0~1")
        leader.outcome("a~0~1")
        daemon.kill()
    journal = workerd.directory / "state" / "journal"
    with journal.open("ab") as stream:
        stream.write(b"\x40\0\0\0half a rec")
    with workerd.start(), leading(workerd) as leader:
        assert leader.outcome("a~0~1").state == "succeeded"
    assert "journal cut after its last good record" in workerd.log.read_text()


def test_a_full_disk_ends_the_worker_before_anything_unjournaled_is_said(workerd: Workerd) -> None:
    journal = workerd.directory / "state" / "journal"
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec("head", "-c", "9000", "/dev/zero"), "a~0~1")  # more than the log will hold
        leader.outcome("a~0~1")
        room = journal.stat().st_size + 10
        subprocess.run(["prlimit", f"--pid={daemon.pid}", f"--fsize={room}"], check=True, timeout=30)
        leader.dispatch(spec("touch", str(workerd.directory / "ran")), "b~0~1")
        assert daemon.wait() == 1
        assert "the journal cannot be written" in workerd.log.read_text()
    with workerd.start(), leading(workerd) as leader:
        assert leader.greet().ended == ["a~0~1"]
    assert not (workerd.directory / "ran").exists()


# ---- starts that must fail, and what a start tells


def test_a_port_in_use_is_one_sentence(workerd: Workerd) -> None:
    with socket.create_server(("127.0.0.1", int(workerd.endpoint.split(":")[1]))):
        said = workerd.refused()
    assert said == f"workerd: tcp://{workerd.endpoint}: workerd cannot listen there: Address already in use\n"


def test_a_state_directory_in_use_is_one_sentence(workerd: Workerd) -> None:
    with workerd.start():
        assert "the state directory is in use by another workerd" in workerd.refused()


def test_a_state_directory_that_cannot_be_written_is_one_sentence(workerd: Workerd) -> None:
    (workerd.directory / "state").write_text("a file is in the way")
    assert "the state directory cannot be written" in workerd.refused()


def test_faulty_settings_are_told_with_their_place(workerd: Workerd) -> None:
    workerd.config.write_text("slots = 0\nslotz = 3\n")
    said = workerd.refused()
    assert f"{workerd.config}:1:1: slots" in said
    assert f"{workerd.config}:2:1: slotz: unknown key" in said


def test_hangup_reads_the_labels_anew_and_keeps_the_old_ones_when_the_file_is_faulty(
    workerd: Workerd,
) -> None:
    with workerd.start() as daemon, leading(workerd) as leader:
        workerd.write(labels='["role=web", "disk=ssd"]')
        daemon.forget()
        since = len(leader.frames)
        daemon.send(signal.SIGHUP)
        daemon.wait_said("READY=1")
        assert "RELOADING=1" in daemon.said
        assert wait_until(lambda: ["role=web", "disk=ssd"] in _labels_told(leader, since))
        workerd.config.write_text("labels = 3\n")
        daemon.forget()
        daemon.send(signal.SIGHUP)
        daemon.wait_said("READY=1")
        assert leader.greet().labels == ["role=web", "disk=ssd"]
    assert "settings not read, those in force stay" in workerd.log.read_text()


def _labels_told(leader: ScriptedLeader, since: int) -> list[list[str]]:
    leader.listen(100)
    return [f.message.labels for f in leader.frames[since:] if isinstance(f.message, Inventory)]


def test_status_says_how_the_worker_is_and_the_watchdog_is_fed(workerd: Workerd) -> None:
    with workerd.start() as daemon:
        daemon.wait_said("WATCHDOG=1")
        assert "STATUS=ready: 0 of 4 slots busy, no leader heard yet" in daemon.said
        with leading(workerd) as leader:
            daemon.wait_said(f"STATUS=ready: 0 of 4 slots busy, leader of epoch 1 at {leader.results}")


# ---- Consul


def test_a_worker_is_found_in_consul_while_it_runs_and_gone_when_it_has_ended(
    tmp_path: Path, consul: ConsulAgent
) -> None:
    workerd = Workerd(tmp_path, consul=consul.address)
    client = consul.client()

    def mine() -> list[tuple[bool, str]]:
        entries = client.services("workerd")[1]
        return [
            (e.is_passing, json.dumps(dict(e.meta)))
            for e in entries
            if e.meta.get("endpoint") == workerd.endpoint
        ]

    with workerd.start() as daemon:
        assert wait_until(lambda: any(passing for passing, _ in mine()))
        entry = next(e for e in client.services("workerd")[1] if e.meta["endpoint"] == workerd.endpoint)
        assert f"{entry.address}:{entry.port}" == workerd.endpoint
        assert (entry.meta["slots"], entry.meta["worker_name"]) == ("4", "web-01")
        assert labels_in(entry.meta) == ("role=db",)
        assert entry.meta["worker_id"] == (tmp_path / "state" / "worker-id").read_text().strip()
        assert daemon.stop() == 0
        assert mine() == []


def test_a_consul_that_comes_late_or_loses_its_memory_gets_the_worker_by_itself(
    tmp_path: Path, own_consul: ConsulAgent
) -> None:
    workerd = Workerd(tmp_path, consul=own_consul.address)

    def is_found(client: ConsulClient) -> bool:
        return any(entry.is_passing for entry in client.services("workerd")[1])

    own_consul.stop()
    with workerd.start() as daemon, leading(workerd) as leader:
        leader.dispatch(spec("true"), "a~0~1")
        assert leader.outcome("a~0~1").state == "succeeded"
        daemon.wait_said(
            f"STATUS=ready: 0 of 4 slots busy, leader of epoch 1 at {leader.results}; "
            "not registered in Consul, trying again"
        )
        for _ in range(2):
            own_consul.start()
            client = own_consul.client()
            assert wait_until(lambda client=client: is_found(client))
            own_consul.stop()
