"""The job table: TOML files, and the documents of the API -> definitions, or every fault at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schedulerd.adapters.jobfiles.building import build_job
from schedulerd.adapters.jobfiles.documents import JobDocument
from schedulerd.adapters.jobfiles.faults import DocumentError, Fault, kind_of, shown
from schedulerd.adapters.jobfiles.files import DEFAULTS_FILE, Found, Unread, find_files
from schedulerd.adapters.jobfiles.layers import merge
from schedulerd.adapters.jobfiles.readers import Known
from schedulerd.adapters.jobfiles.reading import SETTINGS, version_of
from schedulerd.adapters.jobfiles.schema import json_schema
from schedulerd.adapters.jobfiles.table import NO_BOOTS, Table
from schedulerd.adapters.jobfiles.toml_text import Path as JobPath
from schedulerd.adapters.jobfiles.values import NAME_RULE
from schedulerd.adapters.jobfiles.writing import effective_sources, to_document, to_toml
from schedulerd.errors import JobFileError
from schedulerd.model.job import Definition, Origin, Pool
from schedulerd.protocol.ids import JOB_NAME

__all__ = [
    "NO_BOOTS",
    "DocumentError",
    "Fault",
    "JobDocument",
    "JobTable",
    "Known",
    "effective_sources",
    "json_schema",
    "load",
    "load_table",
    "parse_job",
    "read_paths",
    "to_document",
    "to_toml",
    "version_of",
]


@dataclass(frozen=True, kw_only=True)
class JobTable:
    """What the job files of a directory say together."""

    definitions: tuple[Definition, ...]  # by name
    pools: tuple[Pool, ...]  # by name; every pool that a definition names is among them


def load(
    directory: Path, defaults: Mapping[str, Any] | None = None, known: Known | None = None
) -> tuple[Definition, ...]:
    """The jobs of `load_table` alone."""
    return load_table(directory, defaults, known).definitions


def load_table(
    directory: Path,
    defaults: Mapping[str, Any] | None = None,
    known: Known | None = None,
    *,
    has_boots: bool = True,
) -> JobTable:
    """The job table of `directory`; `defaults` is [defaults] of the settings. It may be empty.

    Without `has_boots` a job with `@reboot` is a fault: its leader may change hosts.
    Files that are as they were when `known` last saw them are not read again.
    Raises JobFileError with one line for every fault of every file; nothing of a faulty table may be used.
    """
    table = Table()
    try:
        found, unread = find_files(directory)
    except OSError as error:
        text = f"{directory}: cannot be read ({error.strerror}), expected the jobs directory"
        raise JobFileError([f"{text}; the table in force stays"]) from error
    for file in unread:
        table.add_unread(file)
    table.read_calendars(found)
    table.read(found, table.read_settings(defaults) if defaults else None, known)
    table.check_pools()
    if not has_boots:
        table.refuse_boots()
    if table.lines:
        raise JobFileError([f"{line}; the table in force stays" for line in sorted(table.lines)])
    definitions = tuple(table.definitions[name] for name in sorted(table.definitions))
    return JobTable(definitions=definitions, pools=table.all_pools())


def read_paths(paths: Sequence[Path], defaults: Mapping[str, Any] | None = None) -> Table:
    """Directories and single files as one table, its places named as the paths are given; for `check`.

    A single file has the `_defaults.toml` of its own directory, and may name the pools and calendars of
    the files beside it.
    """
    table = Table()
    layer = table.read_settings(defaults) if defaults else None
    tables: list[list[Found]] = []
    for path in paths:
        if path.is_dir():
            try:
                found, unread = find_files(path, prefix=f"{path}/")
            except OSError as error:
                found, unread = (
                    [],
                    [Unread(file=str(path), text=f"cannot be read ({error.strerror})", line=0)],
                )
            for file in unread:
                table.add_unread(file)
        else:
            found = [Found(path=path, file=str(path), folder=())]
            beside = path.parent / DEFAULTS_FILE
            if path.name != DEFAULTS_FILE and beside.is_file():
                found.insert(0, Found(path=beside, file=str(beside), folder=()))
        tables.append(found)
    for found in tables:
        table.read_calendars(found)
    for path in paths:
        if path.is_file():
            table.know_calendars_beside(path)
    for found in tables:
        table.read(found, layer)
    for path in paths:
        if path.is_file():
            table.know_pools_beside(path)
    table.check_pools()
    return table


def parse_job(
    name: str, document: object, origin: Origin | None = None, defaults: Mapping[str, Any] | None = None
) -> Definition:
    """A job given as JSON values, as the API gets it; `defaults` is [defaults] of the settings.

    Raises DocumentError, whose lines begin with JSON pointers.
    """
    origin = Origin() if origin is None else origin
    if not JOB_NAME.fullmatch(name):
        raise DocumentError([Fault(path=(), text=f"{shown(name)} cannot name a job, {NAME_RULE}")])
    if not isinstance(document, dict):
        raise DocumentError(
            [Fault(path=(), text=f"{kind_of(document)} was found, expected a job as a table")]
        )
    if halves := list(_half_characters(document)):
        raise DocumentError(halves)
    own = _without_null(document)
    layers = [Table().read_settings(defaults)] if defaults else []
    merged, given = merge(own, layers)
    job, faults = build_job(name, merged)
    if job is None:
        raise DocumentError(faults)
    sources = dict.fromkeys(own, origin.text)
    sources.update((".".join(map(str, path)), SETTINGS) for path in given)
    return Definition(job=job, origin=origin, version=version_of(job), source=sources)


def _without_null(document: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's null says what leaving the key out says, in the job and in its tables (not inside items and env)."""
    return {
        key: _without_null(value)
        if key in ("split", "gather", "retry") and isinstance(value, dict)
        else value
        for key, value in document.items()
        if value is not None
    }


def _half_characters(document: object) -> Iterator[Fault]:
    """Texts with half a surrogate pair: JSON can spell them, but nobody can write them down as UTF-8."""
    waiting: list[tuple[JobPath, object]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                text = f"{shown(value)} holds half a surrogate pair, expected Unicode text"
                yield Fault(path=path, text=text, index=error.start)
        elif isinstance(value, dict):
            waiting.extend((path, name) for name in value)
            waiting.extend(((*path, name), inner) for name, inner in value.items())
        elif isinstance(value, list):
            waiting.extend(((*path, index), inner) for index, inner in enumerate(value))
