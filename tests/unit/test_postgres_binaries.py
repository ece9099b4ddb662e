"""Where the tests' PostgreSQL comes from: the newest of the machine's, then the cache, then one line of what to do."""

from pathlib import Path

import pytest
from support import apt_fetch, postgres_binaries


def server(root: Path, version: int, says: str) -> Path:
    """A directory below `root` as Debian has it, whose postgres says that."""
    directory = root / "usr" / "lib" / "postgresql" / str(version) / "bin"
    directory.mkdir(parents=True)
    for program in postgres_binaries.PROGRAMS:
        (directory / program).write_text(f"#!/bin/sh\necho '{says}'\n")
        (directory / program).chmod(0o755)
    return directory


def test_the_newest_of_the_machine_comes_first_and_path_before_all(tmp_path: Path) -> None:
    nine = server(tmp_path, 9, "postgres (PostgreSQL) 9.6.24")
    seventeen = server(tmp_path, 17, "postgres (PostgreSQL) 17.2 (Debian 17.2-1)")
    fifteen = server(tmp_path, 15, "postgres (PostgreSQL) 15.10")
    assert list(postgres_binaries.machines_own(tmp_path, None)) == [seventeen, fifteen, nine]
    own = tmp_path / "own" / "initdb"
    assert next(postgres_binaries.machines_own(tmp_path, str(own))) == own.parent


def test_old_incomplete_and_broken_servers_are_passed_over(tmp_path: Path) -> None:
    assert postgres_binaries.is_new_enough(server(tmp_path, 13, "postgres (PostgreSQL) 13.9"))
    assert not postgres_binaries.is_new_enough(server(tmp_path, 12, "postgres (PostgreSQL) 12.9"))
    assert not postgres_binaries.is_new_enough(server(tmp_path, 14, "cannot find libpq.so.5"))
    partial = server(tmp_path, 16, "postgres (PostgreSQL) 16.1")
    (partial / "initdb").unlink()
    assert not postgres_binaries.is_new_enough(partial)


def test_what_was_fetched_once_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = server(tmp_path, 15, "postgres (PostgreSQL) 15.10")
    monkeypatch.setattr(apt_fetch, "fetch", lambda *words: pytest.fail("it was fetched"))
    assert postgres_binaries.cached_or_fetched(tmp_path) == kept


def test_without_one_there_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt_fetch, "system", lambda: ("debian", "bookworm"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    with pytest.raises(postgres_binaries.NoPostgres) as missing:
        postgres_binaries.cached_or_fetched(tmp_path)
    assert str(missing.value) == (
        "the tests need a PostgreSQL server, 13 or newer: apt install postgresql, or put initdb and postgres on PATH"
        " (tried apt: apt-get is not installed)"
    )
