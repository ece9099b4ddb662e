"""The house stands as planned: import contracts, style and types hold, and the core is left alone with its facts."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.daemons import PROGRAMS

ROOT = Path(__file__).resolve().parents[2]
PURE = ("schedulerd/core", "schedulerd/model", "workerd/core.py")
CLOCKS = ("now", "utcnow", "today")  # the module `time` is refused by a contract


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


def test_import_contracts_hold():
    done = run(PROGRAMS / "lint-imports")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=["check", "format"])
def test_ruff_has_nothing_to_say(command: tuple[str, ...]):
    done = run(PROGRAMS / "ruff", *command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_strict_has_nothing_to_say():
    done = run(PROGRAMS / "mypy")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_core_asks_no_clock():
    files = [
        path
        for name in PURE
        for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).glob("*.py"))
    ]
    assert len(files) > 10
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}()"
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
    ]
    assert calls == []


@pytest.mark.parametrize("program", ["schedulerd.ctl.main", "workerd.main"])
def test_a_light_program_does_not_load_the_heavy_ones(program: str):
    heavy = "{'pydantic', 'fastapi', 'uvicorn', 'apscheduler', 'croniter', 'schedulerd.offline', 'schedulerd.core'}"
    done = run(sys.executable, "-c", f"import {program}, sys; print(sorted({heavy} & set(sys.modules)))")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_lock_file_names_versions_and_hashes_and_nobodys_address():
    text = (ROOT / "requirements.lock").read_text()
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    pins = [line for line in lines if not line.startswith(" ")]
    assert all("==" in line for line in pins)
    assert all(line.strip().startswith("--hash=sha256:") for line in lines if line.startswith(" "))
    assert not any(
        word in text for word in ("http:", "https:", "file://", "--index", "--find-links", "--trusted", " /")
    )
    locked = {line.partition("==")[0] for line in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"], "setuptools"]
    assert {re.split(r"[\[>]", wish)[0].strip() for wish in wanted} <= locked
