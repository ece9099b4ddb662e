"""The documentation is true: examples are accepted, links lead somewhere, what is named exists.

The tutorial is run by test_docs_tutorial.py, reference pages are compared with the code by test_docs_reference.py.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.markdown import Block, blocks, headings

from schedulerd.ctl.main import cli
from schedulerd.hostkit.settings import load_schedulerd, load_workerd

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def example_blocks(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{name_of(page)}:{block.line}")
        for page in PAGES
        for block in blocks(page)
        if block.info == language
    ]


@pytest.mark.parametrize("block", example_blocks("toml"))
def test_a_job_file_example_passes_check(block: Block, tmp_path: Path) -> None:
    (tmp_path / "example.toml").write_text(block.text)
    checked = CliRunner().invoke(cli, ["check", "--strict", str(tmp_path)])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("block", example_blocks("toml _defaults"))
def test_an_example_of_defaults_passes_check(block: Block, tmp_path: Path) -> None:
    (tmp_path / "_defaults.toml").write_text(block.text)
    (tmp_path / "job.toml").write_text('[job.a]\nargv = ["true"]\n')
    checked = CliRunner().invoke(cli, ["check", "--strict", str(tmp_path)])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("block", example_blocks("toml schedulerd"))
def test_an_example_of_schedulerds_settings_loads(block: Block, tmp_path: Path) -> None:
    (tmp_path / "schedulerd.toml").write_text(block.text)
    load_schedulerd(tmp_path / "schedulerd.toml", {})


@pytest.mark.parametrize("block", example_blocks("toml workerd"))
def test_an_example_of_workerds_settings_loads(block: Block, tmp_path: Path) -> None:
    (tmp_path / "workerd.toml").write_text(block.text)
    load_workerd(tmp_path / "workerd.toml", {})


def test_every_block_has_a_language_that_is_looked_after() -> None:
    known = {"toml", "toml _defaults", "toml schedulerd", "toml workerd", "console", "sh", "text", "yaml"}
    strange = {
        f"{name_of(page)}:{b.line} {b.info}" for page in PAGES for b in blocks(page) if b.info not in known
    }
    assert not strange


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in headings(there), f"{name_of(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_and_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    for file in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / file).is_file(), f"{name_of(page)} names {file}"
    for name in re.findall(r"`(test_\w+)`", text):
        assert name in _tests(), f"{name_of(page)} names {name}"
    for path in re.findall(r"`((?:schedulerd|workerd|config|systemd|docs|tests)/[\w./-]*\w)`", text):
        assert (ROOT / path).exists(), f"{name_of(page)} names {path}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text()):
            there = (page.parent / target).resolve()
            if there.is_dir():
                waiting += there.glob("*.md")
            elif there.is_file():
                waiting.append(there)
    assert set(PAGES) <= reached, [name_of(page) for page in set(PAGES) - reached]


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(page.name[:4]) for page in sorted((DOCS / "adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
    for page in (DOCS / "adr").glob("*.md"):
        title = page.read_text().splitlines()[0]
        assert title.startswith(f"# {int(page.name[:4])}. "), name_of(page)


def test_the_readme_says_what_stands_in_for_the_older_names() -> None:
    text = (ROOT / "README.md").read_text()
    for looked_for, used in (("python-consul", "py-consul"), ("zmq", "pyzmq"), ("toml", "tomlkit")):
        assert re.search(rf"\| `{looked_for}` \|.*`{used}`", text), looked_for


@cache
def _tests() -> frozenset[str]:
    """The names of all tests."""
    texts = (file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    return frozenset(
        name for text in texts for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)
    )
