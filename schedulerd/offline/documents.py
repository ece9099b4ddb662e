"""`schedulerctl add FILE`: job files -> the documents that the API takes."""

from pathlib import Path
from typing import Any

from schedulerd.adapters.jobfiles import read_paths, to_document


def read_documents(path: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The jobs of one file or directory, their defaults filled in, by name; or every fault as `file:line:col: text`."""
    table = read_paths([path])
    if table.lines:
        return {}, [str(line) for line in sorted(table.lines)]
    return {name: to_document(table.definitions[name].job) for name in sorted(table.definitions)}, []
