"""The figures that can be asked for are the ones that are explained."""

import re
from pathlib import Path

from bench.__main__ import FIGURES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "benchmarks.md"


def test_every_figure_is_explained_and_every_explained_figure_exists() -> None:
    page = PAGE.read_text().partition("## Last measured")[0]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(FIGURES)
