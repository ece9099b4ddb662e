"""Large tables: helpers read what one process would read, unchanged files are not read again."""

import sys
from pathlib import Path

import pytest

from schedulerd.adapters.jobfiles import Known, load, readers
from schedulerd.errors import JobFileError
from schedulerd.model.job import Definition

JOB = """
[job.{name}]
schedule = "{minute} 3 * * *"
timezone = "Europe/Prague"
requires = ["role=reports"]
argv     = ["report", "{name}"]
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    directory = tmp_path / "jobs.d"
    (directory / "team").mkdir(parents=True)
    (directory / "team" / "_defaults.toml").write_text('timeout = "7m"\nenv = { A = "b" }\n')
    for number in range(5):
        text = "\n".join(JOB.format(name=f"job-{number}-{n}", minute=n) for n in range(4))
        (directory / "team" / f"{number}.toml").write_text(text)
    return directory


def by_name(definitions: tuple[Definition, ...]) -> dict[str, Definition]:
    return {definition.job.name: definition for definition in definitions}


def test_helpers_give_what_one_process_gives(table: Path, monkeypatch: pytest.MonkeyPatch):
    alone = load(table, {"catchup": "5m"})
    monkeypatch.setattr(readers, "WORTH_HELPERS", 0)
    assert load(table, {"catchup": "5m"}) == alone
    assert alone[0].sources["timeout"] == "team/_defaults.toml:1"
    assert alone[0].sources["catchup"] == "schedulerd.toml [defaults]"


def test_helpers_tell_every_fault_with_its_place(table: Path, monkeypatch: pytest.MonkeyPatch):
    (table / "team" / "1.toml").write_text('[job.a]\nargv = ["x"]\nschedule = "61 * * * *"\n')
    (table / "team" / "2.toml").write_text("[job.a\n")
    (table / "team" / "3.toml").write_text('\n  [job.job-0-1]\nargv = ["x"]\nretries = 3\n')
    (table / "team" / "_defaults.toml").write_text('timeout = "5"\n')
    with pytest.raises(JobFileError) as alone:
        load(table)
    monkeypatch.setattr(readers, "WORTH_HELPERS", 0)
    with pytest.raises(JobFileError) as helped:
        load(table)
    assert helped.value.faults == alone.value.faults
    places = [fault.split(": ")[0] for fault in alone.value.faults]
    assert places == [
        "team/1.toml:3:13",
        "team/2.toml:1:7",
        "team/3.toml:2:8",
        "team/3.toml:4:1",
        "team/_defaults.toml:1:11",
    ]


def test_files_of_a_failed_helper_are_read_here(table: Path, monkeypatch: pytest.MonkeyPatch):
    alone = load(table)
    monkeypatch.setattr(readers, "WORTH_HELPERS", 0)
    for program in ("/bin/false", "/nowhere/python"):
        monkeypatch.setattr(sys, "executable", program)
        assert load(table) == alone


def test_only_a_changed_file_is_read_again(table: Path):
    known = Known()
    before = by_name(load(table, None, known))
    file = table / "team" / "2.toml"
    file.write_text(file.read_text().replace('"report", "job-2-1"', '"other"'))
    after = by_name(load(table, None, known))
    assert [name for name in before if after[name].version != before[name].version] == ["job-2-1"]
    assert all((after[name] is before[name]) == ("job-2-" not in name) for name in before)


def test_changed_defaults_are_seen_in_unchanged_files(table: Path):
    known = Known()
    before = by_name(load(table, {"catchup": "5m"}, known))
    assert by_name(load(table, {"catchup": "6m"}, known))["job-1-1"].version != before["job-1-1"].version
    (table / "team" / "_defaults.toml").write_text('timeout = "8m"\n')
    after = by_name(load(table, {"catchup": "5m"}, known))
    assert after["job-1-1"].job.timeout != before["job-1-1"].job.timeout
    assert after["job-1-1"].job.env == {}


def test_faults_are_told_each_time(table: Path):
    known = Known()
    (table / "team" / "4.toml").write_text("[job.a]\n")
    faults = []
    for _ in range(2):
        with pytest.raises(JobFileError) as found:
            load(table, None, known)
        faults.append(found.value.faults)
    assert faults[0] == faults[1] != []


def test_a_name_in_two_unchanged_files_is_still_a_fault(table: Path):
    known = Known()
    load(table, None, known)
    (table / "z.toml").write_text(JOB.format(name="job-3-3", minute=1))
    with pytest.raises(JobFileError, match="job-3-3 stands here and at"):
        load(table, None, known)


def test_equal_parts_of_many_jobs_are_one_object(table: Path):
    jobs = [definition.job for definition in load(table)]
    definitions = load(table)
    for part in (
        [job.requires for job in jobs],
        [job.timezone for job in jobs],
        [job.timeout for job in jobs],
        [job.env for job in jobs],
        [job.trigger for job in jobs if job.name.endswith("-1")],
        [definition.source for definition in definitions],
        [definition.lines for definition in definitions],
    ):
        assert len({id(value) for value in part}) == 1
