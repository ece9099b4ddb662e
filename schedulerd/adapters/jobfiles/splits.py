"""The table `split` -> how a run is split, and what its keys mean together. Leaves templates to texts.py."""

import json
from collections.abc import Mapping
from typing import Any

from schedulerd.adapters.jobfiles.documents import Split
from schedulerd.adapters.jobfiles.faults import Fault, shown
from schedulerd.adapters.jobfiles.values import MAX_SUBTASKS, millionths
from schedulerd.core.splitting import count_of, parts_of
from schedulerd.model import job as model

MAX_PART = 3 * 1024 * 1024  # bytes of the items of one subtask: they travel in one frame
_WITHOUT_ITEMS = ("shards", "per_worker")


def check_split(split: Mapping[str, Any], faults: list[Fault]) -> None:
    """Keys that stand where they mean nothing."""
    without = next((key for key in _WITHOUT_ITEMS if key in split), None)
    if "chunk" in split and without is not None:
        text = f"stands beside {without}, which has no items, expected items, matrix, argv or command"
        faults.append(Fault(path=("split", "chunk"), text=text, at_key=True))
    for key in ("include", "exclude"):
        if key in split and "matrix" not in split:
            faults.append(
                Fault(path=("split", key), text="stands without matrix, which it speaks of", at_key=True)
            )
    if "max_items" in split and "argv" not in split and "command" not in split:
        text = "stands without argv or command, whose items it counts"
        faults.append(Fault(path=("split", "max_items"), text=text, at_key=True))


def read_split(split: Split, listing: model.Work | None, faults: list[Fault]) -> dict[str, Any]:
    """The split and its bounds as fields of a job; `listing` is the work of a split command."""
    fields: dict[str, Any] = {"split": _split(split, listing, faults)}
    for key in ("max_items", "max_parallel"):
        if (value := getattr(split, key)) is not None:
            fields[key] = value
    if split.fail_fast:
        fields["fail_fast"] = True
    if isinstance(split.need, int):
        fields["need"] = model.AtLeast(count=split.need)
    elif split.need not in (None, "all"):
        fields["need"] = model.Share(millionths=millionths(split.need))
    return fields


def check_parts(job: model.Job, faults: list[Fault]) -> None:
    """What shows only when the subtasks are counted and weighed."""
    is_weighed = isinstance(job.split, model.Items | model.Matrix) and job.split.chunk is not None
    if not is_weighed and not isinstance(job.need, model.AtLeast):
        return
    parts = parts_of(job)
    if parts is None:
        return
    if isinstance(job.need, model.AtLeast) and parts and job.need.count > len(parts):
        text = f"{job.need.count} was found, but there are only {len(parts)} subtasks"
        faults.append(Fault(path=("split", "need"), text=text))
    largest = max((len(item.encode()) for _, item in parts if item is not None), default=0)
    if largest > MAX_PART:
        text = f"the items of one subtask come to {largest:,} bytes, expected at most {MAX_PART:,}"
        faults.append(Fault(path=("split", "chunk"), text=text))


def item_text(item: object) -> str:
    """An item as the JSON text that is kept, sent and shown; equal items have equal texts."""
    return json.dumps(item, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _split(split: Split, listing: model.Work | None, faults: list[Fault]) -> model.Split:
    if split.shards is not None:
        return model.Shards(count=split.shards)
    if split.per_worker:
        return model.PerWorker()
    if split.items is not None:
        return model.Items(items=tuple(map(item_text, split.items)), chunk=split.chunk)
    if split.matrix is not None:
        return _matrix(split, split.matrix, faults)
    assert listing is not None
    return model.ListedItems(work=listing, chunk=split.chunk)


def _matrix(split: Split, axes: Mapping[str, list[Any]], faults: list[Fault]) -> model.Matrix:
    for index, more in enumerate(split.include or ()):
        if missing := [name for name in axes if name not in more]:
            text = f"lacks {', '.join(missing)}, expected a value of every axis"
            faults.append(Fault(path=("split", "include", index), text=text))
    for index, out in enumerate(split.exclude or ()):
        for name in [name for name in out if name not in axes]:
            text = f"names {shown(name)}, expected some of {', '.join(axes)}"
            faults.append(Fault(path=("split", "exclude", index), text=text))
    matrix = model.Matrix(
        axes=tuple((name, tuple(dict.fromkeys(map(item_text, values)))) for name, values in axes.items()),
        include=tuple(map(item_text, split.include or ())),
        exclude=tuple(map(item_text, split.exclude or ())),
        chunk=split.chunk,
    )
    if (count := count_of(matrix)) > MAX_SUBTASKS:
        text = f"{count:,} combinations were found, expected at most {MAX_SUBTASKS:,}"
        faults.append(Fault(path=("split", "matrix"), text=text))
    return matrix
