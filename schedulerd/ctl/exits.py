"""Exit codes of schedulerctl, and the one exception that ends it with one of them."""

import enum
import sys
from collections.abc import Sequence
from typing import IO, Any

import click


class Exit(enum.IntEnum):
    """What a script may rely on."""

    OK = 0
    FAILED = 1  # check found errors, a triggered run failed, the server could not do it
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4  # or nobody leads
    DENIED = 5
    CONFLICT = 6
    TIMED_OUT = 7  # while waiting
    PARTLY = 8  # some of several things were done


OF_STATUS = {
    401: Exit.DENIED,
    403: Exit.DENIED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    502: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
    504: Exit.UNREACHABLE,
}


class Failure(click.ClickException):
    """Ends the program with `code` and a sentence on standard error; `lines` follow it, one each."""

    def __init__(
        self, code: Exit, message: str, lines: Sequence[str] = (), answer: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.lines = list(lines)
        self.answer = answer or {}  # the server's problem, for those who look closer

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has one for the whole class
        """What the program ends with."""
        return int(self.code)

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell people; programs have the exit code."""
        out = file or sys.stderr
        click.echo(f"schedulerctl: {printable(self.message)}", file=out)
        for line in self.lines:
            click.echo(f"  {printable(line)}", file=out)


def printable(text: str) -> str:
    """`text` without terminal escapes and control characters; they come from jobs and must not steer a terminal."""
    return "".join(ch if ch.isprintable() else _VISIBLE.get(ch, "") for ch in _without_escapes(text))


def printable_line(line: str) -> str:
    """As `printable`, for a line of output: it keeps its tabs."""
    return "\t".join(printable(part) for part in line.split("\t"))


_VISIBLE = {"\t": "    ", "\n": " "}
_ESCAPE = "\x1b"


def _without_escapes(text: str) -> str:
    """Cut out ANSI sequences whole, so that their harmless-looking ends do not stay behind."""
    if _ESCAPE not in text and "\x9b" not in text and "\x9d" not in text:
        return text
    import re  # loaded only when there is something to cut

    pattern = (
        r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
        r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS and the like
        r"|\x1b[ -/]*[0-~]?"  # two-character escapes
    )
    return re.sub(pattern, "", text)
