"""Which texts of a job may hold `{{ ... }}`, and whether every variable in them exists."""

from collections.abc import Iterator

from schedulerd.adapters.jobfiles.catalog import ITEM_KEYS, STEPS
from schedulerd.adapters.jobfiles.documents import JobDocument, Split, Step
from schedulerd.adapters.jobfiles.faults import Fault
from schedulerd.adapters.jobfiles.toml_text import Path
from schedulerd.protocol.templates import check_template


def check_templates(document: JobDocument, split: object, faults: list[Fault]) -> None:
    """A fault for every template that cannot be read or names a variable that has no value there.

    `split` is the table as it was written, so that its own faults do not make templates look wrong.
    """
    keys = split.keys() if isinstance(split, dict) else set()
    is_chunked, has_item = "chunk" in keys, not keys.isdisjoint(ITEM_KEYS)
    axes = _axes(split)
    own = [
        *_work_texts(document, ()),
        *((("env", name), text) for name, text in (document.env or {}).items()),
    ]
    for path, text in own:
        _check(path, text, is_chunked, has_item, axes, faults)
    for prefix in ("split", *STEPS):
        work: Split | Step | None = getattr(document, prefix)
        for path, text in () if work is None else _work_texts(work, (prefix,)):
            _check(path, text, False, False, (), faults)


def _axes(split: object) -> tuple[str, ...]:
    """What `{{ matrix.X }}` may name: every axis, and what further combinations have besides."""
    if not isinstance(split, dict) or not isinstance(split.get("matrix"), dict):
        return ()
    more = [one for one in split.get("include") or () if isinstance(one, dict)]
    return tuple(dict.fromkeys(name for table in (split["matrix"], *more) for name in table))


def _check(
    path: Path, text: str, chunked: bool, has_item: bool, axes: tuple[str, ...], faults: list[Fault]
) -> None:
    if "{{" in text:
        # no supported key lets one job cause a run of another
        found = check_template(text, chunked=chunked, has_item=has_item, has_parent=False, axes=axes)
        for offset, message in found:
            faults.append(Fault(path=path, text=message, index=offset))


def _work_texts(work: JobDocument | Split | Step, path: Path) -> Iterator[tuple[Path, str]]:
    for index, word in enumerate(work.argv or ()):
        yield (*path, "argv", index), word
    if work.command is not None:
        yield (*path, "command"), work.command
    if not isinstance(work, Split) and work.script is not None:
        yield (*path, "script"), work.script
