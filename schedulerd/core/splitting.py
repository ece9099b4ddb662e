"""A run into subtasks: one, shards, items in chunks, one a worker. Knows nothing of when or where they run."""

import msgspec

from schedulerd.model.job import Items, Job, ListedItems, PerWorker, Shards

MAX_ITEMS = 100_000  # a list longer than this fails its run
Part = tuple[int, str | None]  # index from 0, item as JSON text


class SplitError(ValueError):
    """What a split command printed is not a list of items; the text says where."""


def parts_of(job: Job) -> list[Part] | None:
    """The ordinary subtasks of a run of `job`; None when they are known only later (from a command, or workers)."""
    match job.split:
        case None:
            return [(0, None)]
        case Shards(count=count):
            return [(index, None) for index in range(count)]
        case Items(items=items, chunk=chunk):
            return chunked(list(items), chunk)
        case ListedItems() | PerWorker():
            return None


def chunked(items: list[str], chunk: int | None) -> list[Part]:
    """Items (JSON texts) to parts: one each, or `chunk` at a time as a JSON array."""
    if chunk is None:
        return list(enumerate(items))
    return [
        (index, "[" + ",".join(items[start : start + chunk]) + "]")
        for index, start in enumerate(range(0, len(items), chunk))
    ]


def items_in(output: bytes) -> list[str]:
    """Items a split command printed, as JSON texts: a JSON array, or one item a line (empty lines do not count).

    Raises SplitError for text that is not UTF-8, a broken array, or more than MAX_ITEMS.
    """
    try:
        text = output.decode()
    except UnicodeDecodeError as error:
        raise SplitError(f"byte {error.start} of the split command's output is not UTF-8") from None
    if text.lstrip()[:1] == "[":
        try:
            items = [bytes(raw).decode() for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]
        except msgspec.DecodeError as error:
            raise SplitError(
                f"the split command's output begins like a JSON array but is none: {error}"
            ) from None
    else:
        items = [msgspec.json.encode(line).decode() for line in text.splitlines() if line.strip()]
    if len(items) > MAX_ITEMS:
        raise SplitError(f"the split command listed {len(items)} items, more than {MAX_ITEMS}")
    return items
