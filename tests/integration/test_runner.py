"""What the helper process gives to children, and what is told of them, with real processes."""

import hashlib
import json
import os
import pwd
import resource
import signal
import stat
import sys
from pathlib import Path

import pytest
from support.runner_rig import RUN, Rig, shell, spec

from schedulerd.hostkit.clock import boot_ms
from schedulerd.protocol.messages import Captured
from workerd.events import ChildEnded, ChildExpired, ChildStarted


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path / "scratch")
    yield rig
    rig.runner.close()


# ---- what a child is given and what is told of it


def test_a_command_is_started_and_its_end_told_with_output_and_usage(rig):
    attempt = rig.spawn(shell("echo out; echo err >&2; exit 3"))
    started = rig.started(attempt)
    outcome = rig.outcome(attempt)
    assert (outcome.state, outcome.reason, outcome.exit_code, outcome.signal) == ("failed", "exit", 3, None)
    assert outcome.stdout == Captured(b"out\n")
    assert outcome.stderr == Captured(b"err\n")
    assert outcome.started_utc_ms == started.started_utc_ms
    assert outcome.finished_utc_ms >= outcome.started_utc_ms
    assert outcome.usage.output_bytes == 8
    assert outcome.usage.wall_ms >= 0
    assert [type(event) for event in rig.events] == [ChildStarted, ChildEnded]


def test_cpu_time_is_counted(rig):
    outcome = rig.run(spec(sys.executable, "-S", "-c", "sum(range(3_000_000))"))
    assert outcome.state == "succeeded"
    assert outcome.usage.user_ms + outcome.usage.system_ms > 0
    assert outcome.usage.peak_bytes > 1 << 20


def test_success_codes_decide_what_succeeds(rig):
    assert rig.run(shell("exit 4", success_codes=[0, 4])).state == "succeeded"
    assert rig.run(shell("exit 0", success_codes=[4])).state == "failed"


def test_death_by_a_signal_is_told(rig):
    outcome = rig.run(shell("kill -SEGV $$"))
    assert (outcome.state, outcome.reason, outcome.exit_code, outcome.signal) == (
        "failed",
        "signal",
        None,
        signal.SIGSEGV,
    )
    assert "signal 11" in outcome.detail


def test_a_child_starts_with_default_signals_an_empty_mask_and_descriptors_0_to_2(rig):
    shown = (
        "import os;s=dict(l.split(':',1) for l in open('/proc/self/status'));"
        "print(sorted(map(int,os.listdir('/proc/self/fd')))[:-1], s['SigIgn'].strip(), s['SigBlk'].strip(),"
        "os.getpgid(0)==os.getpid(), os.readlink('/proc/self/fd/0'))"
    )
    outcome = rig.run(
        shell(f'grep -E "SigIgn|SigBlk" /proc/self/status; exec {sys.executable} -S -c "{shown}"')
    )
    lines = outcome.stdout.head.decode().splitlines()
    blocked, ignored = (int(line.split()[1], 16) for line in lines[:2])
    assert blocked == 0
    assert ignored & ~(3 << 31) == 0  # the C library keeps 32 and 33 for itself
    assert lines[2].startswith("[0, 1, 2] ")
    assert lines[2].endswith(" True /dev/null")


def test_a_child_keeps_the_soft_limit_of_descriptors(rig):
    outcome = rig.run(shell("ulimit -Sn"))
    assert int(outcome.stdout.head) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_standard_input_is_given_whole(rig):
    data = os.urandom(300_000)
    outcome = rig.run(spec("/usr/bin/sha256sum"), stdin=data)
    assert outcome.stdout.head.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_templates_and_environment_reach_the_child(rig):
    outcome = rig.run(
        spec(
            "/bin/sh",
            "-c",
            'echo "$1|$A|$B|$SCHEDULERD_ITEM|$SCHEDULERD_WORKER|$HOME"',
            "sh",
            "{{ item.p }}",
            env={"A": "{{ run_id }}"},
        ),
        item='{"p":"x y"}',
        env={"B": "given"},
    )
    shown = outcome.stdout.head.decode().rstrip("\n").split("|")
    assert shown[:5] == ["x y", RUN, "given", '{"p":"x y"}', "w1"]
    assert shown[5] == pwd.getpwuid(os.getuid()).pw_dir


def test_items_become_one_argument_each(rig):
    outcome = rig.run(
        spec("/usr/bin/printf", "<%s>", "{{ items.p }}", chunked=True), item='[{"p":"a b"},{"p":"c"}]'
    )
    assert outcome.stdout.head == b"<a b><c>"


def test_shell_text_is_quoted(rig):
    outcome = rig.run(shell("printf '<%s>' {{ item }}"), item=json.dumps('a\'; echo "$HOME"\n`id`'))
    assert outcome.stdout.head.decode() == '<a\'; echo "$HOME"\n`id`>'


def test_a_large_item_comes_in_a_private_file_that_is_removed(rig):
    item = json.dumps(["x" * 100] * 1000)
    outcome = rig.run(
        shell(
            'test -z "${SCHEDULERD_ITEM+set}" && stat -c %a "$SCHEDULERD_ITEMS_FILE" && cat "$SCHEDULERD_ITEMS_FILE"',
            chunked=True,
            output_limit=1 << 20,
        ),
        item=item,
    )
    assert outcome.stdout.head.decode() == "600\n" + item
    assert list(rig.scratch.iterdir()) == []


def test_a_script_runs_by_its_first_line_or_else_by_the_shell(rig):
    by_line = rig.run(
        spec(kind="script", text=f"#!{sys.executable} -S\nimport sys; print(sys.argv[0], {{{{ subtask }}}})")
    )
    path, number = by_line.stdout.head.decode().split()
    assert (by_line.state, number) == ("succeeded", "0")
    assert Path(path).parent.parent == rig.scratch
    by_shell = rig.run(
        spec(kind="script", text='echo "$0"\nstat -c %a "$0"\nset -eu\nfalse\necho not here\n')
    )
    path, mode = by_shell.stdout.head.decode().split()
    assert (by_shell.exit_code, mode) == (1, "700")
    assert stat.S_IMODE(rig.scratch.stat().st_mode) & 0o077 == 0
    assert list(rig.scratch.iterdir()) == []


def test_a_working_directory_is_entered_and_left_again(rig, tmp_path):
    (tmp_path / "prog").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "prog").chmod(0o755)
    assert rig.run(spec("./prog", cwd=str(tmp_path))).stdout.head.decode().strip() == str(tmp_path)
    assert rig.run(shell("pwd")).stdout.head.decode().strip() == os.getcwd()


# ---- what cannot start


@pytest.mark.parametrize(
    ("faulty", "detail"),
    [
        (
            spec("no-such-program-here"),
            'program "no-such-program-here" was not found; PATH is /usr/local/sbin',
        ),
        (spec("/no/such/program"), 'program "/no/such/program" cannot be started: No such file or directory'),
        (spec("/etc/passwd"), 'program "/etc/passwd" cannot be started: Permission denied'),
        (spec("/"), 'program "/" cannot be started: Permission denied'),
        (
            spec("true", cwd="/no/such/dir"),
            'working directory "/no/such/dir" cannot be entered: No such file',
        ),
        (
            spec("true", cwd="/etc/passwd"),
            'working directory "/etc/passwd" cannot be entered: Not a directory',
        ),
        (spec("true", "a\0b"), '"true" cannot be started: embedded null'),
        (spec("true", "x" * 200_000), 'program "true" cannot be started: Argument list too long'),
        (spec("true", env={"A=B": "x"}), '"true" cannot be started: illegal environment variable name'),
        (spec(), "there is no program to run"),
        (spec(kind="dance"), 'kind "dance" is not known'),
        (
            spec(kind="script", text="#!/no/such/interpreter\n"),
            "the interpreter named in its first line was not found",
        ),
    ],
)
def test_what_cannot_start_fails_alone_and_says_why(rig, faulty, detail):
    outcome = rig.run(faulty)
    assert (outcome.state, outcome.reason, outcome.started_utc_ms) == ("failed", "spawn", None)
    assert detail in outcome.detail
    assert rig.run(spec("true")).state == "succeeded"
    assert not any(
        isinstance(event, ChildStarted) and event.attempt == outcome.attempt for event in rig.events
    )
    assert list(rig.scratch.iterdir()) == []


def test_a_template_without_its_value_fails_that_attempt_alone(rig):
    sound, faulty = (
        rig.spawn(spec("echo", "{{ item.path }}"), item=item) for item in ('{"path":"p"}', '{"x":1}')
    )
    outcome = rig.outcome(faulty)
    assert (outcome.state, outcome.reason) == ("failed", "template")
    assert outcome.detail == 'item has no field "path"; it has x'
    assert rig.outcome(sound).stdout.head == b"p\n"


def test_an_attempt_whose_expiry_is_over_never_starts(rig, tmp_path):
    late = rig.spawn(shell(f"touch {tmp_path}/started"), expiry_clock_ms=boot_ms() - 1)
    rig.wait(lambda e: isinstance(e, ChildExpired) and e.attempt == late)
    assert rig.run(spec("true")).state == "succeeded"
    assert not (tmp_path / "started").exists()


# ---- output


def test_output_beyond_the_limit_keeps_head_and_tail(rig):
    outcome = rig.run(shell("seq 1 100000", output_limit=100))
    whole = "".join(f"{n}\n" for n in range(1, 100_001)).encode()
    assert outcome.stdout == Captured(whole[:50], whole[-50:], len(whole) - 100)
    assert outcome.usage.output_bytes == len(whole)


def test_a_talkative_child_does_not_keep_others_waiting(rig):
    loud = rig.spawn(spec("yes"))
    rig.started(loud)
    for _ in range(5):
        assert rig.run(spec("true")).state == "succeeded"
    rig.runner.kill(loud, True, 0)
    outcome = rig.outcome(loud)
    assert outcome.state == "cancelled"
    assert len(outcome.stdout.head) + len(outcome.stdout.tail) <= 65_536


def test_bytes_are_kept_as_they_are(rig):
    outcome = rig.run(shell(r"printf '\377\000\033[2J'"))
    assert outcome.stdout.head == b"\xff\x00\x1b[2J"
