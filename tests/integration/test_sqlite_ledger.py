"""The SQLite ledger against the world: kill -9 between two instructions, full disks, foreign files, second writers."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.ledger_material import T0, fired, job_row, new_run, outcome

from schedulerd.adapters.ledger import sqlite_file
from schedulerd.adapters.ledger.migrations import newest_version
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.core.effects import RecordEvent, RecordJobs, RecordOutcomes
from schedulerd.errors import LedgerContentError, LedgerError, SettingsError, StaleEpoch
from schedulerd.protocol.api_types import RunQuery

TESTS = Path(__file__).parent.parent
SUBTASKS = 20

# Commits one batch after another - close run n - 1, fire run n - and says so after each.
WRITER = f"""
import sys
from support.ledger_material import *
from schedulerd.adapters.ledger.open import open_ledger
from schedulerd.core.effects import *
from schedulerd.model.run import SubtaskState

ledger = open_ledger(sys.argv[1])
epoch = ledger.lead("writer", 0, T0)
work = ledger.load()
if not work.jobs:
    ledger.commit(epoch, [RecordJobs((job_row(),))])
    last = None
    n = 1
else:
    (last,) = [run.run for run in work.runs]
    n = round((last.fire_time - T0) / MINUTE) + 1
while True:
    run = new_run(n)
    batch = list(fired(run, {SUBTASKS})) + [RecordMarks((("backup", at(n)),))]
    if last is not None:
        states = tuple((i, SubtaskState.SUCCEEDED, "") for i in range({SUBTASKS}))
        ends = tuple(outcome(last.id, i, stdout=b"x" * 300) for i in range({SUBTASKS}))
        batch += [RecordOutcomes(ends), RecordSubtaskStates(last.id, states), close(last)]
    ledger.commit(epoch, batch)
    print(n, flush=True)
    last, n = run, n + 1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite://{path}"


@contextmanager
def child(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process of ours that runs `script`; gone afterwards."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        with process:
            yield process
    finally:
        if process.poll() is None:
            process.kill()


def says(script: str, *arguments: str) -> list[str]:
    """The lines that such a process prints until it ends well."""
    with child(script, *arguments) as process:
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    return text.splitlines()


def one(path: Path, query: str) -> list[tuple[object, ...]]:
    """The rows of a query on a connection that is none of the ledger's own."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


# ---- crashes ---------------------------------------------------------------------------------------------------


def test_kill_9_at_any_moment_leaves_whole_batches_and_all_that_were_acknowledged(
    path: Path, url: str
) -> None:
    acknowledged = 0
    for lines in (1, 2, 23, 60):
        with child(WRITER, url) as process:
            assert process.stdout is not None
            for _ in range(lines):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            # what it had printed by then is acknowledged as well
            rest = process.stdout.read().splitlines()
            acknowledged = int(rest[-1]) if rest else acknowledged
        check_whole_batches(path, url, acknowledged)


def check_whole_batches(path: Path, url: str, acknowledged: int) -> None:
    ledger = open_ledger(url)
    (open_run,) = ledger.load().runs
    assert len(open_run.subtasks) == len(open_run.attempts) == SUBTASKS
    ledger.close()
    with closing(open_reader(url)) as reader:
        runs, _ = reader.runs(RunQuery(limit=10_000))
    newest = len(runs)
    assert newest in (acknowledged, acknowledged + 1)  # a commit may be done and not yet told
    assert [run.id for run in runs] == [new_run(minute).id for minute in range(newest, 0, -1)]
    assert [run.state for run in runs] == ["running"] + ["succeeded"] * (newest - 1)
    assert all(run.subtasks.succeeded == SUBTASKS for run in runs[1:])
    assert one(path, "PRAGMA integrity_check") == [("ok",)]
    assert one(path, "PRAGMA foreign_key_check") == []
    for table, count in {
        "slots": newest,
        "subtasks": newest,
        "attempts": newest,
        "outcomes": newest - 1,
    }.items():
        rows = count if table == "slots" else count * SUBTASKS
        assert one(path, f"SELECT count(*) FROM {table}") == [(rows,)]
    assert one(path, "SELECT count(*) FROM outputs") == [((newest - 1) * SUBTASKS,)]


def test_the_writer_syncs_every_commit(path: Path) -> None:
    with closing(sqlite_file.open_writer(path)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.isolation_level is None


FILLS_THE_DISK = """
import resource, sys
from support.ledger_material import *
from schedulerd.adapters.ledger.open import open_ledger
from schedulerd.core.effects import *
from schedulerd.errors import LedgerError, LedgerContentError

ledger = open_ledger(sys.argv[1])
epoch = ledger.lead("writer", 0, T0)
ledger.commit(epoch, [RecordJobs((job_row(),))])
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
n = 0
try:
    while n < 1000:
        run = new_run(n + 1)
        ledger.commit(epoch, [*fired(run), RecordOutcomes((outcome(run.id, stdout=b"x" * 50_000),))])
        n += 1
except LedgerError as error:
    assert not isinstance(error, LedgerContentError), error
    print(error)
print(n, len(ledger.load().runs))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
ledger.commit(epoch, [*fired(run), RecordOutcomes((outcome(run.id, stdout=b"x" * 50_000),))])
print(n + 1, len(ledger.load().runs))
"""


def test_a_full_disk_loses_one_batch_and_the_ledger_goes_on_when_there_is_room(url: str, path: Path) -> None:
    error, full, after = says(FILLS_THE_DISK, url)
    assert error.startswith(f"{path}: writing a batch: ")
    written, loaded = full.split()
    assert written == loaded
    assert 0 < int(written) < 1000
    assert after.split() == [str(int(written) + 1)] * 2
    assert one(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_damaged_file_is_an_error_not_a_guess(url: str, path: Path) -> None:
    ledger = open_ledger(url)
    epoch = ledger.lead("here", 0, T0)
    ledger.commit(epoch, [RecordJobs(tuple(job_row(f"job-{number}") for number in range(300)))])
    ledger.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    with pytest.raises(LedgerError, match=str(path)):
        open_ledger(url).load()


# ---- writers and readers ---------------------------------------------------------------------------------------


def test_a_second_writer_is_fenced_and_not_locked_out(url: str) -> None:
    first, second = open_ledger(url), open_ledger(url)
    old = first.lead("first", 0, T0)
    new = second.lead("second", 0, T0)
    second.commit(new, [RecordJobs((job_row(),))])
    with pytest.raises(StaleEpoch):
        first.commit(old, [RecordEvent(type="late", time=T0)])
    again = first.lead("first", 0, T0)
    first.commit(again, list(fired(new_run())))
    with pytest.raises(StaleEpoch):
        second.commit(new, [RecordOutcomes((outcome(new_run().id),))])
    first.close()
    second.close()


def test_a_writer_that_holds_the_file_is_waited_for_only_so_long(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_S", 0.05)
    ledger = open_ledger(url)
    epoch = ledger.lead("here", 0, T0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="writing a batch: database is locked") as refused:
            ledger.commit(epoch, [RecordJobs((job_row(),))])
        assert not isinstance(refused.value, LedgerContentError)
        assert ledger.load().jobs == ()
    ledger.commit(epoch, [RecordJobs((job_row(),))])
    assert len(ledger.load().jobs) == 1
    ledger.close()


def test_a_reader_cannot_write_and_sees_commits_at_once(url: str) -> None:
    ledger = open_ledger(url)
    reader = open_reader(url)
    assert reader.job_names() == []
    ledger.commit(ledger.lead("here", 0, T0), [RecordJobs((job_row(),))])
    assert reader.job_names() == ["backup"]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM jobs")  # type: ignore[attr-defined]
    reader.close()
    ledger.close()


def test_a_closed_ledger_says_so(url: str) -> None:
    ledger = open_ledger(url)
    ledger.close()
    with pytest.raises(LedgerError, match="is closed; open it again"):
        ledger.load()


# ---- opening ---------------------------------------------------------------------------------------------------


def test_a_new_ledger_is_ours_private_and_logged_ahead(url: str, path: Path) -> None:
    open_ledger(url).close()
    assert one(path, "PRAGMA application_id") == [(sqlite_file.APPLICATION_ID,)]
    assert one(path, "PRAGMA user_version") == [(newest_version(),)]
    assert one(path, "PRAGMA journal_mode") == [("wal",)]
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_opening_again_migrates_nothing(url: str) -> None:
    ledger = open_ledger(url)
    ledger.commit(ledger.lead("here", 0, T0), [RecordJobs((job_row(),))])
    ledger.close()
    again = open_ledger(url)
    assert again.lead("here", 0, T0) == 2
    assert len(again.load().jobs) == 1
    again.close()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=f"there is no directory {tmp_path}/no;"):
        open_ledger(f"sqlite://{tmp_path}/no/ledger.db")


def test_a_reader_creates_nothing(url: str, path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger yet"):
        open_reader(url)
    assert not path.exists()


@pytest.mark.parametrize("opener", [open_ledger, open_reader])
def test_a_file_of_others_is_left_untouched(url: str, path: Path, opener: type) -> None:
    path.write_text("a diary, not a database\n" * 100)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="is not a SQLite file"):
        opener(url)
    assert path.read_bytes() == before
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE diary (day TEXT)")
    before = path.read_bytes()
    with pytest.raises(
        LedgerError, match=r"not a ledger of schedulerd \(application_id 0x0, expected 0x53434844\)"
    ):
        opener(url)
    assert path.read_bytes() == before
    assert not path.with_name("ledger.db-wal").exists()


@pytest.mark.parametrize("opener", [open_ledger, open_reader])
def test_a_newer_schema_is_refused(url: str, path: Path, opener: type) -> None:
    open_ledger(url).close()
    one(path, "PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match=f"has schema version 99, .* up to {newest_version()};"):
        opener(url)


def test_a_directory_where_a_file_should_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=str(tmp_path)):
        open_ledger(f"sqlite://{tmp_path}")


# An ordinary user in a place that is not theirs; root becomes one first.
UNPRIVILEGED = """
import os, sys
from schedulerd.adapters.ledger.open import open_ledger
from schedulerd.errors import LedgerError

place = sys.argv[1]
made = open_ledger(f"sqlite://{place}/kept.db")
made.close()
os.chmod(f"{place}/kept.db", 0o444)
os.chmod(place, 0o555)
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
for name in ("new.db", "kept.db"):
    try:
        open_ledger(f"sqlite://{place}/{name}")
    except LedgerError as error:
        print(error)
"""


def test_a_place_that_may_not_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    place = (
        Path("/tmp") / f"schedulerd-ledger-{os.getpid()}"
    )  # pytest's own directories are closed to other users
    place.mkdir()
    try:
        new, kept = says(UNPRIVILEGED, str(place))
    finally:
        place.chmod(0o755)
        for file in place.iterdir():
            file.unlink()
        place.rmdir()
    assert new.startswith(f"{place}/new.db: cannot be created: Permission denied; user id ")
    assert kept.startswith(f"{place}/kept.db: cannot be ")
    assert "needs to read and write this file and its directory" in kept


@pytest.mark.parametrize("url", ["ledger.db", "sqlite:ledger.db", "sqlite://", "sqlite:///", "mysql://x/y"])
def test_a_url_that_names_no_ledger_is_a_faulty_setting(url: str) -> None:
    with pytest.raises(SettingsError, match=r"\[ledger\] url: .* expected sqlite:///ABSOLUTE/PATH"):
        open_ledger(url)


def test_extra_slashes_and_odd_names_are_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a b?c#d%20e.db"
    open_ledger(f"sqlite:////{path}").close()
    open_reader(f"sqlite://{path}").close()
    assert path.exists()
