"""The table `split` and the steps of a run, as job files have them: what is read, what is refused and where."""

from pathlib import Path
from typing import Any

import pytest
from test_jobfiles_faults import faults_of, job
from test_jobfiles_reading import write

from schedulerd.adapters.jobfiles import load, parse_job, to_document
from schedulerd.core.splitting import combinations, parts_of
from schedulerd.model import job as model


def read(directory: Path, lines: str) -> model.Job:
    """The job `x` with these lines."""
    (definition,) = load(write(directory, a=job(lines)))
    return definition.job


def test_a_matrix_is_every_combination_in_the_order_of_its_axes(tmp_path: Path) -> None:
    found = read(tmp_path, "[job.x.split.matrix]\ndesk = ['rates', 'fx']\nscenario = [1, { base = true }]")
    assert parts_of(found) == [
        (0, '{"desk":"rates","scenario":1}'),
        (1, '{"desk":"rates","scenario":{"base":true}}'),
        (2, '{"desk":"fx","scenario":1}'),
        (3, '{"desk":"fx","scenario":{"base":true}}'),
    ]


def test_combinations_are_left_out_and_added(tmp_path: Path) -> None:
    lines = """[job.x.split]
matrix = { os = ["deb", "rpm"], arch = ["amd64", "arm64"] }
exclude = [{ os = "rpm", arch = "arm64" }, { arch = "none" }]
include = [{ os = "apk", arch = "amd64", extra = 1 }, { os = "deb", arch = "amd64" }]
"""
    found = read(tmp_path, lines)
    assert isinstance(found.split, model.Matrix)
    assert combinations(found.split) == [
        '{"os":"deb","arch":"amd64"}',
        '{"os":"deb","arch":"arm64"}',
        '{"os":"rpm","arch":"amd64"}',
        '{"os":"apk","arch":"amd64","extra":1}',
    ]


def test_a_matrix_in_chunks(tmp_path: Path) -> None:
    found = read(tmp_path, "split = { matrix = { a = [1, 2, 3] }, chunk = 2 }")
    assert parts_of(found) == [(0, '[{"a":1},{"a":2}]'), (1, '[{"a":3}]')]


def test_a_matrix_of_which_everything_is_excluded_has_no_items(tmp_path: Path) -> None:
    assert parts_of(read(tmp_path, "split = { matrix = { a = [1] }, exclude = [{ a = 1 }] }")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("need = 'all'", {}),
        ("need = 2", {"need": model.AtLeast(count=2)}),
        ("need = '95%'", {"need": model.Share(millionths=950_000)}),
        ("need = '99.5%'", {"need": model.Share(millionths=995_000)}),
        ("max_parallel = 8", {"max_parallel": 8}),
        ("fail_fast = true", {"fail_fast": True}),
        ("fail_fast = false", {}),
    ],
)
def test_bounds(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    found = read(tmp_path, f"[job.x.split]\nshards = 3\n{text}")
    names = ("need", "max_parallel", "fail_fast")
    usual = model.Job(name="x", trigger=model.Manual(), work=found.work)
    assert {
        key: getattr(found, key) for key in names if getattr(found, key) != getattr(usual, key)
    } == expected
    assert parse_job("x", to_document(found)).job == found


def test_steps_and_the_term_of_a_run(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "run_timeout = '2h'\nsetup.argv = ['mk', '{{ run_id }}']\n"
        "teardown = { script = 'rm' }\ngather.command = 'x'",
    )
    assert found.setup == model.Argv(argv=("mk", "{{ run_id }}"))
    assert found.teardown == model.Script(text="rm")
    assert found.run_timeout is not None
    assert found.run_timeout.total_seconds() == 7200
    assert parse_job("x", to_document(found)).job == found


def test_max_items_is_kept_with_the_command(tmp_path: Path) -> None:
    assert read(tmp_path, "split = { command = 'ls', max_items = 5 }").max_items == 5


def test_jobs_that_do_not_use_them_keep_their_version(tmp_path: Path) -> None:
    (definition,) = load(write(tmp_path, a="[job.a]\nargv = ['true']\nsplit = { command = 'ls' }"))
    assert definition.version == "1a84601c05e7"


BAD = [
    ("setup = 'x'", '3:9: setup: "x" is a string, expected a table'),
    ("teardown = {}", "3:1: teardown: nothing to run was found, expected one of argv, command, script"),
    ("setup.argv = ['x', '{{ item }}']", '3:21: setup.argv[1]: template "item" has no value here'),
    (
        "teardown = { argv = ['x'], command = 'y' }",
        "3:28: teardown.command: stands beside argv, expected one of",
    ),
    ("run_timeout = '0s'", '3:15: run_timeout: "0s" is too short, expected at least "1ms"'),
    ("need = 3", '3:1: need: unknown key, did you mean "split.need"?'),
    (
        "split.need = '95%'",
        "3:1: split: nothing to split by was found, expected one of shards, items, matrix,",
    ),
    (
        "split = { shards = 2, need = '101%' }",
        '3:30: split.need: "101%" was found, expected "all", a count of',
    ),
    ("split = { shards = 2, need = '0%' }", '3:30: split.need: "0%" was found, expected "all", a count of'),
    (
        "split = { shards = 2, need = 0 }",
        '3:30: split.need: 0 was found, expected "all", a count of subtasks',
    ),
    ("split = { shards = 2, need = true }", '3:30: split.need: true was found, expected "all", a count of'),
    ("split = { shards = 2, need = 3 }", "3:30: split.need: 3 was found, but there are only 2 subtasks"),
    (
        "split = { shards = 2, max_parallel = 0 }",
        "3:38: split.max_parallel: 0 is out of range, expected at least",
    ),
    ("split = { shards = 2, fail_fast = 'no' }", '3:35: split.fail_fast: "no" is a string, expected true or'),
    ("split = { shards = 2, max_items = 3 }", "3:23: split.max_items: stands without argv or command, whose"),
    (
        "split = { shards = 2, include = [] }",
        "3:23: split.include: stands without matrix, which it speaks of",
    ),
    (
        "split = { items = [1], exclude = [] }",
        "3:24: split.exclude: stands without matrix, which it speaks of",
    ),
    ("split.matrix = {}", "3:16: split.matrix: {} is out of range, expected at least 1"),
    ("split.matrix.a = []", "3:18: split.matrix.a: [] is out of range, expected at least 1"),
    ("split.matrix.a = 3", "3:18: split.matrix.a: 3 is an integer, expected a list"),
    ("split.matrix.'a b' = [1]", '"a b" cannot be named in a template, expected letters, digits, - and _'),
    ("split.matrix.a = [1, 2026-01-01]", "3:22: split.matrix.a[1]: 2026-01-01 cannot be JSON"),
    (
        "split = { matrix = { a = [1], b = [2] }, include = [{ a = 2 }] }",
        "3:53: split.include[0]: lacks b, expected a value of every axis",
    ),
    (
        "split = { matrix = { a = [1] }, exclude = [{ c = 2 }] }",
        '3:44: split.exclude[0]: names "c", expected some of a',
    ),
    ("split = { matrix = { a = [1] }, shards = 2 }", "split.shards: stands beside matrix, expected one of"),
]


@pytest.mark.parametrize(("lines", "expected"), BAD, ids=[lines for lines, _ in BAD])
def test_what_cannot_be_is_told_with_its_place(tmp_path: Path, lines: str, expected: str) -> None:
    (fault,) = faults_of(write(tmp_path, a=job(lines)))
    assert expected in fault
    assert fault.startswith("a.toml:3:")


def test_more_combinations_than_subtasks_there_may_be_are_refused(tmp_path: Path) -> None:
    axes = "\n".join(f"split.matrix.a{number} = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for number in range(6))
    (fault,) = faults_of(write(tmp_path, a=job(axes)))
    assert "split.matrix: 1,000,000 combinations were found, expected at most 100,000" in fault


def test_items_of_a_subtask_that_fit_into_no_frame_are_refused(tmp_path: Path) -> None:
    items = ", ".join(f'"{"x" * 60_000}"' for _ in range(60))
    (fault,) = faults_of(write(tmp_path, a=job(f"split = {{ items = [{items}], chunk = 60 }}")))
    assert "split.chunk: the items of one subtask come to 3,6" in fault


@pytest.mark.parametrize(
    ("argument", "split", "expected"),
    [
        ("{{ matrix.dsk }}", "matrix = { desk = [1] }", 'no such name, did you mean "matrix.desk"?'),
        ("{{ matrix.x }}", "matrix = { desk = [1] }", "no such name, expected matrix.desk"),
        ("{{ matrix.x }}", "items = [1]", "the job is not split by a matrix"),
        ("{{ matrix.desk }}", "matrix = { desk = [1] }\nchunk = 2", "cannot be used with chunk"),
    ],
)
def test_templates_name_only_what_the_matrix_has(
    tmp_path: Path, argument: str, split: str, expected: str
) -> None:
    (fault,) = faults_of(write(tmp_path, a=f"[job.x]\nargv = ['x', '{argument}']\n[job.x.split]\n{split}"))
    assert fault.startswith("a.toml:2:15: argv[1]: ")
    assert expected in fault


def test_templates_may_name_what_only_included_combinations_have(tmp_path: Path) -> None:
    text = "[job.x]\nargv = ['x', '{{ matrix.more }}']\n[job.x.split]\nmatrix = { a = [1] }\n"
    load(write(tmp_path, a=f"{text}include = [{{ a = 2, more = 3 }}]"))
