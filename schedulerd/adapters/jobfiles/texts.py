"""Which texts of a job may hold `{{ ... }}`, and whether every variable in them exists."""

from collections.abc import Iterator

from schedulerd.adapters.jobfiles.catalog import ITEM_KEYS
from schedulerd.adapters.jobfiles.documents import Gather, JobDocument, Split
from schedulerd.adapters.jobfiles.faults import Fault
from schedulerd.adapters.jobfiles.toml_text import Path
from schedulerd.protocol.templates import check_template


def check_templates(document: JobDocument, split: object, faults: list[Fault]) -> None:
    """A fault for every template that cannot be read or names a variable that has no value there.

    `split` is the table as it was written, so that its own faults do not make templates look wrong.
    """
    keys = split.keys() if isinstance(split, dict) else set()
    is_chunked, has_item = "chunk" in keys, not keys.isdisjoint(ITEM_KEYS)
    own = [
        *_work_texts(document, ()),
        *((("env", name), text) for name, text in (document.env or {}).items()),
    ]
    for path, text in own:
        _check(path, text, is_chunked, has_item, faults)
    for work, prefix in ((document.split, "split"), (document.gather, "gather")):
        for path, text in () if work is None else _work_texts(work, (prefix,)):
            _check(path, text, False, False, faults)


def _check(path: Path, text: str, chunked: bool, has_item: bool, faults: list[Fault]) -> None:
    if "{{" in text:
        # no supported key lets one job cause a run of another
        for offset, message in check_template(text, chunked=chunked, has_item=has_item, has_parent=False):
            faults.append(Fault(path=path, text=message, index=offset))


def _work_texts(work: JobDocument | Split | Gather, path: Path) -> Iterator[tuple[Path, str]]:
    for index, word in enumerate(work.argv or ()):
        yield (*path, "argv", index), word
    if work.command is not None:
        yield (*path, "command"), work.command
    if not isinstance(work, Split) and work.script is not None:
        yield (*path, "script"), work.script
