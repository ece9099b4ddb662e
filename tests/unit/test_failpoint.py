"""Failpoints: off by themselves, read in one go at the start, and acting exactly at the passing they were given."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator
from pathlib import Path

import pytest

import schedulerd
from schedulerd.errors import SettingsError
from schedulerd.hostkit import failpoint
from schedulerd.protocol.messages import Dispatch, Result, ResultAck

ROOT = Path(schedulerd.__file__).parents[1]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoint.arm({})


def arm(text: str) -> None:
    failpoint.arm({failpoint.VARIABLE: text})


def failed(name: str, times: int) -> list[int]:
    """At which of so many passings the point raised."""
    found = []
    for passing in range(1, times + 1):
        try:
            failpoint.at(name)
        except OSError as error:
            found.append(passing if error.errno == errno.ENOSPC else 0)
    return found


def test_nothing_is_armed_unless_the_environment_says_so() -> None:
    failpoint.arm({})
    assert failpoint.armed is None
    assert failed("fire.after_commit", 5) == []


@pytest.mark.parametrize(
    ("hits", "expected"), [("", [1]), ("@3", [3]), ("@2-4", [2, 3, 4]), ("@4-", [4, 5, 6])]
)
def test_a_point_acts_at_the_passings_it_was_given_and_no_other_does(hits: str, expected: list[int]) -> None:
    arm(f" fire.after_commit=error:ENOSPC{hits} ;; ack.after_send=error:EIO@9")
    assert failed("fire.before_commit", 6) == []
    assert failed("fire.after_commit", 6) == expected


def test_each_passes_a_point_once_however_many_things_stand_for_it() -> None:
    arm("ack.after_send=error:ENOSPC@2")
    points: dict[type, str] = {ResultAck: "ack.after_send", Dispatch: "dispatch.after_send"}
    failpoint.each(points, [ResultAck([]), Result([]), ResultAck([])])
    with pytest.raises(OSError, match="ack"):
        failpoint.each(points, [Result([]), ResultAck([])])


def test_a_torn_write_leaves_half_of_it(tmp_path: Path) -> None:
    arm("journal.torn=error:EIO@2")
    path = tmp_path / "file"
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    failpoint.tear("journal.torn", file, b"12345678")
    assert path.read_bytes() == b""
    with pytest.raises(OSError):
        failpoint.tear("journal.torn", file, b"12345678")
    os.close(file)
    assert path.read_bytes() == b"1234"


def test_actions_are_done_in_turn_and_kill_and_stop_mean_the_process_itself() -> None:
    begun = time.monotonic()
    process = _hitting("fire.after_commit=sleep:300+kill")
    assert process.wait(30) == -signal.SIGKILL
    assert time.monotonic() - begun >= 0.3
    assert process.stderr is not None
    assert process.stderr.read() == b"failpoint fire.after_commit: sleep:300+kill at hit 1\n"
    process.stderr.close()


def test_a_stopped_process_goes_on_when_it_is_told_to() -> None:
    process = _hitting("fire.after_commit=stop")
    assert os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT) is not None
    process.send_signal(signal.SIGCONT)
    assert process.wait(30) == 0
    assert process.stderr is not None
    process.stderr.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fire.after=kill", "no failpoint .fire.after."),
        ("fire.after_commit=explode", '"explode" is no action'),
        ("fire.after_commit=error:ELOOP", '"error:ELOOP" is no action'),
        ("fire.after_commit=kill+", '"" is no action'),
        ("fire.after_commit", "not of the form"),
        ("fire.after_commit=kill@x", "not of the form"),
        ("fire.after_commit=kill@0", "count from 1"),
        ("fire.after_commit=kill@4-2", "backwards"),
    ],
)
def test_what_it_does_not_know_is_refused_in_one_sentence(text: str, found: str) -> None:
    with pytest.raises(SettingsError, match=found) as caught:
        arm(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("program", ["schedulerd", "workerd"])
def test_both_daemons_refuse_to_start_with_an_unknown_one(program: str, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("")
    ended = subprocess.run(
        [Path(sys.executable).parent / program, "--config", config],
        env={**os.environ, failpoint.VARIABLE: "nowhere=kill"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f'{program}: {failpoint.VARIABLE}: there is no failpoint "nowhere"')
    assert len(ended.stderr.splitlines()) == 1


def test_a_point_that_is_off_costs_next_to_nothing() -> None:
    failpoint.arm({})
    passings = 100_000
    best = min(timeit.repeat(lambda: failpoint.at("fire.after_commit"), number=passings, repeat=5))
    assert best / passings < 2e-6  # some 60 ns on a machine of today; a batch passes a handful of them


def test_every_point_stands_in_the_code_in_the_protocols_table_and_in_the_test_it_names() -> None:
    code = "\n".join(
        path.read_text()
        for tree in ("schedulerd", "workerd")
        for path in sorted((ROOT / tree).rglob("*.py"))
        if path.name != "failpoint.py"
    )
    assert set(re.findall(r'"([a-z]+\.(?:before|after|torn)[a-z_]*)"', code)) == set(failpoint.POINTS)
    page = (ROOT / "docs/explanation/protocol.md").read_text()
    rows = dict(re.findall(r"^\| .+? \| `([a-z]+\.[a-z_]+)` \| `(test_\w+)` \|$", page, re.MULTILINE))
    assert list(rows) == list(failpoint.POINTS)
    for name, test in rows.items():
        assert _uses(test, name), f"{test} does not use {name}"


def _uses(test: str, point: str) -> bool:
    """There is a test of this name, in a file that arms this point."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text()
        if re.search(rf"^def {test}\(", text, re.MULTILINE):
            return re.search(rf'["; ]{re.escape(point)}["=]', text) is not None
    return False


def _hitting(text: str) -> subprocess.Popen[bytes]:
    """A process that arms these points and passes fire.after_commit."""
    program = (
        "import os\nfrom schedulerd.hostkit import failpoint\n"
        "failpoint.arm(os.environ)\nfailpoint.at('fire.after_commit')\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, failpoint.VARIABLE: text},
        stderr=subprocess.PIPE,
    )
