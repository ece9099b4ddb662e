"""A run into subtasks: one, shards, items in chunks, combinations, one a worker. Knows not when or where they run."""

from itertools import product

import msgspec

from schedulerd.model.job import AtLeast, Items, Job, ListedItems, Matrix, Need, PerWorker, Shards, Share

MAX_ITEMS = 100_000  # a list longer than this fails its run
_MILLION = 1_000_000
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
        case Matrix(chunk=chunk) as matrix:
            return chunked(combinations(matrix), chunk)
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


def combinations(matrix: Matrix) -> list[str]:
    """Every combination as a JSON object, keys in the order of the axes: those of all values, then those included.

    One that is there already is not included again.
    """
    names = [name for name, _ in matrix.axes]
    excluded = [msgspec.json.decode(text, type=_Raws) for text in matrix.exclude]
    found: dict[str, None] = {}
    for values in product(*(values for _, values in matrix.axes)):
        one = dict(zip(names, values, strict=True))
        if not any(all(one.get(key) == bytes(raw).decode() for key, raw in out.items()) for out in excluded):
            found[_object(one)] = None
    for text in matrix.include:
        more = {key: bytes(raw).decode() for key, raw in msgspec.json.decode(text, type=_Raws).items()}
        found[_object({name: more[name] for name in names if name in more} | more)] = None
    return list(found)


def count_of(matrix: Matrix) -> int:
    """How many combinations there are at most, without making them."""
    count = 1
    for _, values in matrix.axes:
        count *= len(values)
    return count + len(matrix.include)


def needed(need: Need | None, total: int) -> int:
    """How many of `total` subtasks have to succeed; of none, none."""
    match need:
        case None:
            return total
        case AtLeast(count=count):
            return count if total else 0
        case Share(millionths=millionths):
            return -(-total * millionths // _MILLION)


def items_in(output: bytes, most: int | None = None) -> list[str]:
    """Items a split command printed, as JSON texts: a JSON array, or one item a line (empty lines do not count).

    Raises SplitError for text that is not UTF-8, a broken array, or more than `most` (its `max_items`) or MAX_ITEMS.
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
    if len(items) > min(most or MAX_ITEMS, MAX_ITEMS):
        bound = f"max_items, {most}" if most else str(MAX_ITEMS)
        raise SplitError(f"the split command listed {len(items)} items, more than {bound}")
    return items


_Raws = dict[str, msgspec.Raw]


def _object(values: dict[str, str]) -> str:
    """A JSON object of values that are JSON texts."""
    return "{" + ",".join(f"{msgspec.json.encode(key).decode()}:{text}" for key, text in values.items()) + "}"
