"""Rows -> text for eyes: plain columns, or rich's where standard output is a terminal. Strips what could steer it."""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from schedulerd.ctl.exits import printable

_GAP = "  "
_COLOURS = {
    "active": "green",
    "succeeded": "green",
    "ready": "green",
    "run": "green",
    "running": "cyan",
    "pending": "cyan",
    "accepted": "cyan",
    "assigned": "cyan",
    "paused": "yellow",
    "skipped": "yellow",
    "suspect": "yellow",
    "draining": "yellow",
    "cancelled": "yellow",
    "failed": "red",
    "timeout": "red",
    "lost": "red",
}


class Column(NamedTuple):
    """One column; `is_wide` ones stand only in wide tables, `is_number` ones are flush right."""

    title: str
    is_wide: bool = False
    is_number: bool = False


def show_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, is_wide: bool, empty: str
) -> None:
    """Print the rows; `empty` goes to standard error when there are none."""
    if not rows:
        click.echo(empty, err=True)
        return
    kept = [index for index, column in enumerate(columns) if is_wide or not column.is_wide]
    shown = [columns[index] for index in kept]
    cells = [[printable(row[index]) for index in kept] for row in rows]
    if sys.stdout.isatty():
        _show_rich(shown, cells)
    else:
        click.echo(plain(shown, cells), nl=False)


def plain(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Columns of even width, two blanks between them, no blanks at the ends of lines."""
    lines = [[column.title for column in columns], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "".join(
        _GAP.join(
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def state_word(state: str) -> str:
    """A state, coloured where standard output is a terminal."""
    if not sys.stdout.isatty():
        return state
    return click.style(state, fg=_COLOURS.get(state))


def _show_rich(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """rich is loaded only here: it costs a tenth of a second that a pipe need not pay."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.title, justify="right" if column.is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    Console(highlight=False).print(table)
