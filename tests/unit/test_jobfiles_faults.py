"""Bad job files: every fault of every file at once, in plain sentences, at its very place."""

import os
from pathlib import Path

import pytest
from test_jobfiles_reading import write

from schedulerd.adapters.jobfiles import DocumentError, files, load, parse_job
from schedulerd.errors import JobFileError

TAIL = "; the table in force stays"


def faults_of(directory: Path) -> list[str]:
    with pytest.raises(JobFileError) as error:
        load(directory)
    assert all(fault.endswith(TAIL) for fault in error.value.faults)
    return [fault.removesuffix(TAIL) for fault in error.value.faults]


def job(lines: str) -> str:
    return f"[job.x]\nargv = ['true']\n{lines}"


DURATION = 'expected a duration with its units, such as "90s" or "1h30m"'
IN_JOB = [  # lines of a job from line 3 on, and the one fault in them
    ('schedul = "@daily"', '3:1: schedul: unknown key, did you mean "schedule"?'),
    ("nothing_like_it = 3", "3:1: nothing_like_it: unknown key"),
    ("jiter = '5s'", '3:1: jiter: unknown key, did you mean "jitter"?'),
    ("shards = 3", '3:1: shards: unknown key, did you mean "split.shards"?'),
    ('schedule = "61 * * * *"', '3:13: schedule: minute "61" is not in 0-59'),
    ('schedule = ["@daily",\n  "* * * * fry"]', "4:12: schedule[1]: weekday"),
    ('schedule = "\\u002a 24 * * *"', '3:20: schedule: hour "24" is not in 0-23'),
    ("schedule = []", "3:12: schedule: [] is out of range, expected at least 1 element"),
    ("schedule = 5", "3:12: schedule: 5 is an integer, expected a string"),
    (
        'schedule = ["@every 5s", "@daily"]',
        '3:13: schedule[0]: "@every 5s" stands beside other schedules, expected it',
    ),
    ("every = 90", f"3:9: every: 90 is an integer, {DURATION}"),
    ('every = "90"', f'3:9: every: "90" has no unit, {DURATION}'),
    ('every = "soon"', f'3:9: every: "soon" is not a duration, {DURATION}'),
    ('every = "1h soon"', f'3:9: every: "1h soon" cannot be read from " soon" on, {DURATION}'),
    ('every = ""', f'3:9: every: "" is empty, {DURATION}'),
    (
        'every = "5m1h"',
        '3:9: every: "5m1h" repeats or reorders its units, expected the longest first, such as "1h30m"',
    ),
    ('every = "99ms"', '3:9: every: "99ms" is too short, expected at least "100ms"'),
    (
        'every = "999999999999999999999w"',
        '3:9: every: "999999999999999999999w" is too long, expected at most "36500d"',
    ),
    ('timeout = "0s"', '3:11: timeout: "0s" is too short, expected at least "1ms"'),
    (
        "every = '5s'\nschedule = '@daily'",
        "4:1: schedule: stands beside every, expected one of schedule, every, at",
    ),
    ("command = 'x'", "3:1: command: stands beside argv, expected one of argv, command, script"),
    (
        "at = 2026-01-01",
        "3:6: at: 2026-01-01 has no time of day, expected a date and time such as 2026-12-05T03:00",
    ),
    ("at = 03:00:00", "3:6: at: 03:00:00 has no date, expected a date and time"),
    ("at = ['2026-13-01T00:00:00Z']", '3:7: at[0]: "2026-13-01T00:00:00Z" is no date of the calendar'),
    ("at = 'tomorrow'", '3:6: at: "tomorrow" is not understood, expected a date and time'),
    ("at = 5", "3:6: at: 5 is an integer, expected a date and time"),
    (
        "at = 0001-01-01T00:00:00+10:00",
        "3:6: at: 0001-01-01T00:00:00+10:00 lies outside the years 1 to 9999 in UTC",
    ),
    (
        "at = 2011-12-30T12:00:00\ntimezone = 'Pacific/Apia'",
        "3:6: at: 2011-12-30T12:00:00 does not exist in Pacific/Apia",
    ),
    (
        "timezone = 'Europe/Prage'",
        '3:12: timezone: "Europe/Prage" is an unknown zone, did you mean "Europe/Prague"',
    ),
    (
        "timezone = '../etc/passwd'",
        '3:12: timezone: "../etc/passwd" is an unknown zone, expected an IANA name such as',
    ),
    ("env.X = 1", "3:9: env.X: 1 is an integer, expected a string"),
    ("env = { 'a=b' = 'c' }", '3:9: env."a=b": "a=b" cannot name a variable, expected no "=" in it'),
    (
        "env.SCHEDULERD_ITEM = 'x'",
        "3:5: env.SCHEDULERD_ITEM: SCHEDULERD_ITEM is set by the worker for every attempt",
    ),
    ("env.X = { credential = 'db' }", "3:9: env.X: a credential is not supported yet, expected a string"),
    ("env.X = 'a\\n{{ job }}'".replace("'", '"'), '3:13: env.X: template name "job" does not exist'),
    ("env.X = '{{ item }}'", '3:10: env.X: template "item" has no value here: there are no items'),
    ("cwd = 'tmp'", '3:7: cwd: "tmp" is not an absolute path, expected one that begins with /'),
    (
        'description = "a\\u0000b"',
        '3:17: description: "a\\u0000b" holds a NUL character, which no program can be given',
    ),
    ("success_codes = [0, 256]", "3:21: success_codes[1]: 256 is out of range, expected at most 255"),
    ("success_codes = 0", "3:17: success_codes: 0 is an integer, expected a list of integers"),
    ("success_codes = []", "3:17: success_codes: [] is out of range, expected at least 1 element"),
    ("success_codes = [true]", "3:18: success_codes[0]: true is a boolean, expected an integer"),
    (
        "overlap = 'alow'",
        '3:11: overlap: "alow" is unknown, did you mean "allow"? expected one of "skip", "queue", "allow", "replace"',
    ),
    (
        "overlap = true",
        '3:11: overlap: true is a boolean, expected one of "skip", "queue", "allow", "replace"',
    ),
    ("queue_max = 0", "3:13: queue_max: 0 is out of range, expected at least 1"),
    ("queue_max = 10001", "3:13: queue_max: 10001 is out of range, expected at most 10000"),
    ("queue_max = '5'", '3:13: queue_max: "5" is a string, expected an integer'),
    ("misfire = 'never'", '3:11: misfire: "never" is unknown, expected one of "once", "all", "skip"'),
    ("catchup_max = 2.5", "3:15: catchup_max: 2.5 is a float, expected an integer"),
    ("catchup_max = -1", "3:15: catchup_max: -1 is out of range, expected at least 0"),
    ("retry = 3", "3:9: retry: 3 is an integer, expected a table"),
    ("retry = { max = 1, backoff = '1s' }", "3:20: retry.backoff: not supported yet, leave it out"),
    ("retry = { max = 1, maxx = 1 }", '3:20: retry.maxx: unknown key, did you mean "max"?'),
    ("retry.max = 1001", "3:13: retry.max: 1001 is out of range, expected at most 1000"),
    (
        "requires = ['role=db', 'a b']",
        '3:24: requires[1]: "a b" is not a label, expected "role=db", "!spot" or the like',
    ),
    ("requires = 'role=db'", '3:12: requires: "role=db" is a string, expected a list of strings'),
    ("tags = ['']", '3:9: tags[0]: "" is not a tag, expected up to 63 letters, digits and . _ : / @ + -'),
    ("paused = 'yes'", '3:10: paused: "yes" is a string, expected true or false'),
    ("shell = []", "3:9: shell: [] names no program, expected a list that begins with one"),
    (
        "[job.x.split]",
        "3:8: split: nothing to split by was found, expected one of shards, items, matrix, argv, com",
    ),
    ("split.shards = 0", "3:16: split.shards: 0 is out of range, expected at least 1"),
    ("split.shards = 100001", "3:16: split.shards: 100001 is out of range, expected at most 100000"),
    (
        "split = { shards = 2, chunk = 2 }",
        "3:23: split.chunk: stands beside shards, which has no items, expected items,",
    ),
    (
        "split = { shards = 2, items = [1] }",
        "3:23: split.items: stands beside shards, expected one of shards, items,",
    ),
    ("split.per_worker = false", "3:20: split.per_worker: false was found, expected true or no such key"),
    (
        "split.items = [1, 2026-01-01]",
        "3:19: split.items[1]: 2026-01-01 cannot be JSON, expected text, numbers, lists",
    ),
    (
        "split.items = [nan]",
        "3:16: split.items[0]: NaN cannot be JSON, expected text, numbers, lists and tables",
    ),
    (
        "split.argv = ['ls', '{{ item }}']",
        '3:22: split.argv[1]: template "item" has no value here: there are no items',
    ),
    ("gather = 'x'", '3:10: gather: "x" is a string, expected a table'),
    ("gather.argv = [3]", "3:16: gather.argv[0]: 3 is an integer, expected a string"),
    ("gather = {}", "3:1: gather: nothing to run was found, expected one of argv, command, script"),
    (
        "gather.command = '{{ itm }}'",
        '3:19: gather.command: template name "itm" does not exist; did you mean "item"?',
    ),
]


@pytest.mark.parametrize(("lines", "expected"), IN_JOB, ids=[expected[:50] for _, expected in IN_JOB])
def test_one_fault_in_a_job(tmp_path: Path, lines: str, expected: str) -> None:
    (fault,) = faults_of(write(tmp_path, a=job(lines)))
    assert fault.startswith(f"a.toml:{expected}")
    assert not any(
        word in fault.lower() for word in ("pydantic", "input should", "valid ", "type=", "traceback")
    )


IN_FILE = [
    ("[job.x]\nevery = '5s'", "1:6: nothing to run was found, expected one of argv, command, script"),
    (
        "[job.X]\nargv = ['x']",
        '1:6: "X" cannot name a job, expected a lower-case letter or digit, then up to 62 of',
    ),
    ("[job.'a b']\nargv = ['x']", '1:6: "a b" cannot name a job'),
    ("[job]\nx = 3", "2:5: 3 is an integer, expected a table [job.NAME]"),
    ("job = 3", "1:7: job: 3 is an integer, expected tables [job.NAME]"),
    ("[[job.x]]\nargv = ['x']", "1:7: a list was found, expected a table [job.NAME]"),
    ("[jobs.x]\nargv = ['x']", '1:2: jobs: unknown key, did you mean "job"?'),
    ("[sink.x]\nto = 'y'", "1:2: sink: not supported yet, leave it out"),
    ("sink.x = {}", "1:1: sink: not supported yet, leave it out"),
    ("[sink.x]\nurl = 1", "1:2: sink: not supported yet, leave it out"),
    ("[job.x]\nargv = []", "2:8: argv: [] names no program, expected a list that begins with one"),
    ("[job.x]\nargv = ['']", '2:8: argv: [""] names no program, expected a list that begins with one'),
    ("[job.x]\ncommand = ' '", '2:11: command: " " is empty, expected something to run'),
    (
        "[job.x]\nargv = ['ok', '{{ bad | upper }}']",
        "2:16: argv[1]: found {{ bad | upper }}, expected {{ name.name }}",
    ),
    (
        "[job.x]\nscript = '''\nabc\n  {{ runid }}'''",
        '4:3: script: template name "runid" does not exist; did you mean',
    ),
    ("[job.x]\nargv = ['{{ parent.job }}']", '2:10: argv[0]: template "parent.job" has no value here'),
    (
        "[job.x]\nargv = ['{{ item }}']\nsplit = {items = [1], chunk = 2}",
        '2:10: argv[0]: template "item" cannot be used',
    ),
    ("[job.x\n", "1:7: expected ']' at the end of a table declaration, expected TOML 1.0"),
    ("[job.x]\nargv = ['x'\n", "3:1: unclosed array, expected TOML 1.0"),
    ("[job.x]\nat = 2026-02-30T00:00:00Z\n", "2:6: invalid date or datetime, expected TOML 1.0"),
    ("[job.x]\na = 1\na = 2\n", "3:6: cannot overwrite a value, expected TOML 1.0"),
    (
        "[job.x]\n[job.y]\n# c\n[job . 'x']\n",
        "4:2: [job.x] stands here and at a.toml:1, expected one table for each name",
    ),
    (f"a = {'9' * 5000}", "1:1: a number is too long to be read, expected TOML 1.0"),
    (f"a = {'[' * 5000}", "1:1: lists or tables are nested too deeply"),
]


@pytest.mark.parametrize(("text", "expected"), IN_FILE, ids=[expected[:50] for _, expected in IN_FILE])
def test_one_fault_in_a_file(tmp_path: Path, text: str, expected: str) -> None:
    (fault,) = faults_of(write(tmp_path, a=text))
    assert fault.startswith(f"a.toml:{expected}")


def test_all_faults_of_all_files_come_at_once_in_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="[job.one]\nevery = 5\nschedule = '* * *'\nargv = 'x'\nenvv = 1\n[job.two]\nargv = ['x']",
        b="[job.two]\nargv = ['x']\n[job.three]\nsplit = { chunk = 0, fail_fast = 1, items = [1] }",
        c="[job.broken",
        d__e="[job.two]\ncommand = 'x'\nretry.max = true",
    )
    assert faults_of(tmp_path) == [
        f"a.toml:2:9: every: 5 is an integer, {DURATION}",
        "a.toml:3:1: schedule: stands beside every, expected one of schedule, every, at",
        "a.toml:3:18: schedule: 3 fields, expected 5, or 6 with seconds first; minute hour day-of-month month weekday",
        'a.toml:4:8: argv: "x" is a string, expected a list of strings',
        'a.toml:5:1: envv: unknown key, did you mean "env"?',
        "b.toml:1:6: job two stands here and at a.toml:6, expected each name once",
        "b.toml:3:6: nothing to run was found, expected one of argv, command, script",
        "b.toml:4:19: split.chunk: 0 is out of range, expected at least 1",
        "b.toml:4:34: split.fail_fast: 1 is an integer, expected true or false",
        "c.toml:1:12: expected ']' at the end of a table declaration, expected TOML 1.0",
        "d/e.toml:1:6: job two stands here and at a.toml:6, expected each name once",
        "d/e.toml:3:13: retry.max: true is a boolean, expected an integer",
    ]


def test_a_name_is_taken_even_by_a_faulty_job(tmp_path: Path) -> None:
    write(tmp_path, a="[job.x]\nevery = 5\nargv = ['x']", b="[job.x]\nargv = ['x']")
    assert faults_of(tmp_path)[1] == "b.toml:1:6: job x stands here and at a.toml:1, expected each name once"


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes("[job.x]\nargv = ['é', '".encode() + b"\xe9']")
    os.mkfifo(tmp_path / "pipe.toml")
    os.symlink("/dev/zero", tmp_path / "zero.toml")
    os.symlink("nowhere", tmp_path / "gone.toml")
    with open(tmp_path / "huge.toml", "wb") as file:
        file.truncate(files.MAX_FILE + 1)
    assert faults_of(tmp_path) == [
        "gone.toml:1:1: cannot be read (No such file or directory), expected a file that schedulerd may read",
        "huge.toml:1:1: holds more than 16,777,216 bytes, expected less; jobs may be spread over several files",
        "latin.toml:2:15: byte 0xe9 is not UTF-8, expected a file in UTF-8",
        "pipe.toml:1:1: is not a regular file, expected a TOML file",
        "zero.toml:1:1: is not a regular file, expected a TOML file",
    ]


def test_names_of_files_are_shown_on_one_line(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\nb\x1b\xff.toml")).write_text("x = 1")
    assert faults_of(tmp_path) == ["a\\nb\\x1b\\udcff.toml:1:1: x: unknown key"]


def test_a_missing_directory_is_one_fault(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path / "none")
    assert (
        fault == f"{tmp_path}/none: cannot be read (No such file or directory), expected the jobs directory"
    )


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 2)
    write(tmp_path, a="", b="", c="")
    assert faults_of(tmp_path) == [
        ".:1:1: more than 2 files were found, expected fewer; several jobs may share a file"
    ]


def test_a_table_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_TABLE", 30)
    write(tmp_path, a=job(""), b=job(""), c="x = 1")
    assert faults_of(tmp_path) == [
        "b.toml:1:1: with this file the table has more than 30 characters, expected less"
    ]


def test_directories_too_deep_are_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * (files.MAX_DEPTH + 1))).mkdir(parents=True)
    (fault,) = faults_of(tmp_path)
    assert "holds directories more than 32 below the jobs directory" in fault


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (fault,) = faults_of(write(tmp_path, a=job('tags = ["\\u001b[2J\\u2028"]\n')))
    assert fault.isprintable()


def test_a_job_too_large_to_travel_is_refused(tmp_path: Path) -> None:
    words = ", ".join(f"'{'x' * 60_000}'" for _ in range(14))
    (fault,) = faults_of(write(tmp_path, a=f"[job.x]\nargv = [{words}]"))
    assert "bytes of job were found, expected at most 786,432" in fault
    (fault,) = faults_of(write(tmp_path, a=f"[job.x]\nargv = ['{'x' * 70_000}']"))
    assert fault == "a.toml:2:9: argv[0]: 70,000 bytes of text were found, expected at most 65,536"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], ["a list was found, expected a job as a table"]),
        ({"argv": ["x"], "a/b~": 1}, ["/a~1b~0: unknown key"]),
        ({"argv": ["x", 1], "split": {"items": []}}, ["/argv/1: 1 is an integer, expected a string"]),
        ({"argv": ["\ud800"]}, ['/argv/0: "\\ud800" holds half a surrogate pair, expected Unicode text']),
        ({"argv": ["x"], "retry": {"max": "1"}}, ['/retry/max: "1" is a string, expected an integer']),
        ({}, ["nothing to run was found, expected one of argv, command, script"]),
        ({"http": {}}, ["/http: not supported yet, leave it out"]),
        ({"argv": ["x"], "schedule": "0 0 31 2 *"}, ["/schedule: "]),
        (
            {"argv": None, "every": "x", "nope": 1},
            [
                f'/every: "x" is not a duration, {DURATION}',
                "/nope: unknown key",
                "nothing to run was found, expected one of argv, command, script",
            ],
        ),
    ],
)
def test_documents_are_refused_with_json_pointers(document: object, expected: list[str]) -> None:
    with pytest.raises(DocumentError) as error:
        parse_job("x", document)
    assert len(error.value.faults) == len(expected)
    for fault, start in zip(error.value.faults, expected, strict=True):
        assert fault.startswith(start)


def test_a_fault_in_cron_text_knows_its_character() -> None:
    with pytest.raises(DocumentError) as error:
        parse_job("x", {"argv": ["x"], "schedule": "0 25 * * *"})
    (fault,) = error.value.details
    assert (fault.pointer, fault.index) == ("/schedule", 2)
