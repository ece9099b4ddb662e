"""Well-formed job files become jobs, with their defaults, origins and versions."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schedulerd.adapters.jobfiles import effective_sources, load
from schedulerd.model import job as model

EVERYTHING = """
[job.full]
description = "Everything that is supported"
schedule = ["@daily", "*/15 8-18 * * MON-FRI"]
timezone = "Europe/Prague"
command = "echo {{ items | raw }}"
shell = ["/bin/bash", "-ec"]
env = { A = "1", "B.C" = "{{ run_id }}" }
cwd = "/tmp"
timeout = "1h30m"
kill_after = "500ms"
success_codes = [0, 3]
overlap = "allow"
misfire = "all"
catchup = "2d"
catchup_max = 7
dispatch_timeout = "90s"
on_lost = "retry"
requires = ["role=db", "!spot"]
paused = true
tags = ["a", "team:b"]
retry.max = 2
[job.full.split]
command = "ls"
chunk = 5
[job.full.gather]
script = '''
#!/bin/sh
cat
'''
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        target = folder / (name.replace("__", "/") + ".toml")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder


def test_every_supported_key_reaches_the_job(tmp_path: Path) -> None:
    (definition,) = load(write(tmp_path, full=EVERYTHING))
    shell = ("/bin/bash", "-ec")
    assert definition.job == model.Job(
        name="full",
        description="Everything that is supported",
        trigger=model.Cron(expressions=("@daily", "*/15 8-18 * * MON-FRI")),
        timezone="Europe/Prague",
        work=model.Line(line="echo {{ items | raw }}", shell=shell),
        env={"A": "1", "B.C": "{{ run_id }}"},
        cwd="/tmp",
        timeout=timedelta(minutes=90),
        kill_after=timedelta(milliseconds=500),
        success_codes=(0, 3),
        overlap=model.Overlap.ALLOW,
        misfire=model.Misfire.ALL,
        catchup=timedelta(days=2),
        catchup_max=7,
        dispatch_timeout=timedelta(seconds=90),
        on_lost=model.OnLost.RETRY,
        requires=("role=db", "!spot"),
        paused=True,
        tags=("a", "team:b"),
        retry_max=2,
        split=model.ListedItems(work=model.Line(line="ls", shell=shell), chunk=5),
        gather=model.Script(text="#!/bin/sh\ncat\n", shell=shell),
    )
    assert definition.origin == model.Origin(file="full.toml", line=2)
    assert definition.sources["retry"] == "full.toml:22"
    assert definition.sources["split"] == "full.toml:23"


def test_a_job_of_one_line_has_the_built_in_defaults(tmp_path: Path) -> None:
    (definition,) = load(write(tmp_path, a="[job.a]\nargv = ['true']"))
    assert definition.job == model.Job(
        name="a", trigger=model.Manual(), work=model.Argv(argv=("true",)), timeout=timedelta(hours=1)
    )
    assert definition.sources == {"argv": "a.toml:2"}
    sources = effective_sources(definition)
    assert (sources["argv"], sources["timeout"], sources["overlap"]) == ("a.toml:2", "built-in", "built-in")


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("shards = 3", model.Shards(count=3)),
        ("per_worker = true", model.PerWorker()),
        ('items = [1, "a b", {x = [true]}]', model.Items(items=("1", '"a b"', '{"x":[true]}'))),
        ("items = ['é']\nchunk = 2", model.Items(items=('"é"',), chunk=2)),
        ("items = []", model.Items(items=())),
        ("argv = ['ls', '/']", model.ListedItems(work=model.Argv(argv=("ls", "/")))),
    ],
)
def test_splits(tmp_path: Path, split: str, expected: model.Split) -> None:
    (definition,) = load(write(tmp_path, a=f"[job.a]\nargv = ['true']\n[job.a.split]\n{split}"))
    assert definition.job.split == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-12-05T03:00:00+01:00", ["2026-12-05T02:00:00+00:00"]),
        ("2026-07-01 12:00:00", ["2026-07-01T10:00:00+00:00"]),
        ("2026-03-29T02:30:00", ["2026-03-29T01:00:00+00:00"]),  # in the gap: the first instant after it
        ("2026-03-29T02:59:59.5", ["2026-03-29T01:00:00+00:00"]),
        ("2026-10-25T02:30:00", ["2026-10-25T00:30:00+00:00"]),  # comes twice: the first pass
        (
            "['2026-01-02T00:00:00Z', 2026-01-01T00:00:00Z, 2026-01-01T01:00:00]",
            ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"],
        ),
    ],
)
def test_one_offs_are_instants_of_the_jobs_zone(tmp_path: Path, at: str, expected: list[str]) -> None:
    text = f"[job.a]\nat = {at}\ntimezone = 'Europe/Prague'\nargv = ['true']"
    (definition,) = load(write(tmp_path, a=text))
    assert definition.job.trigger == model.At(instants=tuple(map(datetime.fromisoformat, expected)))
    assert all(instant.tzinfo is UTC for instant in definition.job.trigger.instants)


def test_every_and_at_every_are_periods(tmp_path: Path) -> None:
    text = "[job.a]\nevery = '1d2h'\nargv = ['x']\n[job.b]\nschedule = '@every 90s'\nargv = ['x']"
    first, second = load(write(tmp_path, a=text))
    assert first.job.trigger == model.Every(period=timedelta(hours=26))
    assert second.job.trigger == model.Every(period=timedelta(seconds=90))


def test_all_files_below_the_directory_are_one_table_in_order_of_name(tmp_path: Path) -> None:
    write(tmp_path, b="[job.z]\nargv=['x']\n[job.'a.b']\nargv=['x']", sub__deep__c="[job.m]\nargv=['x']")
    (tmp_path / "notes.txt").write_text("not toml [")
    (tmp_path / ".hidden.toml").write_text("not toml [")
    assert [(d.job.name, d.origin.text) for d in load(tmp_path)] == [
        ("a.b", "b.toml:3"),
        ("m", "sub/deep/c.toml:1"),
        ("z", "b.toml:1"),
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "[job]\n", "\ufeff"])
def test_an_empty_table_is_legal(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, a=text)) == ()


def test_an_empty_directory_is_legal(tmp_path: Path) -> None:
    assert load(tmp_path) == ()


def test_byte_order_mark_and_crlf_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(
        "\ufeff[job.a]\r\nscript = '''\r\none\r\ntwo'''\r\nevery = '5s'\r\n".encode()
    )
    (definition,) = load(tmp_path)
    assert definition.job.work == model.Script(text="one\ntwo")
    assert definition.sources["every"] == "a.toml:5"


def test_other_spellings_of_the_same_tables(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="job.a.every = '5s'\njob.a.argv = ['x']\n",
        b="[job]\nb = { every = '5s', argv = ['x'] }",
        c="job = { c = { every = '5s', argv = ['x'] } }",
    )
    found = load(tmp_path)
    assert {definition.job.trigger for definition in found} == {model.Every(period=timedelta(seconds=5))}
    assert [definition.origin.text for definition in found] == ["a.toml:1", "b.toml:2", "c.toml:1"]
    assert [definition.sources["argv"] for definition in found] == ["a.toml:2", "b.toml:2", "c.toml:1"]


def test_the_version_changes_with_the_job_and_not_with_its_place(tmp_path: Path) -> None:
    (first,) = load(write(tmp_path / "1", a="[job.a]\nargv = ['x']"))
    (moved,) = load(write(tmp_path / "2", b="# comment\n[job.a]\ntimeout = '60m'\nargv = ['x']"))
    (other,) = load(write(tmp_path / "3", a="[job.a]\nargv = ['x']\ntimeout = '2h'"))
    assert len(first.version) == 12
    assert first.version == moved.version != other.version


def test_links_are_followed_once_and_loops_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path, a="[job.a]\nargv=['x']", sub__b="[job.b]\nargv=['x']")
    os.symlink(".", tmp_path / "loop")
    os.symlink("..", tmp_path / "sub" / "up")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "folder.toml" / "c.toml").write_text("[job.c]\nargv=['x']")
    (tmp_path / "real").write_text("[job.d]\nargv=['x']")
    os.symlink("real", tmp_path / "d.toml")
    assert [definition.job.name for definition in load(tmp_path)] == ["a", "b", "c", "d"]
