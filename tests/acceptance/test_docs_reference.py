"""Reference pages list exactly what the code has: keys, settings, verbs, options, paths, tables, metrics.

A new one without its line fails here, and so does a line about one that is gone.
"""

import ast
import re
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
from msgspec import structs
from support.markdown import Row, rows, sections

import schedulerd
from schedulerd.adapters.jobfiles import catalog
from schedulerd.adapters.jobfiles.values import _OWN_VARIABLES
from schedulerd.adapters.ledger.open import open_ledger
from schedulerd.adapters.metrics import Metrics
from schedulerd.api.door import Door
from schedulerd.api.server import build_app
from schedulerd.core import notes, tally
from schedulerd.ctl.exits import Exit
from schedulerd.ctl.main import cli
from schedulerd.hostkit import settings as hostkit_settings
from schedulerd.hostkit.settings import load_schedulerd, load_workerd
from schedulerd.hostkit.settings_source import Source

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
JOB_FILES = REFERENCE / "job-files.md"
SETTINGS = REFERENCE / "settings.md"
SCHEDULERCTL = REFERENCE / "schedulerctl.md"


# ---- job files ------------------------------------------------------------


def _keys(page: Path, *titles: str) -> set[str]:
    found = sections(page)
    return {row.code for title in titles for row in rows(found[title])}


def test_job_files_names_every_key() -> None:
    of_a_job = _keys(JOB_FILES, "When", "What", "Where, and if it goes wrong", "Many subtasks", "For people")
    assert of_a_job == catalog.keys_of("")
    for level in ("split", "setup", "gather", "teardown", "retry"):
        assert _keys(JOB_FILES, f"[job.NAME.{level}]") == catalog.keys_of(level)
    assert _keys(JOB_FILES, "[pool.NAME]") == catalog.keys_of("pool")


def test_job_files_names_every_key_that_is_not_supported_yet() -> None:
    text = sections(JOB_FILES)["Not supported yet"].replace("\n  ", " ")
    listed = {
        match[1]: set(re.findall(r"`([a-z_]+)`", match[2]))
        for match in re.finditer(r"- Of (.*?): (.*)", text)
    }
    levels = {
        "a job, and of defaults": "",
        "a file": "file",
        "`setup`, `gather` and `teardown`": "gather",
        "`retry`": "retry",
    }
    assert listed.keys() == levels.keys()
    for words, level in levels.items():
        assert listed[words] == catalog.later_keys(level)
    assert catalog.later_keys("setup") == catalog.later_keys("teardown") == catalog.later_keys("gather")


def test_job_files_tells_which_keys_are_no_defaults() -> None:
    text = sections(JOB_FILES)["Defaults"].replace("\n", " ")
    exceptions = re.search(r"all of the above but (.*?)\.", text)
    assert exceptions is not None
    listed = set(re.findall(r"`(\w+)`", exceptions[1]))
    assert listed == catalog.keys_of("") - catalog.keys_of("defaults")


def test_job_files_names_every_variable_of_a_command() -> None:
    named = _keys(JOB_FILES, "What a command finds in its environment")
    assert named - {"TRACEPARENT"} == _OWN_VARIABLES


# ---- settings ------------------------------------------------------------


BOTH, OF_SCHEDULERD, OF_WORKERD = "Both daemons", "schedulerd.toml", "workerd.toml"
Settings = dict[str, dict[str, Row]]  # section -> key -> row


def _settings_of(title: str) -> Settings:
    found: Settings = {}
    for name, text in sections(SETTINGS, under=title).items():
        section = "" if name == "At the top" else name.strip("[]")
        found[section] = {row.code: row for row in rows(text)}
    return found


def _asked(monkeypatch: pytest.MonkeyPatch, load: Any) -> set[tuple[str, str]]:
    """(section, key) of every setting that a daemon asks for; key is empty for a table of any keys."""
    sources: list[Source] = []

    class Remembering(Source):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            sources.append(self)

    monkeypatch.setattr(hostkit_settings, "Source", Remembering)
    load(None, {})
    asked = sources[0]._asked
    return {(section, key) for section, keys in asked.items() for key in keys or [""]}


@pytest.mark.parametrize(
    ("title", "load"),
    [(OF_SCHEDULERD, load_schedulerd), (OF_WORKERD, load_workerd)],
    ids=["schedulerd", "workerd"],
)
def test_settings_names_every_setting_with_its_default(
    title: str, load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {
        (section, key, row)
        for where in (BOTH, title)
        for section, table in _settings_of(where).items()
        for key, row in (table or {"": Row("", ())}).items()
    }
    assert {(section, key) for section, key, _ in listed} == _asked(monkeypatch, load)
    lines: dict[str, list[str]] = {}
    for section, key, row in listed:
        if row.cells and row.cells[1].startswith("`"):  # a default in words depends on the host
            lines.setdefault(section, []).append(f"{key} = {row.cells[1].strip('`')}")
    file = tmp_path / "settings.toml"
    text = "\n".join(lines.pop("", []))
    file.write_text(text + "".join(f"\n[{name}]\n" + "\n".join(found) for name, found in lines.items()))
    monkeypatch.chdir(tmp_path)
    assert structs.replace(load(file, {}), origin=None) == load(None, {})


# ---- schedulerctl ------------------------------------------------------------


def _options(command: click.Command) -> set[str]:
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name != "help"
        for name in parameter.opts
    }


def _named_options(text: str) -> set[str]:
    return {name for row in rows(text) for name in re.findall(r"`(--?[a-zA-Z-]+)`", row.cells[0])}


def test_schedulerctl_names_every_verb_and_every_option() -> None:
    found = sections(SCHEDULERCTL)
    everywhere = _options(cli)
    context = click.Context(cli)
    verbs = {verb: cli.get_command(context, verb) for verb in cli.list_commands(context)}
    assert verbs.keys() <= found.keys()
    named = {
        title
        for where in ("Looking", "Giving orders", "The job table")
        for title in sections(SCHEDULERCTL, under=where)
    }
    assert named == verbs.keys()
    assert _named_options(found["Everywhere"]) == everywhere | {"-h", "--help"}
    for verb, command in verbs.items():
        assert command is not None
        assert f"`schedulerctl {verb}" in found[verb], verb
        assert _named_options(found[verb]) == _options(command) - {"-o", "--output", "--utc", "--tz"}, verb


def test_schedulerctl_names_every_exit_code() -> None:
    named = [int(row.cells[0]) for row in rows(sections(SCHEDULERCTL)["Exit codes"])]
    assert named == [int(code) for code in Exit]


# ---- API, ledger, metrics ------------------------------------------------------------


def test_api_names_every_path() -> None:
    door = cast(Door, SimpleNamespace(status=lambda: SimpleNamespace(version="0")))
    description = build_app(door, lambda: pytest.fail("nobody reads here")).openapi()
    served = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    named = {
        (row.cells[0], row.cells[1].strip("`"))
        for text in sections(REFERENCE / "api.md").values()
        for row in rows(text)
        if row.cells[0].isupper()
    }
    assert named == served


def test_ledger_names_every_table_and_column(tmp_path: Path) -> None:
    open_ledger(f"sqlite://{tmp_path}/ledger.db").close()
    connection = sqlite3.connect(tmp_path / "ledger.db")
    query = (
        "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    )
    tables = dict(connection.execute(query))
    columns = {
        name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
        for name, kind in tables.items()
        if kind == "table"
    }
    connection.close()
    named = sections(REFERENCE / "ledger.md", under="Tables")
    assert named.keys() == tables.keys()
    for name, wanted in columns.items():
        listed = re.search(r"Columns: (.*)", named[name].replace("\n", " "))
        assert listed is not None, name
        bare = re.sub(r"\([^)]*\)", "", listed[1])
        assert set(re.findall(r"`(\w+)`", bare)) == wanted, name


def test_metrics_names_every_metric_with_its_labels() -> None:
    registry = Metrics().registry
    kept = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in registry.collect()
    }
    found = sections(REFERENCE / "metrics.md")
    for title, kind in (("Gauges", "gauge"), ("Counters", "counter"), ("Histograms", "histogram")):
        named = {row.code for row in rows(found[title])}
        assert named == {name for name, its in kept.items() if its == kind}, title
    labels = {
        row.code: set(re.findall(r"`(\w+)`", row.cells[1]))
        for title in ("Gauges", "Counters", "Histograms")
        for row in rows(found[title])
    }
    for collector, names in registry._collector_to_names.items():
        if names:
            documented = labels[next(name for name in labels if name in names)]
            assert documented == set(collector._labelnames), names  # type: ignore[attr-defined]
            continue
        for family in collector.collect():  # several metrics of one collector
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert labels[name] == set(family._labelnames), name  # type: ignore[attr-defined]


def test_metrics_names_every_type_of_event() -> None:
    """Types are the first words of calls that make events, and a few constants; f-strings stand for their patterns."""
    literal, patterns = set(tally.TYPES) | {notes.REVOKED, notes.RESENT}, set[str]()
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and (kind := _type_of_event(node)) is not None:
                if isinstance(kind, ast.Constant):
                    literal.add(str(kind.value))
                elif isinstance(kind, ast.JoinedStr):
                    patterns.add(
                        "".join(str(p.value) if isinstance(p, ast.Constant) else r"\w+" for p in kind.values)
                    )
    named = {
        name
        for row in rows(sections(REFERENCE / "metrics.md")["Events"])
        for name in re.findall(r"`(\w+)`", row.cells[0])
    }
    assert literal <= named
    chosen = {
        "cancelled",
        "replaced",
        "run_timeout",
        "fail_fast",
        "attempt_fenced",
        "attempt_lost",
        "attempt_unstarted",
    }  # by a variable
    assert chosen <= named
    others = named - literal - chosen
    assert all(any(re.fullmatch(pattern, name) for pattern in patterns) for name in others), others


SOURCES = sorted(
    file
    for room in ("core", "daemon", "adapters/ledger")
    for file in (Path(schedulerd.__file__).parent / room).rglob("*.py")
)


def _type_of_event(call: ast.Call) -> ast.expr | None:
    """The expression that is the type, if this call makes an event."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "RecordEvent":
        return next((word.value for word in call.keywords if word.arg == "type"), None)
    place = {"event": 0, "_note": 0 if len(call.args) > 5 else 2}.get(name)
    return call.args[place] if place is not None and len(call.args) > place else None


def test_metrics_names_every_reason_for_which_a_frame_is_dropped() -> None:
    reasons = {
        str(node.args[0].value)
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Drop"
        if isinstance(node.args[0], ast.Constant)
    }
    counters = rows(sections(REFERENCE / "metrics.md")["Counters"])
    (row,) = (row for row in counters if row.code == "schedulerd_dropped_frames_total")
    assert set(re.findall(r"`(\w+)`", row.cells[2])) == reasons
