"""The lock on the state directory, between processes as it is meant to be."""

import subprocess
import sys
from pathlib import Path

import pytest

from schedulerd.adapters.election_file import FileLock
from schedulerd.errors import SettingsError

HOLD = """
import sys, pathlib
from schedulerd.adapters.election_file import FileLock
election = FileLock(pathlib.Path(sys.argv[1]))
print(election.acquire(), flush=True)
sys.stdin.read()
"""


def test_only_one_process_leads_and_its_end_frees_the_lock(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        ours = FileLock(tmp_path)
        assert not ours.acquire()
        assert ours.holder() == (
            f"{tmp_path}/leader.lock: process {other.pid} holds the lock; "
            "only one schedulerd can use what it guards"
        )
        other.kill()
        other.wait()
    assert ours.acquire()
    assert ours.acquire()  # again is still ours
    ours.close()


def test_closing_frees_the_lock_and_another_can_have_it(tmp_path: Path):
    first, second = FileLock(tmp_path), FileLock(tmp_path)
    assert first.acquire()
    assert not second.acquire()
    first.close()
    first.close()
    assert second.acquire()
    second.close()


def test_a_child_of_the_leader_does_not_keep_the_lock(tmp_path: Path):
    leader = FileLock(tmp_path)
    assert leader.acquire()
    with subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"  # what it would inherit it has by now
        leader.close()
        after = FileLock(tmp_path)
        is_free = after.acquire()
        after.close()
        child.kill()
    assert is_free


@pytest.mark.parametrize("kind", ["missing", "file", "link"])
def test_a_state_directory_that_is_none_is_one_sentence(kind: str, tmp_path: Path):
    place = tmp_path / "state"
    if kind == "file":
        place.write_text("")
    elif kind == "link":  # a lock that somebody pointed elsewhere would be opened and emptied
        place.mkdir()
        (tmp_path / "other").write_text("precious")
        (place / "leader.lock").symlink_to(tmp_path / "other")
    with pytest.raises(SettingsError, match=r"leader\.lock: the lock cannot be opened: "):
        FileLock(place).acquire()
    if kind == "link":
        assert (tmp_path / "other").read_text() == "precious"
