"""`ledger check`: nothing is wrong with a sound ledger of either kind, and what is planted is found and named."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.postgres_server import PostgresServer
from support.sound_ledger import CLOSED, OPEN, fill

from schedulerd.adapters.ledger import invariants, postgres_whole
from schedulerd.adapters.ledger.open import open_ledger, sqlite_path
from schedulerd.adapters.ledger.sqlite_file import open_writer
from schedulerd.adapters.ledger.whole import Whole, WholeFile

R, S = CLOSED.id, OPEN.id
RUN = f"(SELECT n FROM runs WHERE id = '{R}')"
NEXT = f"(SELECT n FROM runs WHERE id = '{S}')"
AT_2 = "1795399320000000"

# what is planted -> what is said
PLANTED = {
    "DELETE FROM leadership": "leadership has 0 rows, expected one",
    "UPDATE leadership SET epoch = 9": "leadership is in epoch 9, but the newest recorded epoch is 2",
    "DELETE FROM epochs WHERE epoch = 2": "leadership is in epoch 2, but the newest recorded epoch is 1",
    f"UPDATE runs SET epoch = 7 WHERE n = {RUN}": f"run {R} is of epoch 7, but only epoch 2 was reached",
    f"UPDATE attempts SET epoch = 7 WHERE run = {RUN} AND subtask = 1": f"attempt 1 of subtask 1 of run {R} is of"
    " epoch 7, but only epoch 2 was reached",
    f"UPDATE attempts SET epoch = 2 WHERE run = {NEXT} AND number = 1": f"attempt 2 of subtask 0 of run {S} is of"
    " epoch 1, the one before it of epoch 2: epochs only grow",
    "UPDATE attempts SET fence = 4": "fence 4 was given to 5 attempts, expected one",
    "UPDATE leadership SET next_fence = 5": "the next fence is 5, but 5 was given out already",
    "UPDATE jobs SET version = 'v9' WHERE name = 'other'": 'job "other" is of version v9, which is not recorded',
    "DELETE FROM jobs WHERE name = 'other'": 'a pause names job "other", which is not in the table',
    "UPDATE jobs SET mark = 1795399320000000 WHERE name = 'backup'": 'the mark of job "backup" is'
    " 2026-11-23T02:02:00Z, but its slots reach to 2026-11-23T02:06:00Z",
    f"UPDATE slots SET last = last + 60000000 WHERE first = {AT_2}": 'slots of job "backup" overlap:'
    " 2026-11-23T02:02:00Z to 2026-11-23T02:06:00Z, and the next from 2026-11-23T02:06:00Z",
    f"UPDATE slots SET reason = NULL WHERE first = {AT_2}": 'slot of job "backup" at 2026-11-23T02:02:00Z is not one'
    " fire time of a run, nor a range of skips with reason and version",
    f"UPDATE slots SET count = 2 WHERE run = {RUN}": 'slot of job "backup" at 2026-11-23T02:01:00Z is not one fire'
    " time of a run, nor a range of skips with reason and version",
    f"UPDATE slots SET count = 0 WHERE first = {AT_2}": 'slot of job "backup" at 2026-11-23T02:02:00Z is not one fire'
    " time of a run, nor a range of skips with reason and version",
    f"UPDATE slots SET version = 'v9' WHERE first = {AT_2}": 'the skips of job "backup" at 2026-11-23T02:02:00Z are of'
    " version v9, which is not recorded",
    f"UPDATE slots SET run = 99 WHERE run = {RUN}": 'slot of job "backup" at 2026-11-23T02:01:00Z is filled by run'
    " number 99, which is not recorded or is of another fire time",
    f"DELETE FROM slots WHERE run = {RUN}": f"run {R} has 0 slots, expected one",
    f"UPDATE runs SET version = 'v9' WHERE n = {RUN}": f"run {R} is of version v9, which is not recorded",
    f"UPDATE runs SET state = 'running' WHERE n = {RUN}": f"run {R} is running, which does not go with the time at"
    " which it ended (1795399265000000)",
    f"UPDATE runs SET state = 'failed' WHERE n = {NEXT}": f"run {S} is failed, which does not go with the time at"
    " which it ended (none)",
    f"UPDATE runs SET succeeded = 1, failed = 1 WHERE n = {RUN}": f"run {R} counts 2 subtasks (0 running, 1 succeeded,"
    " 1 failed), but has 2 (0, 2, 0)",
    f"UPDATE subtasks SET state = 'lost' WHERE run = {NEXT} AND idx = 0": f"run {S} counts 2 subtasks (1 running,"
    " 0 succeeded, 0 failed), but has 2 (0, 0, 1)",
    f"UPDATE subtasks SET state = 'running' WHERE run = {RUN} AND idx = -1": f"subtask -1 of run {R} is running, but"
    " the run is final",
    "INSERT INTO subtasks (run, idx, state) VALUES (99, 3, 'pending')": "subtask 3 is of run number 99, which is not"
    " recorded",
    "UPDATE results SET run = 99": "a result is of run number 99, which is not recorded",
    f"DELETE FROM subtasks WHERE run = {RUN} AND idx = -1": "attempt 1 of subtask -1 of run number 1 is of a subtask"
    " that is not recorded",
    "DELETE FROM boots WHERE name = 'w2'": "attempt 2 of subtask 0 of run number 2 went to worker number 2, which is"
    " not recorded",
    f"DELETE FROM attempts WHERE run = {NEXT} AND number = 1": f"subtask 0 of run {S} has attempts up to number 2, but"
    " 1 of them",
    f"DELETE FROM attempts WHERE run = {RUN} AND subtask = 1": "an outcome is of attempt 1 of subtask 1 of run number"
    " 1, which is not recorded",
    f"UPDATE outcomes SET state = 'running' WHERE run = {RUN} AND subtask = 1": f"attempt 1 of subtask 1 of run {R}"
    " ended as running, which is no end",
    f"UPDATE outcomes SET output = 99 WHERE run = {RUN} AND subtask = 0": "the outcome of attempt 1 of subtask 0 of"
    " run number 1 names output 99, which is not recorded",
    f"DELETE FROM outcomes WHERE run = {RUN} AND subtask = 0": "output 1 belongs to 0 outcomes, expected one",
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> dict[str, str]:
    """URL of a sound ledger, by kind."""
    urls = {
        "sqlite": f"sqlite://{tmp_path_factory.mktemp('sound')}/ledger.db",
        "postgresql": postgres.schema(),
    }
    for url in urls.values():
        with closing(open_ledger(url)) as ledger:
            fill(ledger)
    return urls


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, sound: dict[str, str]) -> Iterator[Whole]:
    """That ledger in a transaction that is rolled back."""
    url = sound[request.param]
    if request.param == "sqlite":
        with closing(open_writer(sqlite_path(url))) as connection:
            connection.execute("BEGIN")
            yield WholeFile(connection, url)
            connection.execute("ROLLBACK")
    else:
        with postgres_whole._connected(url) as line:
            line.execute("BEGIN")
            yield postgres_whole.WholeDatabase(line)
            line.roll_back()


def test_nothing_is_wrong_with_a_sound_ledger(opened: Whole) -> None:
    assert list(invariants.violations(opened)) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_is_found(opened: Whole, planted: str) -> None:
    assert opened.connection.execute(planted).rowcount > 0
    assert PLANTED[planted] in list(invariants.violations(opened))


def test_each_rule_is_planted_for() -> None:
    found = {rule for rule in invariants.RULES for text in PLANTED.values() if _reads_like(rule.says, text)}
    assert [rule.says for rule in invariants.RULES if rule not in found] == []


def _reads_like(says: str, text: str) -> bool:
    """Whether `text` has all the fixed words of `says`, in order."""
    words = re.split(r"\{\d\}", says)
    return re.fullmatch(".*".join(re.escape(word) for word in words), text) is not None


def test_many_of_a_kind_are_counted(opened: Whole) -> None:
    opened.connection.executemany(
        "INSERT INTO subtasks (run, idx, state) VALUES (?, ?, 'pending')",
        [(99, index) for index in range(50)],
    )
    found = list(invariants.violations(opened))
    assert "... and 30 more of this kind" in found
    assert len(found) == 21


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(open_ledger(f"sqlite://{path}")) as ledger:
        fill(ledger)
    with closing(open_writer(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'runs_by_time'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size + size - 40)
        file.write(b"\x55" * 40)
    with closing(open_writer(path)) as connection:
        found = list(invariants.violations(WholeFile(connection, "it")))
    assert any("the file is damaged: " in text for text in found), found
