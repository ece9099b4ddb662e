"""All job files together -> definitions, or every fault of every file with its place."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from schedulerd.adapters.jobfiles import files
from schedulerd.adapters.jobfiles.building import build_job
from schedulerd.adapters.jobfiles.faults import Fault, shown, unknown_key, wrong_kind
from schedulerd.adapters.jobfiles.files import Found, Source, Unread, read_file
from schedulerd.adapters.jobfiles.layers import Layer, merge, read_layer
from schedulerd.adapters.jobfiles.toml_text import Path, printable
from schedulerd.model.job import Definition, Job, Origin
from schedulerd.protocol.ids import JOB_NAME

SETTINGS = "schedulerd.toml [defaults]"
NAME_RULE = "expected a lower-case letter or digit, then up to 62 of a-z 0-9 . _ -"


@dataclass(frozen=True, order=True)
class Line:
    """One fault with its place; sorted as people read."""

    file: str
    line: int
    column: int
    text: str  # begins with the key

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.text}"


@dataclass(kw_only=True)
class Table:
    """What was read so far. With a fault the definitions are not to be used."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    files: int = 0
    _characters: int = 0
    _places: dict[str, str] = field(default_factory=dict)  # name -> where it is defined, also if it is faulty

    def read(self, found: Sequence[Found], defaults: Layer | None) -> None:
        """Add the jobs of these files; defaults come before the jobs they are for."""
        layers: dict[tuple[str, ...], Layer] = {}
        for file in found:
            source = read_file(file)
            self.files += 1
            self._characters += 0 if isinstance(source, Unread) else source.size
            if self._characters > files.MAX_TABLE:
                text = f"with this file the table has more than {files.MAX_TABLE:,} characters, expected less"
                self.add_unread(Unread(file=file.file, text=text))
                return
            if isinstance(source, Unread):
                self.add_unread(source)
                continue
            if file.is_defaults:
                layers[file.folder] = self._read_defaults(source)
            else:
                depths = range(len(file.folder), -1, -1)
                near = [layers[file.folder[:depth]] for depth in depths if file.folder[:depth] in layers]
                self._read_jobs(source, near if defaults is None else [*near, defaults])

    def add_unread(self, unread: Unread) -> None:
        """A file that could not be read at all."""
        self.lines.append(Line(unread.file, unread.line, unread.column, printable(unread.text)))

    def read_settings(self, defaults: Mapping[str, Any]) -> Layer:
        """The defaults of the settings, whose faults have no line."""
        layer, faults = read_layer(SETTINGS, dict(defaults), None)
        self.lines.extend(Line(SETTINGS, 0, 0, f"{fault.key}: {fault.text}") for fault in faults)
        return layer

    def _read_defaults(self, source: Source) -> Layer:
        layer, faults = read_layer(source.file, source.data, source)
        for fault in faults:
            if fault.path == ("defaults",):
                fault = replace(fault, text="no table is needed here, write its keys at the top of the file")
            elif fault.path == ("job",):
                fault = replace(
                    fault, text="jobs belong into another file, this one holds defaults for its directory"
                )
            self._add(fault, source, ())
        return layer

    def _read_jobs(self, source: Source, layers: Sequence[Layer]) -> None:
        for key in source.data:
            if key != "job":
                self._add(Fault(path=(key,), text=unknown_key((key,), "file"), at_key=True), source, ())
        jobs = source.data.get("job", {})
        if not isinstance(jobs, dict):
            self._add(Fault(path=("job",), text=wrong_kind(jobs, "tables [job.NAME]")), source, ())
            return
        starts = _starts(source)
        for name, own in jobs.items():
            if name not in starts:  # job = { NAME = {...} }
                starts[name] = {"": source.positions.offset(("job", name))}
            self._read_job(source, name, own, layers, starts[name])

    def _read_job(
        self, source: Source, name: str, own: Any, layers: Sequence[Layer], starts: dict[str, int]
    ) -> None:
        prefix: Path = ("job", name)
        if not JOB_NAME.fullmatch(name):
            self._add(
                Fault(path=(), text=f"{shown(name)} cannot name a job, {NAME_RULE}", at_key=True),
                source,
                prefix,
            )
        if not isinstance(own, dict):
            self._add(Fault(path=(), text=wrong_kind(own, "a table [job.NAME]")), source, prefix)
            return
        document, given = merge(own, layers)
        job, faults = build_job(name, document)
        for fault in faults:
            layer = given.get(fault.path[:1]) or given.get(fault.path[:2])
            if layer is None:
                self._add(fault, source, prefix)
            elif layer.source is None:
                self.lines.append(Line(SETTINGS, 0, 0, f"{fault.key}: {fault.text} (for job {name})"))
            else:
                self._add(replace(fault, text=f"{fault.text} (for job {name})"), layer.source, ())
        self._keep(source, name, own, given, job, starts)

    def _keep(
        self,
        source: Source,
        name: str,
        own: Mapping[str, Any],
        given: Mapping[Path, Layer],
        job: Job | None,
        starts: Mapping[str, int],
    ) -> None:
        """Put the job into the table, unless its name is taken or it is faulty."""
        origin = Origin(file=source.file, line=source.positions.line_column(starts[""])[0])
        first = self._places.setdefault(name, origin.text)
        if first != origin.text:
            text = f"job {name} stands here and at {first}, expected each name once"
            self._add(Fault(path=(), text=text, at_key=True), source, ("job", name))
        elif job is not None:
            line_column = source.positions.line_column
            sources = {key: f"{source.file}:{line_column(starts.get(key, starts['']))[0]}" for key in own}
            for path, layer in given.items():
                sources[".".join(map(str, path))] = layer.place(path)
            self.definitions[name] = Definition(
                job=job, origin=origin, version=version_of(job), source=sources
            )

    def _add(self, fault: Fault, source: Source, prefix: Path) -> None:
        """The fault with its line and column."""
        path, positions = prefix + fault.path, source.positions
        if fault.at_key:
            line, column = positions.key(path)
        elif fault.index is not None:
            line, column = positions.character(path, fault.index)
        else:
            line, column = positions.value(path)
        text = f"{fault.key}: {fault.text}" if fault.path else fault.text
        self.lines.append(Line(source.file, line, column, printable(text)))


def version_of(job: Job) -> str:
    """12 hex digits that change with anything in the job."""
    return hashlib.sha256(msgspec.json.encode(job)).hexdigest()[:12]


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
