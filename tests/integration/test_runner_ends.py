"""How children end - by themselves, by timeout, by order, with the helper, with the worker - with real processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import pytest
from support.runner_rig import Reports, Rig, shell, spec, wait_gone
from support.waiting import wait_until

from schedulerd.protocol.messages import Captured
from workerd.adapters.runner import Runner
from workerd.events import ChildEnded, ChildStarted, HelperDied
from workerd.spawner.leftovers import StillThere, end_leftovers, take


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path / "scratch")
    yield rig
    rig.runner.close()


@pytest.fixture
def reports(tmp_path):
    reports = Reports(tmp_path)
    yield reports
    reports.close()


# ---- ends


def test_timeout_ends_the_whole_group_with_term(rig, reports):
    text = f"sleep 600 & echo $! > {reports.path}; echo $$ > {reports.path}; wait"
    attempt = rig.spawn(shell(text, timeout_ms=1000))
    handles = reports.handles(2)
    outcome = rig.outcome(attempt)
    assert (outcome.state, outcome.reason, outcome.signal) == ("timeout", "timeout", signal.SIGTERM)
    assert outcome.detail == "it ran longer than its timeout of 1 s"
    assert outcome.usage.wall_ms >= 1000
    for handle in handles:
        wait_gone(handle)


def test_a_group_that_ignores_term_is_killed(rig, reports):
    text = f"trap '' TERM; echo $$ > {reports.path}; while :; do sleep 600; done"
    attempt = rig.spawn(shell(text, timeout_ms=300, kill_after_ms=300))
    (handle,) = reports.handles(1)
    outcome = rig.outcome(attempt)
    assert (outcome.state, outcome.signal) == ("timeout", signal.SIGKILL)
    assert outcome.usage.wall_ms >= 600
    wait_gone(handle)


def test_a_child_that_ends_in_time_after_term_still_timed_out(rig):
    text = "trap 'echo bye; exit 0' TERM; echo ready; sleep 600 & wait"
    outcome = rig.run(shell(text, timeout_ms=1000))
    assert (outcome.state, outcome.exit_code) == ("timeout", 0)
    assert outcome.stdout.head == b"ready\nbye\n"


def test_cancel_ends_by_term_and_can_be_hurried_to_kill(rig, reports):
    polite = rig.spawn(spec("sleep", "600"))
    stubborn = rig.spawn(
        shell(
            f"trap 'echo termed > {reports.path}' TERM; echo up > {reports.path}; while :; do sleep 0.1; done"
        )
    )
    assert reports.line() == "up"
    rig.started(polite)
    rig.runner.kill(polite, False, 600_000)
    rig.runner.kill(stubborn, False, 600_000)
    outcome = rig.outcome(polite)
    assert (outcome.state, outcome.reason, outcome.signal) == ("cancelled", "cancelled", signal.SIGTERM)
    assert reports.line() == "termed"
    rig.runner.kill(stubborn, True, 0)
    outcome = rig.outcome(stubborn)
    assert (outcome.state, outcome.signal) == ("cancelled", signal.SIGKILL)


def test_a_stopped_child_acts_on_term(rig, reports):
    attempt = rig.spawn(shell(f"trap 'exit 7' TERM; echo $$ > {reports.path}; kill -STOP $$; sleep 600"))
    pid = int(reports.line())
    assert wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T")
    rig.runner.kill(attempt, False, 600_000)
    assert rig.outcome(attempt).exit_code == 7


def test_cancel_right_behind_the_spawn_leaves_exactly_one_end(rig):
    attempt = rig.spawn(spec("sleep", "600"))
    rig.runner.kill(attempt, False, 600_000)
    assert rig.outcome(attempt).state == "cancelled"
    rig.runner.kill(attempt, True, 0)  # ended already: without effect
    assert rig.run(spec("true")).state == "succeeded"
    assert sum(isinstance(e, ChildEnded) and e.outcome.attempt == attempt for e in rig.events) == 1


def test_a_grandchild_that_holds_the_pipe_delays_the_end_two_seconds_and_is_killed(rig, reports):
    before = time.monotonic()
    attempt = rig.spawn(shell(f"sleep 600 & echo $! > {reports.path}; echo done"))
    (handle,) = reports.handles(1)
    outcome = rig.outcome(attempt)
    assert (outcome.state, outcome.stdout.head) == ("succeeded", b"done\n")
    waited_ms = (time.monotonic() - before) * 1000
    assert outcome.usage.wall_ms < waited_ms - 1_900  # it tells the end of the command, not of the wait
    assert waited_ms < 20_000
    wait_gone(handle)


def test_a_grandchild_that_left_the_group_cannot_hold_the_end_up_either(rig, reports):
    attempt = rig.spawn(shell(f"setsid sh -c 'echo $$ > {reports.path}; exec sleep 600' & exec sleep 0"))
    (handle,) = reports.handles(1)
    assert rig.outcome(attempt).state == "succeeded"
    rig.runner.close()  # it is still below the helper, and goes with it
    wait_gone(handle)
    rig.runner = Runner(rig.scratch)


def test_what_is_left_of_a_group_is_killed_when_its_leader_ends(rig, reports):
    attempt = rig.spawn(shell(f"sleep 600 >/dev/null 2>&1 & echo $! > {reports.path}"))
    (handle,) = reports.handles(1)
    assert rig.outcome(attempt).state == "succeeded"
    wait_gone(handle)


def test_many_short_children_leave_neither_zombies_nor_descriptors(rig):
    rig.run(spec("true"))
    helper = rig.runner.helper_pid
    descriptors = len(os.listdir(f"/proc/{helper}/fd"))
    text = "(setsid sleep 0.01 &) >/dev/null 2>&1"  # a double fork: it becomes the helper's
    attempts = [rig.spawn(spec("true")) for _ in range(300)] + [rig.spawn(shell(text)) for _ in range(30)]
    assert {rig.outcome(attempt).state for attempt in attempts} == {"succeeded"}
    assert len(os.listdir(f"/proc/{helper}/fd")) == descriptors
    children = Path(f"/proc/{helper}/task/{helper}/children")
    assert wait_until(lambda: not children.read_text()), f"zombies are left: {children.read_text()}"


def test_started_and_ended_come_once_and_in_order_for_every_attempt(rig):
    attempts = [rig.spawn(spec("true"), is_flushed=False) for _ in range(200)]
    for attempt in attempts:
        rig.outcome(attempt)
    for attempt in attempts:
        told = [
            type(event)
            for event in rig.events
            if attempt == (event.outcome.attempt if isinstance(event, ChildEnded) else event.attempt)
        ]
        assert told == [ChildStarted, ChildEnded]


def test_orders_and_outcomes_larger_than_the_socket_pass_whole(rig):
    data = os.urandom(1 << 20)
    attempts = [rig.spawn(spec("cat", output_limit=1 << 20), stdin=data) for _ in range(8)]
    for attempt in attempts:
        assert rig.outcome(attempt).stdout == Captured(data)


# ---- when one side goes


TREE = "setsid sh -c 'echo $$ > {0}; exec sleep 600' & sleep 600 & echo $! > {0}; echo $$ > {0}; wait"


def test_close_ends_everything_also_what_left_its_session(rig, reports):
    rig.spawn(shell(TREE.format(reports.path)))
    rig.runner.flush()
    handles = reports.handles(3)
    rig.runner.close()
    for handle in handles:
        wait_gone(handle)
    assert list(rig.scratch.iterdir()) == []
    rig.runner = Runner(rig.scratch)


def test_a_lease_that_runs_out_ends_everything_and_a_new_helper_serves_on(rig, reports):
    rig.runner.renew_lease(600)
    attempt = rig.spawn(shell(TREE.format(reports.path)))
    rig.started(attempt)
    handles = reports.handles(3)
    rig.runner.renew_lease(0.2)
    assert "exited with 3" in rig.died().detail
    for handle in handles:
        wait_gone(handle)
    assert rig.runner.helper_pid == 0
    assert rig.run(spec("true")).state == "succeeded"


def test_a_lease_renewed_in_time_keeps_children(rig, reports):
    rig.runner.renew_lease(0.5)
    attempt = rig.spawn(shell("sleep 1"))
    for _ in range(20):
        rig.runner.renew_lease(30)
        rig.runner.flush()
    assert rig.outcome(attempt).state == "succeeded"


def test_children_die_when_the_helper_is_killed_and_it_is_told_once(rig, reports):
    text = f"(sleep 600 & echo $! > {reports.path}; wait) & echo $$ > {reports.path}; wait"
    attempt = rig.spawn(shell(text))
    rig.started(attempt)
    handles = reports.handles(2)
    os.kill(rig.runner.helper_pid, signal.SIGKILL)
    assert "was ended by signal 9" in rig.died().detail
    for handle in handles:
        wait_gone(handle)
    assert rig.run(spec("true")).state == "succeeded"
    assert sum(isinstance(event, HelperDied) for event in rig.events) == 1


def test_the_private_files_of_a_killed_helper_are_removed_with_the_next_start(rig, reports):
    rig.started(rig.spawn(spec(kind="script", text="sleep 600")))
    assert len(list(rig.scratch.iterdir())) == 1
    os.kill(rig.runner.helper_pid, signal.SIGKILL)
    rig.died()
    rig.runner.start()
    assert list(rig.scratch.iterdir()) == []


def test_the_helper_ignores_what_terminals_and_service_managers_send(rig):
    rig.run(spec("true"))
    helper = rig.runner.helper_pid
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(helper, number)
    assert rig.run(spec("true")).state == "succeeded"
    assert rig.runner.helper_pid == helper


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_children_die_with_a_worker_that_is_killed_or_stopped(tmp_path, reports, number):
    program = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        import msgspec
        from schedulerd.protocol.messages import Order, Spec
        from workerd.adapters.runner import Runner
        runner = Runner(Path(sys.argv[1]))
        spec = msgspec.json.decode(sys.argv[2], type=Spec)
        runner.spawn("j@20261123T020000Z~0~1", spec, Order("j@20261123T020000Z~0~1", 0, 1 << 52, 1), "w", 1, 1 << 52)
        runner.flush()
        sys.stdin.readline()
        runner.renew_lease(float(sys.argv[3]))
        runner.flush()
        os.kill(os.getpid(), int(sys.argv[4]))
        """
    )
    encoded = msgspec.json.encode(shell(TREE.format(reports.path))).decode()
    arguments = [
        str(tmp_path / "scratch"),
        encoded,
        "0.3" if number == signal.SIGSTOP else "600",
        str(int(number)),
    ]
    owner = subprocess.Popen([sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, text=True)
    try:
        handles = reports.handles(3)
        owner.stdin.write("go\n")
        owner.stdin.flush()
        for handle in handles:
            wait_gone(handle)
    finally:
        owner.kill()
        owner.communicate()


def test_no_child_starts_while_another_holds_the_helpers_lock(rig, tmp_path):
    lock = take(rig.scratch)
    rig.spawn(shell(f"touch {tmp_path}/started"))
    assert "exited with 4" in rig.died().detail
    os.close(lock)
    assert rig.run(spec("true")).state == "succeeded"
    assert not (tmp_path / "started").exists()


def test_a_lock_whose_holder_cannot_be_ended_is_said_and_not_passed_over(tmp_path):
    scratch = tmp_path / "scratch"
    lock = take(scratch)  # by this process, which does not look for itself
    with pytest.raises(
        StillThere, match=r"scratch\.lock: a process that cannot be seen from here, left by an earlier"
    ):
        end_leftovers(scratch, grace=0.0, patience=0.1)
    os.close(lock)
    assert end_leftovers(scratch) is None


def test_a_helper_that_cannot_be_started_fails_the_attempts_with_a_reason(rig, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    outcome = rig.run(spec("true"))
    assert (outcome.state, outcome.reason) == ("failed", "spawn")
    assert "helper process of workerd cannot be started" in outcome.detail
    monkeypatch.undo()
    assert rig.run(spec("true")).state == "succeeded"
