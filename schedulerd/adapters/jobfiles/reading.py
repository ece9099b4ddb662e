"""One file's text and the defaults that hold for it -> its jobs, or every fault with its place. Reads no file itself.

A `Request` says all that the answer depends on, so equal requests have equal answers and any process can give them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec

from schedulerd.adapters.jobfiles.building import build_job
from schedulerd.adapters.jobfiles.calendars import Parts
from schedulerd.adapters.jobfiles.faults import Fault, shown, unknown_key, wrong_kind
from schedulerd.adapters.jobfiles.files import Source, Unread, parse_text
from schedulerd.adapters.jobfiles.layers import Layer, merge, read_layer
from schedulerd.adapters.jobfiles.pools import FoundPool, read_pools
from schedulerd.adapters.jobfiles.toml_text import Path, printable
from schedulerd.adapters.jobfiles.values import NAME_RULE
from schedulerd.model.job import Definition, Job, Origin
from schedulerd.protocol.ids import JOB_NAME

SETTINGS = "schedulerd.toml [defaults]"


class Line(msgspec.Struct, frozen=True, order=True):
    """One fault with its place; sorted as people read."""

    file: str
    line: int
    column: int
    text: str  # begins with the key

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.text}"


class Defaults(msgspec.Struct, frozen=True):
    """A table of defaults as a text: TOML of a file, or the JSON of the settings' right keys."""

    label: str  # file, or `SETTINGS`
    text: str

    @property
    def is_settings(self) -> bool:
        """Whether they come from the settings, whose own text is not at hand."""
        return self.label == SETTINGS


class Request(msgspec.Struct, frozen=True):
    """One file to be read."""

    file: str  # as messages name it
    text: str
    defaults: tuple[Defaults, ...]  # nearest first
    calendars: dict[str, Parts | None] = {}  # that its jobs may name; None: one that is faulty


class FileJobs(msgspec.Struct, frozen=True):
    """What stands in one file."""

    definitions: tuple[Definition, ...] = ()
    faulty: dict[str, int] = {}  # name -> line, of jobs without a definition
    lines: tuple[Line, ...] = ()
    pools: tuple[FoundPool, ...] = ()


def read_jobs(request: Request) -> FileJobs:
    """The jobs of one file. Whether their names are unique over all files is not known here."""
    source = parse_text(request.text, request.file)
    if isinstance(source, Unread):
        return FileJobs(lines=(unread_line(source),))
    reader = _Reader(source, [_layer(defaults) for defaults in request.defaults], request.calendars)
    reader.read()
    return FileJobs(tuple(reader.definitions), reader.faulty, tuple(reader.lines), tuple(reader.pools))


def unread_line(unread: Unread) -> Line:
    """The fault of a file that is no TOML, or could not be read at all."""
    return Line(unread.file, unread.line, unread.column, printable(unread.text))


def line_of(fault: Fault, source: Source, prefix: Path) -> Line:
    """The fault with its line and column; `prefix` is the path of the table that its own path begins in."""
    path, positions = prefix + fault.path, source.positions
    if fault.at_key:
        line, column = positions.key(path)
    elif fault.index is not None:
        line, column = positions.character(path, fault.index)
    else:
        line, column = positions.value(path)
    text = f"{fault.key}: {fault.text}" if fault.path else fault.text
    return Line(source.file, line, column, printable(text))


def settings_lines(faults: Iterable[Fault]) -> list[Line]:
    """Faults in the defaults of the settings, which have no line."""
    return [Line(SETTINGS, 0, 0, f"{fault.key}: {fault.text}") for fault in faults]


def version_of(job: Job) -> str:
    """12 hex digits that change with anything in the job."""
    return hashlib.sha256(msgspec.json.encode(job)).hexdigest()[:12]


@lru_cache(maxsize=64)
def _layer(defaults: Defaults) -> Layer:
    """The right keys of these defaults; their faults are told once, by who reads the table."""
    if defaults.is_settings:
        return Layer(label=SETTINGS, table=msgspec.json.decode(defaults.text), source=None)
    source = parse_text(defaults.text, defaults.label)
    if isinstance(source, Unread):
        return Layer(label=defaults.label, table={}, source=None)
    return read_layer(source.file, source.data, source)[0]


class _Reader:
    """Goes through one file."""

    def __init__(
        self, source: Source, layers: Sequence[Layer], calendars: Mapping[str, Parts | None]
    ) -> None:
        self.definitions: list[Definition] = []
        self.faulty: dict[str, int] = {}
        self.pools: list[FoundPool] = []
        self.lines: list[Line] = []
        self._source = source
        self._layers = layers
        self._calendars = calendars

    def read(self) -> None:
        source = self._source
        for key in source.data:
            if key not in ("job", "pool", "calendar"):  # calendars are read before all jobs
                self._add(Fault(path=(key,), text=unknown_key((key,), "file"), at_key=True), ())
        self.pools, faults = read_pools(source)
        for fault in faults:
            self._add(fault, ())
        jobs = source.data.get("job", {})
        if not isinstance(jobs, dict):
            self._add(Fault(path=("job",), text=wrong_kind(jobs, "tables [job.NAME]")), ())
            return
        starts = _starts(source)
        for name, own in jobs.items():
            if name not in starts:  # job = { NAME = {...} }
                starts[name] = {"": source.positions.offset(("job", name))}
            self._read_job(name, own, starts[name])

    def _read_job(self, name: str, own: Any, starts: dict[str, int]) -> None:
        prefix: Path = ("job", name)
        if not JOB_NAME.fullmatch(name):
            text = f"{shown(name)} cannot name a job, {NAME_RULE}"
            self._add(Fault(path=(), text=text, at_key=True), prefix)
        if not isinstance(own, dict):
            self._add(Fault(path=(), text=wrong_kind(own, "a table [job.NAME]")), prefix)
            return
        document, given = merge(own, self._layers)
        job, faults = build_job(name, document, self._calendars)
        for fault in faults:
            layer = given.get(fault.path[:1]) or given.get(fault.path[:2])
            if layer is None:
                self._add(fault, prefix)
                continue
            told = replace(fault, text=f"{fault.text} (for job {name})")
            self.lines.extend(
                settings_lines([told]) if layer.source is None else [line_of(told, layer.source, ())]
            )
        self._keep(name, own, given, job, starts)

    def _keep(
        self,
        name: str,
        own: Mapping[str, Any],
        given: Mapping[Path, Layer],
        job: Job | None,
        starts: Mapping[str, int],
    ) -> None:
        line_of_offset = self._source.positions.line
        first = line_of_offset(starts[""])
        if job is None:
            self.faulty[name] = first
            return
        self.definitions.append(
            Definition(
                job=job,
                origin=Origin(file=self._source.file, line=first),
                version=version_of(job),
                source={".".join(map(str, path)): layer.place(path) for path, layer in given.items()},
                lines={key: line_of_offset(starts.get(key, starts[""])) - first for key in own},
            )
        )

    def _add(self, fault: Fault, prefix: Path) -> None:
        self.lines.append(line_of(fault, self._source, prefix))


def _starts(source: Source) -> dict[str, dict[str, int]]:
    """Offsets of each job (under "") and of each of its keys that has a statement of its own."""
    starts: dict[str, dict[str, int]] = {}
    headers: set[str] = set()
    for path, _, key, value in source.positions.statements:
        if len(path) < 2 or path[0] != "job":
            continue
        name = str(path[1])
        keys = starts.setdefault(name, {"": key})
        if len(path) > 2:
            keys.setdefault(str(path[2]), key)
        elif value < 0 and name not in headers:
            headers.add(name)
            keys[""] = key
    return starts
