"""A `Job` -> the document that the API takes and gives, and the TOML that a job file would hold."""

import enum
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Table

from schedulerd.adapters.jobfiles.calendars import to_document as calendar_document
from schedulerd.adapters.jobfiles.catalog import STEPS
from schedulerd.adapters.jobfiles.durations import format_duration
from schedulerd.model import job as model
from schedulerd.protocol.ids import rfc3339

BUILT_IN = "built-in"
_SHELL = ("/bin/sh", "-c")
_IN_ORDER = ("matrix", "include", "exclude")  # keys of a split whose order means something
_USUAL = model.Job(name="", trigger=model.Manual(), work=model.Argv(argv=()))
_PLAIN = (
    "timezone",
    "dst_gap",
    "dst_fold",
    "start",
    "end",
    "max_runs",
    "jitter",
    "env",
    "cwd",
    "timeout",
    "kill_after",
    "success_codes",
    "overlap",
    "queue_max",
    "misfire",
    "catchup",
    "catchup_max",
    "dispatch_timeout",
    "on_lost",
    "requires",
    "pools",
    "paused",
    "run_timeout",
)


def to_document(job: model.Job, *, effective: bool = False) -> dict[str, Any]:
    """The job as JSON values, in the keys of job files; reading it back gives an equal job.

    Keys that say what is built in anyway are left out, unless `effective`.
    """
    document: dict[str, Any] = {}
    for key in ("description", "tags"):
        _put(document, key, getattr(job, key), getattr(_USUAL, key), effective)
    document |= _trigger(job.trigger)
    document |= _work(job.work)
    shell = next((work.shell for work in _works(job) if not isinstance(work, model.Argv)), _SHELL)
    _put(document, "shell", shell, _SHELL, effective)
    for key in _PLAIN:
        _put(document, key, getattr(job, key), getattr(_USUAL, key), effective)
    for key, calendars in (("calendar", job.calendars), ("not_calendar", job.excluded)):
        written = [calendar_document(calendar) for calendar in calendars]
        if written:
            document[key] = written[0] if len(written) == 1 else written
    if job.retry_max or effective:
        document["retry"] = {"max": job.retry_max}
    if job.split is not None:
        document["split"] = _split(job.split) | _bounds(job)
    for step in STEPS:
        if (work := getattr(job, step)) is not None:
            document[step] = _work(work)
    return document


def effective_sources(definition: model.Definition) -> dict[str, str]:
    """Where the value of each key of the job came from; `Definition.sources` leaves out what is built in."""
    document = to_document(definition.job, effective=True)
    return dict.fromkeys(document, BUILT_IN) | definition.sources


def to_toml(definition: model.Definition) -> str:
    """The job as a `[job.NAME]` table; reading it back gives an equal job."""
    document = to_document(definition.job)
    if isinstance(definition.job.trigger, model.At):
        instants = list(definition.job.trigger.instants)
        document["at"] = instants[0] if len(instants) == 1 else instants
    if isinstance(definition.job.trigger, model.Every) and definition.job.trigger.anchor is not None:
        document["anchor"] = definition.job.trigger.anchor
    for key in ("start", "end"):
        if key in document:
            document[key] = getattr(definition.job, key)
    table = tomlkit.table()
    inner: list[tuple[str, Table]] = []
    for key, value in document.items():
        if key in ("env", "split", *STEPS):
            sub = tomlkit.table()
            for name, element in value.items():
                sub.add(name, _compact(element) if name in _IN_ORDER else _toml(element))
            inner.append((key, sub))
        elif isinstance(value, dict):
            table.add(key, _inline(value))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            array = tomlkit.array()
            array.extend(_inline(element) for element in value)
            table.add(key, array)
        else:
            table.add(key, _toml(value))
    for key, sub in inner:
        table.add(key, sub)
    jobs = tomlkit.table(is_super_table=True)
    jobs.add(definition.job.name, table)
    text = tomlkit.document()
    text.add("job", jobs)
    return tomlkit.dumps(text)


def _put(document: dict[str, Any], key: str, value: Any, usual: Any, effective: bool) -> None:
    if value is None or (value == usual and not effective):
        return
    if isinstance(value, timedelta):
        document[key] = format_duration(value)
    elif isinstance(value, datetime):
        document[key] = rfc3339(value)
    elif isinstance(value, enum.Enum):
        document[key] = value.value
    else:
        document[key] = list(value) if isinstance(value, tuple) else value


def _trigger(trigger: model.Trigger) -> dict[str, Any]:
    match trigger:
        case model.Cron(expressions=expressions, is_at_boot=is_at_boot):
            texts = [*(["@reboot"] if is_at_boot else []), *expressions]
            return {"schedule": texts[0] if len(texts) == 1 else texts}
        case model.Every(period=period, anchor=anchor, is_from_end=is_from_end):
            document = {"every": format_duration(period)}
            if anchor is not None:
                document["anchor"] = rfc3339(anchor)
            return document | ({"every_from": "end"} if is_from_end else {})
        case model.At(instants=instants):
            texts = [rfc3339(instant) for instant in instants]
            return {"at": texts[0] if len(texts) == 1 else texts}
        case model.Manual():
            return {}


def _works(job: model.Job) -> list[model.Work]:
    works = [job.work]
    if isinstance(job.split, model.ListedItems):
        works.append(job.split.work)
    return [*works, *(work for work in (job.setup, job.gather, job.teardown) if work is not None)]


def _work(work: model.Work) -> dict[str, Any]:
    match work:
        case model.Argv(argv=argv):
            return {"argv": list(argv)}
        case model.Line(line=line):
            return {"command": line}
        case model.Script(text=text):
            return {"script": text}


def _split(split: model.Split) -> dict[str, Any]:
    match split:
        case model.Shards(count=count):
            return {"shards": count}
        case model.PerWorker():
            return {"per_worker": True}
        case model.Items(items=items, chunk=chunk):
            document: dict[str, Any] = {"items": [json.loads(item) for item in items]}
        case model.Matrix(axes=axes, include=include, exclude=exclude, chunk=chunk):
            document = {"matrix": {name: [json.loads(value) for value in values] for name, values in axes}}
            for key, combinations in (("include", include), ("exclude", exclude)):
                if combinations:
                    document[key] = [json.loads(combination) for combination in combinations]
        case model.ListedItems(work=work, chunk=chunk):
            document = _work(work)
    return document if chunk is None else {**document, "chunk": chunk}


def _bounds(job: model.Job) -> dict[str, Any]:
    bounds: dict[str, Any] = {
        key: value for key in ("max_items", "max_parallel") if (value := getattr(job, key)) is not None
    }
    if job.fail_fast:
        bounds["fail_fast"] = True
    match job.need:
        case model.AtLeast(count=count):
            bounds["need"] = count
        case model.Share(millionths=millionths):
            bounds["need"] = f"{Decimal(millionths) / 10_000:f}%"
        case None:
            pass
    return bounds


def _inline(value: dict[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    table.update(value)
    return table


def _compact(value: Any) -> Any:
    """A value for tomlkit without any table of its own: those would come after all other keys."""
    if isinstance(value, dict):
        return _inline({key: _compact(inner) for key, inner in value.items()})
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend(_compact(inner) for inner in value)
        return array
    return value


def _toml(value: Any) -> Any:
    """A value for tomlkit; texts of several lines as such."""
    if isinstance(value, str) and "\n" in value and "\r" not in value:  # which tomlkit would not escape
        text = tomlkit.string(value, multiline=True)
        # The text begins on a line of its own: reading trims the line break after the quotes.
        return text if value.startswith("\n") else tomlkit.value(f'"""\n{text.as_string()[3:]}')
    return value
