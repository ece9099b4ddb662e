"""Job > nearest `_defaults.toml` > those above > [defaults] of the settings > built-in."""

from datetime import timedelta
from pathlib import Path

import pytest
from test_jobfiles_reading import write

from schedulerd.adapters.jobfiles import effective_sources, load
from schedulerd.errors import JobFileError
from schedulerd.model.job import Definition


@pytest.fixture
def table(tmp_path: Path) -> dict[str, Definition]:
    write(
        tmp_path,
        _defaults="timezone = 'Europe/Prague'\ntimeout = '2m'\nretry.max = 1\n[env]\nA = 'top'\nB = 'top'",
        top="[job.top]\nargv = ['x']",
        team___defaults="timeout = '3m'\n[env]\nB = 'team'\nC = 'team'",
        team__a="[job.inherits]\nargv = ['x']\n[job.sets]\nargv = ['x']\ntimeout = '4m'\n[job.sets.env]\nC = 'own'",
        team__deeper__b="[job.deeper]\nargv = ['x']\nretry = {}",
    )
    settings = {"timeout": "1m", "kill_after": "3s", "env": {"A": "settings", "D": "settings"}}
    return {definition.job.name: definition for definition in load(tmp_path, settings)}


def test_the_nearest_table_that_sets_a_key_wins(table: dict[str, Definition]) -> None:
    minutes = {name: definition.job.timeout // timedelta(minutes=1) for name, definition in table.items()}
    assert minutes == {"top": 2, "inherits": 3, "sets": 4, "deeper": 3}
    assert {definition.job.timezone for definition in table.values()} == {"Europe/Prague"}
    assert {definition.job.kill_after for definition in table.values()} == {timedelta(seconds=3)}


def test_variables_and_retry_are_put_together(table: dict[str, Definition]) -> None:
    assert table["sets"].job.env == {"A": "top", "B": "team", "C": "own", "D": "settings"}
    assert table["top"].job.env == {"A": "top", "B": "top", "D": "settings"}
    assert table["deeper"].job.retry_max == 1


def test_every_value_tells_where_it_came_from(table: dict[str, Definition]) -> None:
    assert table["sets"].sources == {
        "argv": "team/a.toml:4",
        "timeout": "team/a.toml:5",
        "env": "team/a.toml:6",
        "env.B": "team/_defaults.toml:3",
        "env.A": "_defaults.toml:5",
        "env.D": "schedulerd.toml [defaults]",
        "timezone": "_defaults.toml:1",
        "retry": "_defaults.toml:3",
        "kill_after": "schedulerd.toml [defaults]",
    }
    assert effective_sources(table["sets"])["catchup"] == "built-in"


def test_a_faulty_default_is_told_once_and_not_for_each_job(tmp_path: Path) -> None:
    write(
        tmp_path,
        _defaults="timeout = 5\nargv = ['x']\nshards = 2\nowner = 1\n[defaults]\n[job.x]\n",
        a="[job.a]\nargv = ['x']\n[job.b]\nargv = ['x']",
    )
    with pytest.raises(JobFileError) as error:
        load(tmp_path, {"timeuot": "1m"})
    tail = "; the table in force stays"
    assert [fault.removesuffix(tail) for fault in error.value.faults] == [
        '_defaults.toml:1:11: timeout: 5 is an integer, expected a duration with its units, such as "90s" or "1h30m"',
        "_defaults.toml:2:1: argv: speaks of one job and cannot be a default, write it into the job",
        '_defaults.toml:3:1: shards: unknown key, did you mean "split.shards"?',
        "_defaults.toml:4:1: owner: not supported yet, leave it out",
        "_defaults.toml:5:2: defaults: no table is needed here, write its keys at the top of the file",
        "_defaults.toml:6:2: job: jobs belong into another file, this one holds defaults for its directory",
        'schedulerd.toml [defaults]: timeuot: unknown key, did you mean "timeout"?',
    ]


def test_a_default_that_does_not_fit_a_job_is_shown_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path, _defaults="[env]\nX = 'a {{ items }}'", a="[job.a]\nargv = ['x']")
    with pytest.raises(JobFileError) as error:
        load(tmp_path)
    (fault,) = error.value.faults
    assert fault.startswith("_defaults.toml:2:8: env.X: ")
    assert "(for job a)" in fault
