"""A job's document -> a `Job`: what its keys mean together. Every fault is collected, none is raised."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from pydantic import ValidationError

from schedulerd.adapters.jobfiles import catalog
from schedulerd.adapters.jobfiles.calendars import Parts
from schedulerd.adapters.jobfiles.documents import JobDocument, Step
from schedulerd.adapters.jobfiles.faults import Fault, existing, fault_of
from schedulerd.adapters.jobfiles.instants import read_instants
from schedulerd.adapters.jobfiles.splits import check_parts, check_split, read_split
from schedulerd.adapters.jobfiles.texts import check_templates
from schedulerd.adapters.jobfiles.triggers import counted, read_limits, read_schedule
from schedulerd.model import job as model

MAX_JOB = (
    768 * 1024
)  # bytes of a job without the items of its split: what a worker is sent fits into one frame
NO_CALENDARS: Mapping[str, Parts | None] = {}
_SHELL = ("/bin/sh", "-c")
_BUILT_IN = model.Job(name="", trigger=model.Manual(), work=model.Argv(argv=()))


def build_job(
    name: str, document: Mapping[str, Any], calendars: Mapping[str, Parts | None] = NO_CALENDARS
) -> tuple[model.Job | None, list[Fault]]:
    """The job that `document` (with its defaults) describes, or None and everything that is wrong with it.

    `calendars` are those that it may name; None stands for one that is faulty itself.
    """
    faults: list[Fault] = []
    checked = _checked(document, faults)
    _check_choices(document, faults)
    job = None
    if checked is not None:
        check_templates(checked, document.get("split"), faults)
        trigger = _trigger(name, checked, faults)
        limits = read_limits(checked, calendars, faults)
        job = _job(name, checked, trigger, limits, faults) if not faults else None
    if job is not None and not faults:
        check_parts(job, faults)
    if job is not None and (size := _size(job)) > MAX_JOB:
        faults.append(Fault(path=(), text=f"{size:,} bytes of job were found, expected at most {MAX_JOB:,}"))
    # A single value where a list may stand was looked at as a list: its fault has no index.
    faults = [replace(fault, path=existing(fault.path, document)) for fault in faults]
    return (None if faults else job), faults


def _checked(document: Mapping[str, Any], faults: list[Fault]) -> JobDocument | None:
    """The document key by key; faulty keys are told and left out, so that the others can be looked at together."""
    try:
        return JobDocument.model_validate(document)
    except ValidationError as error:
        found = [fault_of(detail, document) for detail in error.errors(include_url=False)]
    faults.extend(found)
    rest: dict[str, Any] = dict(document)
    for fault in found:
        _leave_out(rest, fault)
    try:
        return JobDocument.model_validate(rest)
    except ValidationError:
        return None


def _leave_out(rest: dict[str, Any], fault: Fault) -> None:
    """Take the faulty key out of `rest`: the inner one of a table, else the whole."""
    top = fault.path[0]
    inner = rest.get(str(top))
    if top in ("split", "retry", "env", *catalog.STEPS) and len(fault.path) > 1 and isinstance(inner, dict):
        rest[str(top)] = {key: value for key, value in inner.items() if key != fault.path[1]}
    else:
        rest.pop(str(top), None)


def _check_choices(document: Mapping[str, Any], faults: list[Fault]) -> None:
    """At most one trigger; exactly one kind of work, split and step; what speaks of a split only where it is one."""
    triggers = [key for key in document if key in catalog.TRIGGER_KEYS]
    for extra in triggers[1:]:
        text = f"stands beside {triggers[0]}, expected one of {_either(catalog.TRIGGER_KEYS)}"
        faults.append(Fault(path=(extra,), text=text, at_key=True))
    _one_of(document, (), catalog.WORK_KEYS, catalog.LATER_WORK_KEYS, "nothing to run was found", faults)
    split = document.get("split")
    if isinstance(split, dict):
        _one_of(split, ("split",), catalog.SPLIT_KEYS, (), "nothing to split by was found", faults)
        check_split(split, faults)
    for step in catalog.STEPS:
        table = document.get(step)
        if isinstance(table, dict):
            _one_of(
                table,
                (step,),
                catalog.WORK_KEYS,
                catalog.LATER_WORK_KEYS,
                "nothing to run was found",
                faults,
            )


def _one_of(
    table: Mapping[str, Any],
    path: tuple[str, ...],
    keys: tuple[str, ...],
    later: tuple[str, ...],
    nothing: str,
    faults: list[Fault],
) -> None:
    chosen = [key for key in table if key in keys and table[key] is not None]
    for extra in chosen[1:]:
        text = f"stands beside {chosen[0]}, expected one of {_either(keys)}"
        faults.append(Fault(path=(*path, extra), text=text, at_key=True))
    if not chosen and not any(key in later for key in table):
        faults.append(Fault(path=path, text=f"{nothing}, expected one of {_either(keys)}", at_key=True))


def _either(keys: tuple[str, ...]) -> str:
    return ", ".join(keys)


def _trigger(name: str, document: JobDocument, faults: list[Fault]) -> model.Trigger:
    trigger: model.Trigger | None = None
    if document.schedule is not None:
        trigger = read_schedule(name, document.schedule, faults)
    elif document.every is not None:
        trigger = model.Every(period=document.every)
    if isinstance(trigger, model.Every):
        return counted(trigger, document, faults)
    for key in ("anchor", "every_from"):
        if getattr(document, key) is not None:
            faults.append(Fault(path=(key,), text="stands without every, which it speaks of", at_key=True))
    if trigger is not None:
        return trigger
    if document.at is not None:
        return model.At(instants=read_instants(document.at, document.timezone or "UTC", faults))
    return model.Manual()


def _job(
    name: str,
    document: JobDocument,
    trigger: model.Trigger,
    limits: Mapping[str, Any],
    faults: list[Fault],
) -> model.Job:
    shell = tuple(document.shell) if document.shell is not None else _SHELL
    values: dict[str, Any] = dict(limits)
    for key in _COPIED:
        value = getattr(document, key)
        if isinstance(value, list):
            value = tuple(dict.fromkeys(value) if key == "pools" else value)
        elif key in _WORDS and value is not None:
            value = _WORDS[key](value)
        # What is built in anyway is left out, so that saying it does not make another version of the job.
        if value is not None and value != getattr(_BUILT_IN, key):
            values[key] = value
    if (split := document.split) is not None:
        is_listed = split.argv is not None or split.command is not None
        listing = _work(split.argv, split.command, None, shell) if is_listed else None
        values |= read_split(split, listing, faults)
    for step in catalog.STEPS:
        table: Step | None = getattr(document, step)
        if table is not None:
            values[step] = _work(table.argv, table.command, table.script, shell)
    return model.Job(
        name=name,
        trigger=trigger,
        work=_work(document.argv, document.command, document.script, shell),
        retry_max=0 if document.retry is None else document.retry.max,
        **values,
    )


_WORDS = {
    "dst_gap": model.Gap,
    "dst_fold": model.Fold,
    "overlap": model.Overlap,
    "misfire": model.Misfire,
    "on_lost": model.OnLost,
}
_COPIED = (
    "timezone",
    "dst_gap",
    "dst_fold",
    "max_runs",
    "jitter",
    "description",
    "tags",
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


def _work(
    argv: list[str] | None, command: str | None, script: str | None, shell: tuple[str, ...]
) -> model.Work:
    """The one that is given; `_check_choices` has seen that there is exactly one."""
    if argv is not None:
        return model.Argv(argv=tuple(argv))
    if command is not None:
        return model.Line(line=command, shell=shell)
    return model.Script(text=script or "", shell=shell)


def _size(job: model.Job) -> int:
    """Bytes of what a worker is sent at most, without its items; it is not told of calendars."""
    split = None if isinstance(job.split, model.Items | model.Matrix) else job.split
    return len(msgspec.json.encode(msgspec.structs.replace(job, split=split, calendars=(), excluded=())))
