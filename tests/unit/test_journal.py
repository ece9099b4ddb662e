"""The worker's journal and state directory on a real disk: what a crash, a torn tail and a full disk leave."""

import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedulerd.errors import SettingsError
from schedulerd.protocol.messages import Captured, Outcome
from workerd.adapters.journal import COMPACT_BYTES, MAGIC, Journal, JournalError
from workerd.adapters.statedir import StateDir
from workerd.records import (
    AttemptsAccepted,
    AttemptsAcknowledged,
    AttemptsEnded,
    AttemptsStarting,
    EpochSeen,
    Record,
    Tombstones,
)

RECORDS: list[Record] = [
    EpochSeen(7),
    AttemptsAccepted([("a~0~1", 100), ("b~0~1", 200)]),
    AttemptsStarting(["a~0~1"], 1_800_000_000_000),
    AttemptsEnded([Outcome("a~0~1", "failed", "exit", stdout=Captured(b"\xff\x00", b"", 3))], 150),
    AttemptsAcknowledged(["a~0~1"]),
    Tombstones([("a~0~1", 3_600_100)]),
]


def written(path: Path, records: list[Record] = RECORDS) -> bytes:
    journal = Journal(path)
    journal.append(records, sync=True)
    journal.close()
    return path.read_bytes()


def reread(path: Path) -> list[Record]:
    journal = Journal(path)
    journal.close()
    return journal.records


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path)
    written(path, [EpochSeen(8)])
    assert reread(path) == [*RECORDS, EpochSeen(8)]


def test_every_torn_tail_is_cut_at_the_last_good_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="workerd.journal")
    whole = written(tmp_path / "whole")
    path = tmp_path / "journal"
    ends = set()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        caplog.clear()
        kept = reread(path)
        assert kept == RECORDS[: len(kept)]
        ends.add(len(kept))
        was_torn = len(MAGIC) <= length and path.stat().st_size < length
        assert ("journal cut after its last good record" in caplog.text) == was_torn
        written(path, [EpochSeen(99)])
        assert reread(path) == [*kept, EpochSeen(99)]
    assert ends == set(range(len(RECORDS) + 1))


@pytest.mark.parametrize("zeros", [1, 7, 8, 9, 4096])
def test_a_tail_of_zeros_is_torn_too(tmp_path: Path, zeros: int) -> None:
    """A file that has grown before its last page was written: the zeros are the right sum of nothing."""
    path = tmp_path / "journal"
    path.write_bytes(written(path) + bytes(zeros))
    assert reread(path) == RECORDS
    written(path, [EpochSeen(99)])
    assert reread(path) == [*RECORDS, EpochSeen(99)]


@settings(max_examples=60, deadline=None)
@given(at=st.integers(min_value=8), flip=st.integers(min_value=1, max_value=255))
def test_a_damaged_byte_never_gives_a_record_that_was_not_written(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("j") / "journal"
    data = bytearray(written(path))
    place = len(MAGIC) + at % (len(data) - len(MAGIC))
    data[place] ^= flip
    path.write_bytes(bytes(data))
    kept = reread(path)
    assert kept == RECORDS[: len(kept)]
    assert len(kept) < len(RECORDS)


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"something else entirely")
    with pytest.raises(SettingsError, match="no worker journal of this version"):
        Journal(path)
    assert path.read_bytes() == b"something else entirely"


def test_compaction_replaces_the_file_and_appends_go_on_in_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append(RECORDS * 50, sync=False)
    before = journal.size
    journal.compact([EpochSeen(7)])
    journal.append([EpochSeen(9)], sync=True)
    assert journal.size == path.stat().st_size < before
    journal.close()
    assert reread(path) == [EpochSeen(7), EpochSeen(9)]
    assert [file.name for file in tmp_path.iterdir()] == ["journal"]


def test_a_crash_before_the_rename_leaves_the_old_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path)
    (tmp_path / "journal.new").write_bytes(MAGIC + b"half a compac")
    assert reread(path) == RECORDS
    journal = Journal(path)
    journal.compact([EpochSeen(1)])
    journal.close()
    assert reread(path) == [EpochSeen(1)]


def test_a_journal_that_has_outgrown_its_contents_asks_for_compaction(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    big: Record = AttemptsEnded([Outcome("a", "failed", stdout=Captured(b"x" * (COMPACT_BYTES // 4)))], 1)
    for _ in range(3):
        journal.append([big], sync=False)
    assert not journal.is_mostly_past
    journal.append([big], sync=False)
    assert journal.is_mostly_past
    journal.compact([big, big])
    for _ in range(4):
        journal.append([big], sync=False)
    assert not journal.is_mostly_past
    journal.append([big], sync=False)
    assert journal.is_mostly_past
    journal.close()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from workerd.adapters.journal import Journal, JournalError
from workerd.records import EpochSeen
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
journal.append([EpochSeen(1)], sync=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size + 5, resource.RLIM_INFINITY))
try:
    journal.append([EpochSeen(2)], sync=True)
except JournalError as error:
    print(error)
    sys.exit(3)
"""


def test_a_write_that_fails_is_a_journal_error_and_what_was_there_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 3, ended.stderr
    assert "cannot be written" in ended.stdout
    assert os.strerror(errno.EFBIG) in ended.stdout
    assert reread(path) == [EpochSeen(1)]


def test_a_failing_fsync_is_a_journal_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    read, write = os.pipe()
    os.dup2(write, journal._file)  # a pipe takes the bytes and refuses the fsync
    journal.append([EpochSeen(1)], sync=False)
    with pytest.raises(JournalError, match="cannot be written"):
        journal.append([EpochSeen(1)], sync=True)
    journal.close()
    os.close(read)
    os.close(write)


# ---- the state directory


def test_the_identity_is_drawn_once_and_kept(tmp_path: Path) -> None:
    first = StateDir(tmp_path / "deep" / "state")
    first.close()
    second = StateDir(tmp_path / "deep" / "state")
    assert second.worker == first.worker
    second.close()
    other = StateDir(tmp_path / "other")
    assert other.worker != first.worker
    other.close()


def test_a_directory_in_use_is_refused_until_its_owner_is_gone(tmp_path: Path) -> None:
    first = StateDir(tmp_path)
    with pytest.raises(SettingsError, match="in use by another workerd"):
        StateDir(tmp_path)
    first.close()
    StateDir(tmp_path).close()


def test_a_killed_owner_leaves_the_directory_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from workerd.adapters.statedir import StateDir\n"
        "kept = StateDir(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "locked\n"
        with pytest.raises(SettingsError):
            StateDir(tmp_path)
        owner.send_signal(signal.SIGKILL)
        owner.wait(30)
    StateDir(tmp_path).close()


@pytest.mark.parametrize("text", ["", "not a uuid\n"])
def test_a_damaged_identity_is_refused_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "worker-id").write_text(text)
    with pytest.raises(SettingsError, match="worker-id"):
        StateDir(tmp_path)
    assert (tmp_path / "worker-id").read_text() == text


def test_a_state_directory_that_cannot_be_made_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        StateDir(tmp_path / "file" / "state")
