"""All job files together -> definitions and pools, or every fault of every file with its place."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

import msgspec

from schedulerd.adapters.jobfiles import files
from schedulerd.adapters.jobfiles.calendars import Parts, read_calendar
from schedulerd.adapters.jobfiles.faults import Fault, did_you_mean, existing, shown, wrong_kind
from schedulerd.adapters.jobfiles.files import Found, Source, Unread, parse_text, read_text
from schedulerd.adapters.jobfiles.layers import Layer, read_layer
from schedulerd.adapters.jobfiles.pools import FoundPool
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
from schedulerd.adapters.jobfiles.toml_text import Path
from schedulerd.adapters.jobfiles.values import NAME_RULE
from schedulerd.model.job import Cron, Definition, Origin, Pool
from schedulerd.protocol.ids import JOB_NAME

NO_BOOTS = (
    '"@reboot" goes with a SQLite ledger only: with PostgreSQL any of several hosts may lead, and each boots'
    " by itself; expected a time of the clock"
)


@dataclass(kw_only=True)
class Table:
    """What was read so far. With a fault the definitions are not to be used."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    files: int = 0
    _pools: dict[str, FoundPool] = field(default_factory=dict)  # also those that are faulty
    _pools_beside: dict[str, None] = field(default_factory=dict)  # in files that are not looked at otherwise
    _found: dict[str, Found] = field(default_factory=dict)  # by the name that messages give the file
    calendars: dict[str, Parts | None] = field(default_factory=dict)  # None: one that is faulty
    _calendar_places: dict[str, str] = field(default_factory=dict)
    _characters: int = 0
    _faulty: dict[str, Origin] = field(default_factory=dict)  # names of jobs without a definition

    def read(self, found: Sequence[Found], settings: Layer | None, known: Known | None = None) -> None:
        """Add the jobs of these files; defaults come before the jobs they are for."""
        readable: list[Found] = []
        self._found.update((file.file, file) for file in found)
        answers = read_all(self._requests(found, settings, readable), known)
        for file, jobs in zip(readable, answers, strict=True):
            self._add_jobs(file, jobs.found, jobs.by_name)

    def all_pools(self) -> tuple[Pool, ...]:
        """By name."""
        found = sorted(self._pools.values(), key=lambda pool: pool.name)
        return tuple(Pool(name=pool.name, max=pool.max) for pool in found if pool.max is not None)

    def know_pools_beside(self, path: FilePath) -> None:
        """The names of the pools in all files of the directory of `path`."""
        for beside in sorted(path.parent.glob("*.toml")):
            text = read_text(Found(path=beside, file=str(beside), folder=()))
            source = text if isinstance(text, Unread) else parse_text(text, str(beside))
            pools = None if isinstance(source, Unread) else source.data.get("pool")
            self._pools_beside.update(dict.fromkeys(pools if isinstance(pools, dict) else ()))

    def check_pools(self) -> None:
        """When all files were read: a pool that a job names must be there."""
        known = self._pools.keys() | self._pools_beside.keys()
        for definition in self.definitions.values():
            for name in definition.job.pools:
                if name not in known:
                    near = did_you_mean(name, known) or ","
                    text = f"{shown(name)} is unknown{near} expected a pool that has its [pool.NAME]"
                    self.lines.append(self._line(definition, "pools", name, text))

    def refuse_boots(self) -> None:
        """When all files were read: `@reboot` asks for a leader that stays on its host."""
        for definition in self.definitions.values():
            trigger = definition.job.trigger
            if isinstance(trigger, Cron) and trigger.is_at_boot:
                self.lines.append(self._line(definition, "schedule", "@reboot", NO_BOOTS))

    def read_calendars(self, found: Sequence[Found]) -> None:
        """Add the calendars of these files: jobs of any file may name them, so they come before all jobs."""
        for file in found:
            text = "" if file.is_defaults else read_text(file)
            if isinstance(text, Unread) or "calendar" not in text or not _MENTIONS.search(text):
                continue
            source = parse_text(text, file.file)
            if isinstance(source, Source) and "calendar" in source.data:
                self._read_calendars(file, source)

    def know_calendars_beside(self, path: FilePath) -> None:
        """The calendars of the other files in the directory of `path`; their own faults are not told."""
        others = Table()
        beside = (file for file in sorted(path.parent.glob("*.toml")) if not file.samefile(path))
        others.read_calendars([Found(path=file, file=str(file), folder=()) for file in beside])
        self.calendars = others.calendars | self.calendars

    def _read_calendars(self, file: Found, source: Source) -> None:
        tables = source.data["calendar"]
        if not isinstance(tables, dict):
            fault = Fault(path=("calendar",), text=wrong_kind(tables, "tables [calendar.NAME]"))
            self.lines.append(line_of(fault, source, ()))
            return
        for name, table in tables.items():
            prefix = ("calendar", name)
            place = f"{source.file}:{source.positions.key(prefix)[0]}"
            first = self._calendar_places.setdefault(name, place)
            faults: list[Fault] = []
            if first != place:
                text = f"calendar {name} stands here and at {first}, expected each name once"
                faults.append(Fault(path=(), text=text, at_key=True))
            elif not JOB_NAME.fullmatch(name):
                text = f"{shown(name)} cannot name a calendar, {NAME_RULE}"
                faults.append(Fault(path=(), text=text, at_key=True))
            else:
                self.calendars[name] = read_calendar(name, table, file.path.parent, faults)
            for fault in faults:
                told = replace(fault, path=existing(fault.path, table))
                self.lines.append(line_of(told, source, prefix))

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
                defaults = (*near, *last)
                texts = (text, *(layer.text for layer in defaults))
                calendars = self.calendars if any("calendar" in one for one in texts) else {}
                yield Request(file.file, text, defaults, calendars)

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

    def _add_jobs(self, file: Found, jobs: FileJobs, by_name: Mapping[str, Definition]) -> None:
        """Put a file's jobs, also `by_name`, into the table, unless their names are taken."""
        self.lines.extend(jobs.lines)
        for pool in jobs.pools:
            first_pool = self._pools.setdefault(pool.name, pool)
            if first_pool != pool:
                place = f"{first_pool.file}:{first_pool.line}"
                text = (
                    f"pool.{pool.name}: pool {pool.name} stands here and at {place}, expected each name once"
                )
                self.lines.append(Line(pool.file, pool.line, pool.column, text))
        faulty = {name: Origin(file=file.file, line=line) for name, line in jobs.faulty.items()}
        doubles = self._doubles(by_name, faulty) if self._is_any_known(by_name, faulty) else {}
        if doubles:
            by_name = {name: found for name, found in by_name.items() if name not in doubles}
            faulty = {name: found for name, found in faulty.items() if name not in doubles}
            self._add_doubles(file, doubles)
        self.definitions.update(by_name)
        self._faulty.update(faulty)

    def _is_any_known(self, *names: Mapping[str, object]) -> bool:
        """Whether the table has one of these names; looks at none of them singly, since there may be very many."""
        return not all(
            known.keys().isdisjoint(some) for known in (self.definitions, self._faulty) for some in names
        )

    def _doubles(self, by_name: Mapping[str, Definition], faulty: Mapping[str, Origin]) -> dict[str, Origin]:
        """Which of these names stand somewhere else already, and where."""
        doubles: dict[str, Origin] = {}
        places = {**{name: found.origin for name, found in by_name.items()}, **faulty}
        for name, origin in places.items():
            known = self.definitions.get(name)
            first = self._faulty.get(name) if known is None else known.origin
            if first is not None and first != origin:
                doubles[name] = first
        return doubles

    def _line(self, definition: Definition, key: str, value: str, text: str) -> Line:
        """A fault in one of a job's lists, which may stand in defaults; the text is read once more, for its place."""
        name = definition.job.name
        prefix: Path = ("job", name)
        file, place = definition.origin.file, definition.source.get(key)
        if place is not None:
            text, prefix = f"{text} (for job {name})", ()
            file = place.rpartition(":")[0]
        if place == SETTINGS:
            return Line(SETTINGS, 0, 0, f"{key}: {text}")
        content = read_text(self._found[file])
        source: Source | Unread = content if isinstance(content, Unread) else parse_text(content, file)
        if isinstance(source, Unread):
            return unread_line(source)
        table = source.data["job"][name] if prefix else source.data
        found = table[key]
        if not isinstance(found, list):
            return line_of(Fault(path=(key,), text=text), source, prefix)
        words = [word.strip().lower() if key == "schedule" else word for word in found]
        return line_of(Fault(path=(key, words.index(value)), text=text), source, prefix)

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


_MENTIONS = re.compile(
    r"^[ \t]*\[?[ \t]*[\"']?calendar\b", re.MULTILINE
)  # what may begin a table of calendars


def _settings_text(layer: Layer) -> Defaults:
    return Defaults(SETTINGS, msgspec.json.encode(layer.table).decode())
