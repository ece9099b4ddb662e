"""A job, written as a document or as TOML and read back, is the same job."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schedulerd.adapters.jobfiles import DocumentError, load, parse_job, to_document, to_toml
from schedulerd.adapters.jobfiles.durations import format_duration, parse_duration
from schedulerd.errors import JobFileError

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20).map(
    lambda text: text.replace("{{", "{")
)
filled = texts.filter(lambda text: bool(text.strip()))
durations = st.integers(1, 10**9).map(lambda ms: format_duration(timedelta(milliseconds=ms)))
work = st.one_of(
    st.fixed_dictionaries({"argv": st.builds(lambda first, rest: [first, *rest], filled, st.lists(texts))}),
    st.fixed_dictionaries({"command": filled}),
    st.fixed_dictionaries({"script": filled}),
)
trigger = st.one_of(
    st.just({}),
    st.sampled_from([{"schedule": "@daily"}, {"schedule": ["0 3 * * *", "@hourly"]}, {"every": "90s"}]),
    st.sampled_from([{"schedule": "@reboot"}, {"schedule": ["@reboot", "0 3 * * *"]}]),
    st.sampled_from(
        [{"every": "90s", "every_from": "end"}, {"every": "1h", "anchor": "2026-03-29T02:30:00"}]
    ),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=3).map(
        lambda found: {"at": [datetime.fromtimestamp(ms / 1000, UTC).isoformat() for ms in found]}
    ),
)
days = st.dates().map(lambda day: day.isoformat())
calendar = st.fixed_dictionaries(
    {"dates": st.lists(days, max_size=4)},
    optional={
        "name": st.sampled_from(["holidays", ""]),
        "weekdays": st.lists(st.sampled_from(["sat", "sun", "mon-fri"]), max_size=3),
        "times": st.lists(
            st.sampled_from(
                ["2026-12-24T12:00:00/2026-12-24T18:00:00", "2026-12-24T12:00:00Z/2027-01-01T00:00:00Z"]
            )
        ),
    },
)
calendars = calendar | st.lists(calendar, min_size=1, max_size=2)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda v: st.lists(v) | st.dictionaries(texts, v),
    max_leaves=5,
)
items = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3),
    max_leaves=5,
)
bounds = {
    "max_parallel": st.integers(1, 100),
    "fail_fast": st.booleans(),
    "need": st.sampled_from(["all", 1, "95%", "0.5%", "100%", "33.3333%"]),
}
combination = st.dictionaries(st.sampled_from(["a", "b"]), items, min_size=2)
split = st.one_of(
    st.fixed_dictionaries({"shards": st.integers(1, 9)}, optional=bounds),
    st.fixed_dictionaries(
        {"items": st.lists(items, max_size=4)}, optional={"chunk": st.integers(1, 9), **bounds}
    ),
    st.fixed_dictionaries(
        {
            "matrix": st.fixed_dictionaries(
                {"a": st.lists(items, min_size=1, max_size=3), "b": st.lists(items, min_size=1, max_size=3)}
            )
        },
        optional={
            "include": st.lists(combination, max_size=2),
            "exclude": st.lists(st.dictionaries(st.sampled_from(["a", "b"]), items), max_size=2),
            "chunk": st.integers(1, 9),
            **bounds,
        },
    ),
    st.fixed_dictionaries({"per_worker": st.just(True)}, optional=bounds),
    st.fixed_dictionaries(
        {"command": filled}, optional={"chunk": st.integers(1, 9), "max_items": st.integers(1, 99), **bounds}
    ),
)
optional = st.fixed_dictionaries(
    {},
    optional={
        "description": texts,
        "tags": st.lists(st.sampled_from(["a", "b:c"])),
        "env": st.dictionaries(filled.map(lambda name: "X" + name.replace("=", "")), texts, max_size=3),
        "cwd": texts.map(lambda text: "/" + text),
        "shell": st.just(["/bin/bash", "-c"]),
        "dst_gap": st.sampled_from(["run", "skip"]),
        "dst_fold": st.sampled_from(["first", "last", "both"]),
        "start": st.just("2026-01-01T00:00:00"),
        "end": st.sampled_from(["2026-12-31T23:59:59+05:30", "2026-06-01T00:00:00.25Z"]),
        "max_runs": st.integers(1, 10**9),
        "calendar": calendars,
        "not_calendar": calendars,
        "jitter": durations,
        "timezone": st.sampled_from(["UTC", "Europe/Prague"]),
        "timeout": durations,
        "kill_after": durations,
        "success_codes": st.lists(st.integers(0, 255), min_size=1, max_size=3),
        "overlap": st.sampled_from(["skip", "queue", "allow", "replace"]),
        "queue_max": st.integers(1, 20),
        "pools": st.just([]),
        "misfire": st.sampled_from(["once", "all", "skip"]),
        "catchup_max": st.integers(0, 10),
        "on_lost": st.sampled_from(["fail", "retry"]),
        "requires": st.lists(st.sampled_from(["role=db", "!spot"])),
        "retry": st.fixed_dictionaries({"max": st.integers(0, 9)}),
        "paused": st.booleans(),
        "split": split,
        "setup": work,
        "gather": work,
        "teardown": work,
        "run_timeout": durations,
    },
)
documents = st.tuples(work, trigger, optional).map(lambda parts: parts[0] | parts[1] | parts[2])


@settings(max_examples=60, deadline=None)
@given(documents)
def test_a_document_reads_back_as_the_same_job(document: dict[str, Any]) -> None:
    definition = parse_job("x", document)
    for effective in (False, True):
        written = json.loads(json.dumps(to_document(definition.job, effective=effective)))
        again = parse_job("x", written)
        assert (again.job, again.version) == (definition.job, definition.version)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents)
def test_toml_reads_back_as_the_same_job(tmp_path: Path, document: dict[str, Any]) -> None:
    definition = parse_job("a.b-c", document)
    (tmp_path / "x.toml").write_text(to_toml(definition), encoding="utf-8", newline="")
    (again,) = load(tmp_path)
    assert again.job == definition.job


def test_toml_reads_well() -> None:
    document = {
        "at": "2026-12-05T03:00:00+01:00",
        "script": "set -eu\necho a\n",
        "env": {"A": "b"},
        "retry": {"max": 2},
        "split": {"items": [1, {"a": "b"}], "chunk": 2},
    }
    assert to_toml(parse_job("x", document)) == (
        "[job.x]\n"
        "at = 2026-12-05T02:00:00Z\n"
        'script = """\nset -eu\necho a\n"""\n'
        "retry = {max = 2}\n"
        "\n[job.x.env]\n"
        'A = "b"\n'
        "\n[job.x.split]\n"
        'items = [1, {a = "b"}]\n'
        "chunk = 2\n"
    )


def test_an_effective_document_names_every_key_with_a_default() -> None:
    document = to_document(parse_job("x", {"argv": ["true"]}).job, effective=True)
    assert document["timeout"] == "1h"
    assert document["success_codes"] == [0]
    assert document["retry"] == {"max": 0}
    assert "cwd" not in document
    assert to_document(parse_job("x", {"argv": ["true"]}).job) == {"argv": ["true"]}


def test_a_document_has_the_defaults_of_the_settings() -> None:
    definition = parse_job(
        "x", {"argv": ["true"], "env": {"A": "1"}}, defaults={"env": {"B": "2"}, "timeout": "2h"}
    )
    assert definition.job.env == {"A": "1", "B": "2"}
    assert definition.sources == {
        "argv": "api",
        "env": "api",
        "env.B": "schedulerd.toml [defaults]",
        "timeout": "schedulerd.toml [defaults]",
    }


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["argv", "every", "at", "split", "env", "retry", "tags", "items", "x"]), values
    )
)
def test_whatever_the_body_says_the_answer_is_a_job_or_plain_faults(document: dict[str, Any]) -> None:
    faults = []
    try:
        parse_job("x", document)
    except DocumentError as error:
        faults = error.faults or ["an error without a fault"]
    for fault in faults:
        assert re.fullmatch(r"(/[^:]*: )?\S.*", fault)
        assert fault.isprintable()
        assert "Input should" not in fault


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), junk=st.text("[]{}=.\"'#\n\\ a1,é\0\r", max_size=5), width=st.integers(0, 9))
def test_whatever_the_file_says_the_answer_is_a_table_or_plain_faults(
    tmp_path: Path, cut: int, junk: str, width: int
) -> None:
    text = """[job.a]
argv = ["x", '{{ item }}'] # c
split = { items = [1, "b", { c = 2 }], chunk = 2 }
[job.b]
script = '''
[job.c]
'''
at = [2026-01-01T00:00:00Z,
  "2026-01-02T00:00:00Z"]
[job.b.env]
"A.B" = \"""
x\"""
[[job.b.notify]]
x.y.z = 1
"""
    (tmp_path / "a.toml").write_text(text[:cut] + junk + text[cut + width :], encoding="utf-8", newline="")
    with pytest.raises(JobFileError) as error:
        load(tmp_path)
    lines = (tmp_path / "a.toml").read_text(encoding="utf-8").count("\n") + 1
    for fault in error.value.faults:
        assert fault.isprintable()
        file, line, column, _ = fault.split(":", 3)
        assert (file, 1 <= int(line) <= lines + 1, int(column) >= 1) == ("a.toml", True, True)


@pytest.mark.parametrize(
    ("text", "milliseconds", "written"),
    [
        ("90s", 90_000, "1m30s"),
        ("1h30m", 5_400_000, "1h30m"),
        ("500ms", 500, "500ms"),
        ("2d", 172_800_000, "2d"),
        ("1w", 604_800_000, "7d"),
        ("0s", 0, "0s"),
        ("0h007m", 420_000, "7m"),
    ],
)
def test_durations(text: str, milliseconds: int, written: str) -> None:
    assert parse_duration(text) == timedelta(milliseconds=milliseconds)
    assert format_duration(timedelta(milliseconds=milliseconds)) == written


@pytest.mark.parametrize(
    "text", ["", " 1s", "1s ", "1 s", "-1s", "1.5h", "1S", "s", "1s1s", "1", "²s", "1h30"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_duration(text)
