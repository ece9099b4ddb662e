"""Pools in job files: read from any of them, and refused with both places, a nearby name and a position."""

from pathlib import Path

import pytest
from test_jobfiles_faults import faults_of
from test_jobfiles_reading import write

from schedulerd.adapters.jobfiles import load_table, read_paths
from schedulerd.errors import JobFileError
from schedulerd.model.job import Pool

USER = "[job.x]\nargv = ['true']\npools = {pools}\n"


def test_pools_of_all_files_are_one_set(tmp_path: Path) -> None:
    write(
        tmp_path, a="[pool.db]\nmax = 2\n" + USER.format(pools="['db', 'disk', 'db']"), b="pool.disk.max = 7"
    )
    table = load_table(tmp_path)
    assert table.pools == (Pool(name="db", max=2), Pool(name="disk", max=7))
    assert table.definitions[0].job.pools == ("db", "disk")


def test_one_name_twice_is_told_with_both_places(tmp_path: Path) -> None:
    write(tmp_path, a="[pool.db]\nmax = 2", b="# more\n[pool.db]\nmax = 3")
    assert faults_of(tmp_path) == [
        "b.toml:2:7: pool.db: pool db stands here and at a.toml:1, expected each name once"
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[pool.db]", "1:7: pool.db: no max was found, expected how many attempts may run at once, max = 4"),
        ("[pool.db]\nmax = 0", "2:7: pool.db.max: 0 is out of range, expected at least 1"),
        ("[pool.db]\nmax = '2'", '2:7: pool.db.max: "2" is a string, expected an integer'),
        ("[pool.db]\nmax = 2\nmaxi = 1", '3:1: pool.db.maxi: unknown key, did you mean "max"?'),
        ("pool.db = 3", "1:11: pool.db: 3 is an integer, expected a table [pool.NAME]"),
        ("pool = 3", "1:8: pool: 3 is an integer, expected tables [pool.NAME]"),
        (
            "[pool.DB]\nmax = 1",
            '1:7: pool.DB: "DB" cannot name a pool, expected a lower-case letter or digit, then up to 62',
        ),
        (
            "[pool.database]\nmax = 1\n" + USER.format(pools="['x', 'databse']"),
            '5:15: pools[1]: "databse" is unknown, did you mean "database"? expected a pool that has its [pool.NAME]',
        ),
        (
            USER.format(pools="['a b']"),
            '3:10: pools[0]: "a b" cannot name a pool, expected a lower-case letter',
        ),
        (USER.format(pools="'db'"), '3:9: pools: "db" is a string, expected a list of strings'),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    assert any(line.startswith(f"a.toml:{fault}") for line in faults_of(write(tmp_path, a=text))), faults_of(
        tmp_path
    )


def test_a_pool_with_a_fault_is_not_unknown_as_well(tmp_path: Path) -> None:
    write(tmp_path, a="[pool.db]\nmax = 0\n" + USER.format(pools="['db']"))
    assert len(faults_of(tmp_path)) == 1


def test_an_unknown_pool_of_defaults_is_told_where_they_stand(tmp_path: Path) -> None:
    write(tmp_path, _defaults="timeout = '1m'\npools = ['nowhere']", a="[job.x]\nargv = ['true']")
    assert faults_of(tmp_path) == [
        '_defaults.toml:2:10: pools[0]: "nowhere" is unknown, expected a pool that has its [pool.NAME] (for job x)'
    ]
    with pytest.raises(JobFileError, match=r"schedulerd.toml \[defaults\]: pools: \"nope\" is unknown"):
        load_table(write(tmp_path / "other", a="[job.x]\nargv = ['true']"), {"pools": ["nope"]})


def test_a_single_file_may_name_pools_of_the_files_beside_it(tmp_path: Path) -> None:
    write(tmp_path, a=USER.format(pools="['db']"), b="[pool.db]\nmax = 2")
    assert not read_paths([tmp_path / "a.toml"]).lines
    write(tmp_path, a=USER.format(pools="['dc']"))
    assert len(read_paths([tmp_path / "a.toml"]).lines) == 1
