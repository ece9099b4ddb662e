"""Just enough Markdown to read our own documentation: fenced blocks, sections by heading, rows of tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    info: str  # what stands behind the opening fence
    text: str
    line: int  # of the opening fence, from 1


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    code: str  # the first `code` of the first cell; empty when there is none
    cells: tuple[str, ...]


def prose(page: Path) -> Iterator[str | Block]:
    """Lines of text and fenced blocks, in order."""
    info, start, inside = "", 0, list[str]()
    is_inside = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            if is_inside:
                yield Block(info, "\n".join(inside) + "\n", start)
            else:
                info, start, inside = line.removeprefix("```").strip(), number, []
            is_inside = not is_inside
        elif is_inside:
            inside.append(line)
        else:
            if line:
                yield line
    assert not is_inside, f"{page}: the block of line {start} is not closed"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks."""
    return [part for part in prose(page) if isinstance(part, Block)]


def sections(page: Path, under: str = "") -> dict[str, str]:
    """Heading -> the text up to the next heading of any level; with `under` only the headings below that one."""
    found: dict[str, list[str]] = {}
    here: list[str] | None = None
    is_under, depth = not under, 0
    for part in prose(page):
        if isinstance(part, Block):
            continue
        heading = re.match(r"(#+) (.*)", part)
        if heading is None:
            if here is not None:
                here.append(part)
            continue
        level, title = len(heading[1]), heading[2]
        if under and is_under and level <= depth:
            is_under = False
        if is_under:
            assert title not in found, f"{page}: two headings say {title}; give `under`"
            here = found[title] = []
        else:
            here = None
        if under and title == under:
            is_under, depth = True, level
    return {title: "\n".join(lines) for title, lines in found.items()}


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as hosts of repositories make them."""
    titles = [
        line.lstrip("#").strip() for line in prose(page) if isinstance(line, str) and line.startswith("#")
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def rows(text: str) -> list[Row]:
    """The rows of all tables in `text`, without their heads."""
    found: list[Row] = []
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if not line.startswith("|") or set(line) <= set("|-: "):
            continue
        if index + 1 < len(lines) and re.fullmatch(r"[|\-: ]+", lines[index + 1]):
            continue  # a head
        cells = tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        code = re.search(r"`([^`]+)`", cells[0])
        found.append(Row(code[1] if code else "", cells))
    return found
