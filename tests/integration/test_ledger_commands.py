"""`schedulerd ledger copy|backup|check` as programs: there and back, while it is written to, and what they refuse."""

import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.daemons import PROGRAMS, clean_environment
from support.ledger_material import at, new_attempt, new_run, outcome, subtasks
from support.postgres_server import PASSWORD, ROLE, PostgresServer
from support.sound_ledger import CLOSED, fill
from support.waiting import wait_until

from schedulerd.adapters.election_file import FileLock
from schedulerd.adapters.ledger import copying, invariants, whole
from schedulerd.adapters.ledger.base import Ledger
from schedulerd.adapters.ledger.open import alone, open_ledger, open_reader
from schedulerd.core.effects import RecordAttempts, RecordMarks, RecordOutcomes, RecordRuns
from schedulerd.errors import LedgerError

Made = Callable[[], str]


def schedulerd(*words: str, code: int = 0) -> str:
    """What `schedulerd ledger ...` prints, on both streams."""
    done = subprocess.run(
        [PROGRAMS / "schedulerd", *words],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/ledger.db"


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    return postgres.schema()


def filled(url: str) -> str:
    with closing(open_ledger(url)) as ledger:
        fill(ledger)
    return url


def content(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    with whole.reading(url) as ledger:
        return {
            table: sorted(
                (row for rows in ledger.stream(f"SELECT {', '.join(columns)} FROM {table}") for row in rows),
                key=repr,
            )
            for table, columns in ledger.tables().items()
        }


# ---- copy ----------------------------------------------------------------------------------------------------------


def test_a_ledger_goes_to_postgresql_and_back_and_is_the_same(
    file: str, database: str, tmp_path: Path
) -> None:
    filled(file)
    shown = schedulerd("ledger", "copy", file, database)
    assert "attempts     5\n" in shown
    rows = sum(len(found) for found in content(file).values())
    assert f"copied {rows} rows of {len(content(file))} tables; both have the same" in shown
    assert PASSWORD not in shown
    back = f"sqlite://{tmp_path}/back.db"
    copying.copy(database, back)
    assert content(file) == content(database) == content(back)
    for url in (database, back):
        assert "nothing is wrong with it" in schedulerd("ledger", "check", url)


def test_a_copied_ledger_goes_on_where_the_other_stood(file: str, database: str) -> None:
    copying.copy(filled(file), database)
    for url in (file, database):
        with closing(open_ledger(url)) as ledger:
            assert ledger.lead("next", 0, at(9)) == 3
            go_on(ledger, 3, 9)
    with closing(open_reader(file)) as one, closing(open_reader(database)) as other:
        assert one.events(0, 99) == other.events(0, 99)
        assert one.run(CLOSED.id) == other.run(CLOSED.id)
    assert content(file) == content(database)


def go_on(ledger: Ledger, epoch: int, minute: int) -> None:
    """One more run, with an attempt at a new worker and an outcome that nobody knows."""
    run = new_run(minute)
    ledger.commit(
        epoch,
        [
            RecordRuns((run,)),
            subtasks(run.id),
            RecordAttempts((new_attempt(run.id, fence=minute, worker=f"w{minute}"),)),
            RecordOutcomes((outcome(run.id, 0, 7),)),
            RecordMarks((("backup", at(minute)),)),
        ],
    )


@pytest.mark.parametrize("direction", ["to-file", "to-database"])
def test_a_copy_goes_only_into_an_empty_ledger(file: str, database: str, direction: str) -> None:
    source, target = (database, file) if direction == "to-file" else (file, database)
    filled(source)
    with closing(open_ledger(target)) as ledger:
        ledger.lead("here", 0, at(0))
    before = content(target)
    shown = schedulerd("ledger", "copy", source, target, code=1)
    assert "is not empty (epochs); a copy goes into a new ledger, nothing was copied" in shown
    assert PASSWORD not in shown
    assert content(target) == before


def test_a_copy_that_fails_leaves_nothing(file: str, database: str, tmp_path: Path) -> None:
    filled(file)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("DROP TABLE results")  # found when the tables are compared
    with pytest.raises(LedgerError, match="do not have the same tables"):
        copying.copy(file, database)
    assert content(database)["runs"] == []
    with pytest.raises(LedgerError, match="do not have the same tables"):
        copying.copy(file, f"sqlite://{tmp_path}/new.db")
    assert sorted(path.name for path in tmp_path.glob("new.db*")) == []


def test_a_row_that_the_target_refuses_undoes_all_of_the_copy(
    file: str, database: str, postgres: PostgresServer
) -> None:
    filled(file)
    open_ledger(database).close()
    schema = database.rpartition("%3D")[2]
    postgres.sql(f"ALTER TABLE {schema}.subtasks ADD CHECK (idx <> 1)")
    with pytest.raises(LedgerError, match="violates check constraint"):
        copying.copy(file, database)
    assert [table for table, rows in content(database).items() if rows] == ["leadership"]


def test_a_ledger_in_use_is_not_copied(file: str, database: str, tmp_path: Path) -> None:
    filled(file)
    lock = FileLock(tmp_path, "ledger.db.lock")
    assert lock.acquire()
    assert "stop schedulerd first, nothing was copied" in schedulerd("ledger", "copy", file, database, code=1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.db").symlink_to(tmp_path / "ledger.db")
    by_link = f"sqlite://{tmp_path}/elsewhere/link.db"
    assert "stop schedulerd first, nothing was copied" in schedulerd(
        "ledger", "copy", by_link, database, code=1
    )
    lock.close()
    with closing(open_ledger(database)) as ledger:
        ledger.lead("here", 0, at(0))
        shown = schedulerd("ledger", "copy", database, f"sqlite://{tmp_path}/new.db", code=1)
    assert '"here" leads by it (backend ' in shown
    assert "stop schedulerd first, nothing was copied" in shown
    assert PASSWORD not in shown
    assert not (tmp_path / "new.db").exists()


def test_a_ledger_whose_leader_has_another_role_is_in_use_all_the_same(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Of another role's backend PostgreSQL tells not even when it started."""
    postgres.sql(f"CREATE ROLE copier LOGIN PASSWORD '{PASSWORD}'")
    database = postgres.database()
    target = f"sqlite://{tmp_path}/new.db"
    with closing(open_ledger(database)) as ledger:
        ledger.lead("here", 0, at(0))
        for what in ("SELECT", "UPDATE"):
            postgres.sql(f"GRANT {what} ON ALL TABLES IN SCHEMA public TO copier", database)
        other = database.replace(f"//{ROLE}:", "//copier:")
        shown = schedulerd("ledger", "copy", other, target, code=1)
        assert '"here" leads by it (backend ' in shown
        # also by the lock alone: the number of the backend may be a proxy's
        postgres.sql("UPDATE leadership SET backend = 0", database)
        shown = schedulerd("ledger", "copy", other, target, code=1)
        assert "a scheduler or another copy uses it; stop schedulerd first, nothing was copied" in shown
    assert wait_until(lambda: not backends(postgres, database), 30)
    assert "both have the same" in schedulerd("ledger", "copy", other, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.db"]  # no lock is left
    with (
        alone(other),
        closing(open_ledger(database)) as ledger,
        pytest.raises(LedgerError, match="`schedulerd ledger copy` has it alone"),
    ):
        ledger.lead("here", 0, at(0))
    postgres.sql("DROP OWNED BY copier", database)
    postgres.sql("DROP ROLE copier")


def backends(postgres: PostgresServer, url: str) -> list[tuple[object, ...]]:
    return postgres.sql(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = "
        "'schedulerd ledger'",
        url,
    )


def test_the_id_of_a_ledger_is_drawn_once_and_goes_with_its_copies(
    file: str, database: str, tmp_path: Path
) -> None:
    with closing(open_ledger(file)) as ledger:
        assert ledger.identity() == ""
        ledger.lead("here", 0, at(0))
        own = ledger.identity()
        ledger.lead("here", 0, at(1))
        assert ledger.identity() == own
    assert len(own) == 36
    copying.copy(file, database)
    copying.back_up(database, tmp_path / "backup.db")
    for url in (database, f"sqlite://{tmp_path}/backup.db"):
        with closing(open_ledger(url)) as ledger:
            ledger.lead("there", 0, at(2))
            assert ledger.identity() == own
        with closing(open_reader(url)) as reader:
            assert reader.identity() == own


def test_a_url_that_names_no_ledger_is_one_line(tmp_path: Path) -> None:
    shown = schedulerd("ledger", "copy", "ledger.db", f"sqlite://{tmp_path}/new.db", code=1)
    assert shown.startswith(
        'schedulerd: [ledger] url: "ledger.db" names no ledger, expected sqlite:///ABSOLUTE/PATH'
    )
    assert shown.count("\n") == 1


# ---- backup --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_while_it_is_written_to_is_one_moment_of_it(
    file: str, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = file if kind == "sqlite" else request.getfixturevalue("database")
    config = tmp_path / "schedulerd.toml"
    config.write_text(f'[ledger]\nurl = "{url}"\n')
    written, goes_on = [0], threading.Event()
    goes_on.set()
    filled(url)

    def write() -> None:
        with closing(open_ledger(url)) as ledger:
            epoch = ledger.lead("writer", 0, at(8))
            minute = 9
            while goes_on.is_set():
                go_on(ledger, epoch, minute)
                written[0], minute = minute, minute + 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            assert wait_until(lambda before=written[0]: written[0] > before + 3, 60)
            before = written[0]
            schedulerd("--config", str(config), "ledger", "backup", str(tmp_path / f"{number}.db"))
            after = written[0] + 1
            check_backup(tmp_path / f"{number}.db", before, after)
    finally:
        goes_on.clear()
        writer.join(60)
    assert written[0] > before
    assert list(tmp_path.glob("*.part*")) == []


def check_backup(copied: Path, before: int, after: int) -> None:
    """Whole batches up to some moment between those two minutes, and nothing wrong."""
    url = f"sqlite://{copied}"
    with whole.reading(url) as ledger:
        assert list(invariants.violations(ledger)) == []
    assert copied.stat().st_mode & 0o007 == 0
    rows = content(url)
    newest = (
        8 + len(rows["events"]) - 2
    )  # two events of `fill`, one of them of its skips, and one of each minute
    assert before <= newest <= after
    assert len(rows["runs"]) == 2 + newest - 8
    with closing(open_ledger(url)) as ledger:
        assert ledger.lead("restored", 0, at(newest)) == 4
        go_on(ledger, 4, newest + 1)


def test_a_backup_never_overwrites(file: str, tmp_path: Path) -> None:
    filled(file)
    (tmp_path / "kept").write_text("something")
    shown = schedulerd("ledger", "backup", "--url", file, str(tmp_path / "kept"), code=1)
    assert "is there already; name another file, nothing was written" in shown
    assert (tmp_path / "kept").read_text() == "something"


def test_a_backup_of_nothing_is_one_line(file: str, tmp_path: Path) -> None:
    shown = schedulerd("ledger", "backup", "--url", file, str(tmp_path / "backup.db"), code=1)
    assert "there is no ledger yet" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_backup_whose_log_did_not_get_into_its_file_is_none(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database)
    looking: list[sqlite3.Connection] = []

    def look(ledger: whole.WholeFile) -> None:
        """Somebody reads the new file, so that its log cannot be written into it."""
        looking.append(sqlite3.connect(tmp_path / "backup.db.part", isolation_level=None))
        looking[0].execute("BEGIN")
        looking[0].execute("SELECT count(*) FROM jobs").fetchone()

    monkeypatch.setattr(whole.WholeFile, "finish_writing", look)
    with pytest.raises(LedgerError, match=r"bytes are still in its write-ahead log, .* there is no backup"):
        copying.back_up(database, tmp_path / "backup.db")
    looking[0].close()
    assert list(tmp_path.glob("backup.db")) == []
    monkeypatch.undo()
    copying.back_up(database, tmp_path / "backup.db")
    with whole.reading(f"sqlite://{tmp_path}/backup.db") as ledger:
        assert list(invariants.violations(ledger)) == []


# ---- check ---------------------------------------------------------------------------------------------------------


def test_check_tells_what_is_wrong_with_the_ledger_of_the_settings(file: str, tmp_path: Path) -> None:
    filled(file)
    config = tmp_path / "schedulerd.toml"
    config.write_text(f'[ledger]\nurl = "{file}"\n')
    assert schedulerd("--config", str(config), "ledger", "check") == f"{file}: nothing is wrong with it\n"
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE runs SET total = 9 WHERE finished_at IS NOT NULL")
    shown = schedulerd("--config", str(config), "ledger", "check", code=1)
    assert shown == (
        f"run {CLOSED.id} counts 9 subtasks (0 running, 2 succeeded, 0 failed), but has 2 (0, 2, 0)\n"
        f"{file}: the ledger is faulty\n"
    )
