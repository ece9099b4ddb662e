"""All job files together -> definitions, or every fault of every file with its place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from schedulerd.adapters.jobfiles import files
from schedulerd.adapters.jobfiles.faults import Fault
from schedulerd.adapters.jobfiles.files import Found, Source, Unread, parse_text, read_text
from schedulerd.adapters.jobfiles.layers import Layer, read_layer
from schedulerd.adapters.jobfiles.readers import Known, read_all
from schedulerd.adapters.jobfiles.reading import (
    SETTINGS,
    Defaults,
    FileJobs,
    Line,
    Request,
    line_of,
    settings_lines,
    unread_line,
)
from schedulerd.model.job import Definition, Origin


@dataclass(kw_only=True)
class Table:
    """What was read so far. With a fault the definitions are not to be used."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    files: int = 0
    _characters: int = 0
    _places: dict[str, Origin] = field(
        default_factory=dict
    )  # name -> where it is defined, also if it is faulty

    def read(self, found: Sequence[Found], settings: Layer | None, known: Known | None = None) -> None:
        """Add the jobs of these files; defaults come before the jobs they are for."""
        readable: list[Found] = []
        answers = read_all(self._requests(found, settings, readable), known)
        for file, jobs in zip(readable, answers, strict=True):
            self._add_jobs(file, jobs)

    def add_unread(self, unread: Unread) -> None:
        """A file that could not be read at all."""
        self.lines.append(unread_line(unread))

    def read_settings(self, defaults: Mapping[str, Any]) -> Layer:
        """The defaults of the settings, whose faults have no line."""
        layer, faults = read_layer(SETTINGS, dict(defaults), None)
        self.lines.extend(settings_lines(faults))
        return layer

    def _requests(
        self, found: Sequence[Found], settings: Layer | None, readable: list[Found]
    ) -> Iterator[Request]:
        """What has to be read for each file of jobs, one after another; `readable` gets the file."""
        layers: dict[tuple[str, ...], Defaults] = {}
        last = [] if settings is None else [_settings_text(settings)]
        for file in found:
            text = read_text(file)
            self.files += 1
            self._characters += 0 if isinstance(text, Unread) else len(text)
            if self._characters > files.MAX_TABLE:
                problem = (
                    f"with this file the table has more than {files.MAX_TABLE:,} characters, expected less"
                )
                self.add_unread(Unread(file=file.file, text=problem))
                break
            if isinstance(text, Unread):
                self.add_unread(text)
            elif file.is_defaults:
                if self._is_right_toml(file, text):
                    layers[file.folder] = Defaults(file.file, text)
            else:
                depths = range(len(file.folder), -1, -1)
                near = [layers[file.folder[:depth]] for depth in depths if file.folder[:depth] in layers]
                readable.append(file)
                yield Request(file.file, text, (*near, *last))

    def _is_right_toml(self, file: Found, text: str) -> bool:
        """Tells the faults of a file of defaults; those that are right hold in spite of the others."""
        source = parse_text(text, file.file)
        if isinstance(source, Unread):
            self.add_unread(source)
            return False
        for fault in read_layer(source.file, source.data, source)[1]:
            if fault.path == ("defaults",):
                fault = replace(fault, text="no table is needed here, write its keys at the top of the file")
            elif fault.path == ("job",):
                fault = replace(
                    fault, text="jobs belong into another file, this one holds defaults for its directory"
                )
            self.lines.append(line_of(fault, source, ()))
        return True

    def _add_jobs(self, file: Found, jobs: FileJobs) -> None:
        """Put a file's jobs into the table, unless their names are taken."""
        self.lines.extend(jobs.lines)
        doubles: dict[str, Origin] = {}
        for definition in jobs.definitions:
            name, origin = definition.job.name, definition.origin
            first = self._places.setdefault(name, origin)
            if first is origin or first == origin:
                self.definitions[name] = definition
            else:
                doubles[name] = first
        for name, line in jobs.faulty.items():
            origin = Origin(file=file.file, line=line)
            first = self._places.setdefault(name, origin)
            if first != origin:
                doubles[name] = first
        if doubles:
            self._add_doubles(file, doubles)

    def _add_doubles(self, file: Found, doubles: Mapping[str, Origin]) -> None:
        """Names that another file has too; the text is read once more, for their places."""
        text = read_text(file)
        source: Source | Unread = text if isinstance(text, Unread) else parse_text(text, file.file)
        for name, first in doubles.items():
            problem = f"job {name} stands here and at {first.text}, expected each name once"
            if isinstance(source, Unread):
                self.lines.append(Line(file.file, 1, 1, problem))
            else:
                fault = Fault(path=(), text=problem, at_key=True)
                self.lines.append(line_of(fault, source, ("job", name)))


def _settings_text(layer: Layer) -> Defaults:
    return Defaults(SETTINGS, msgspec.json.encode(layer.table).decode())
