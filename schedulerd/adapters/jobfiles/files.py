"""The jobs directory -> what stands in its files, bounded in number and size. Knows nothing of jobs."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import tomli

from schedulerd.adapters.jobfiles.positions import Positions, Statement, dotted
from schedulerd.adapters.jobfiles.toml_text import printable

DEFAULTS_FILE = "_defaults.toml"
MAX_FILES = 10_000
MAX_FILE = 16 * 1024 * 1024  # bytes
MAX_TABLE = 256 * 1024 * 1024  # characters of all files together
MAX_DEPTH = 32  # directories below each other

_TOML = "expected TOML 1.0"


@dataclass(frozen=True, kw_only=True)
class Unread:
    """Something in the directory that could not be read as TOML."""

    file: str  # as messages name it
    text: str  # what was found, what was expected
    line: int = 1
    column: int = 1


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file, read."""

    file: str  # as messages name it
    data: dict[str, Any]
    positions: Positions


@dataclass(frozen=True, kw_only=True)
class Found:
    """One file, not read yet."""

    path: FilePath
    file: str
    folder: tuple[str, ...]  # directories below the jobs directory

    @property
    def is_defaults(self) -> bool:
        """Whether it holds defaults for its directory and below."""
        return self.path.name == DEFAULTS_FILE


def find_files(directory: FilePath, prefix: str = "") -> tuple[list[Found], list[Unread]]:
    """All `*.toml` below `directory`, defaults before the jobs of their directory, and what cannot be looked at.

    Names that begin with a dot are left alone. Links are followed, but no directory is entered twice. Raises
    OSError only if `directory` itself cannot be read.
    """
    found: list[Found] = []
    unread: list[Unread] = []
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[FilePath, tuple[str, ...]]] = [(directory, ())]
    while waiting:
        here, folder = waiting.pop()
        try:
            status = os.stat(here)
            names = sorted(os.listdir(here))
        except OSError as error:
            if not folder:
                raise
            unread.append(
                Unread(file=prefix + printable("/".join(folder)), text=_reason(error, "a directory"))
            )
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        deeper: list[tuple[FilePath, tuple[str, ...]]] = []
        for name in names:
            if name.startswith("."):
                continue
            if os.path.isdir(here / name):
                deeper.append((here / name, (*folder, name)))
            elif name.endswith(".toml"):
                file = prefix + printable("/".join((*folder, name)))
                found.append(Found(path=here / name, file=file, folder=folder))
        if len(folder) >= MAX_DEPTH and deeper:
            text = f"holds directories more than {MAX_DEPTH} below the jobs directory, expected fewer"
            unread.append(Unread(file=prefix + printable("/".join(folder)), text=text))
        elif len(found) > MAX_FILES:
            text = f"more than {MAX_FILES:,} files were found, expected fewer; several jobs may share a file"
            unread.append(Unread(file=prefix or ".", text=text))
            return [], unread
        else:
            waiting.extend(reversed(deeper))
    return sorted(found, key=lambda file: (file.folder, not file.is_defaults, file.file)), unread


def read_text(found: Found) -> str | Unread:
    """The file's text, with "\\n" line ends, or why there is none."""
    try:
        content = _content(found.path)
    except OSError as error:
        return Unread(file=found.file, text=_reason(error, "a file"))
    if isinstance(content, str):
        return Unread(file=found.file, text=content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        problem = f"byte 0x{content[error.start]:02x} is not UTF-8, expected a file in UTF-8"
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Unread(file=found.file, text=problem, line=line, column=column)
    return text.replace("\r\n", "\n") if "\r" in text else text


def parse_text(text: str, file: str) -> Source | Unread:
    """A text (with "\\n" line ends) as TOML, or why it is none; `file` is how messages name it."""
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        return _syntax_error(str(error), text, file)
    except RecursionError:
        return Unread(
            file=file,
            text="lists or tables are nested too deeply, expected at most some hundred levels",
        )
    except ValueError:  # an integer of more than 4,300 digits
        return Unread(file=file, text=f"a number is too long to be read, {_TOML}")
    return Source(file=file, data=data, positions=Positions(text))


def read_content(path: FilePath) -> bytes:
    """The bytes of a file that a job file names. Raises OSError, or ValueError with a sentence."""
    content = _content(path)
    if isinstance(content, str):
        problem = content.partition(", expected")[0]
        raise ValueError(problem)  # noqa: TRY004 - it speaks of the file, not of a type
    return content


def _content(path: FilePath) -> bytes | str:
    """The bytes of a regular file of a bounded size, or what is wrong with it. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "is not a regular file, expected a TOML file"
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        return f"holds more than {MAX_FILE:,} bytes, expected less; jobs may be spread over several files"
    return content


def _reason(error: OSError, expected: str) -> str:
    return f"cannot be read ({error.strerror or error}), expected {expected} that schedulerd may read"


def _syntax_error(message: str, text: str, file: str) -> Unread:
    """The parser's sentence, taken apart: `Unclosed array (at line 3, column 8)`."""
    problem, _, place = message.rpartition(" (at ")
    line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    words = place.rstrip(")").replace(",", "").split()
    if words[:1] == ["line"] and len(words) == 4:
        line, column = int(words[1]), int(words[3])
    problem = problem or message
    if problem.startswith("Cannot declare"):
        return _repeated_header(text, line, file)
    return Unread(file=file, text=f"{problem[:1].lower()}{problem[1:]}, {_TOML}", line=line, column=column)


def _repeated_header(text: str, line: int, file: str) -> Unread:
    """A table that has its header twice, or gets one after it was written in another way: both places."""
    lines = text.split("\n")
    earlier, here = Positions("\n".join(lines[: line - 1])), Positions(lines[line - 1])
    header = here.statements[0] if here.statements else Statement((), 0, 0, -1)
    path = tuple(name for name in header.path if isinstance(name, str))
    first = earlier.line_column(earlier.offset(path))[0]
    place = f"{file}:{first}"
    problem = f"[{dotted(path)}] stands here and at {place}, expected one table for each name"
    return Unread(file=file, text=problem, line=line, column=header.key + 1)
