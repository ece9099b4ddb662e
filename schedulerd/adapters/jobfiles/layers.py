"""Defaults: which table gives a job the keys it does not set itself.

The nearest `_defaults.toml` comes first, then those of the directories above, then `[defaults]` of the settings. `env`
and `retry` are put together key by key; every other key is taken whole from the nearest table that sets it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from schedulerd.adapters.jobfiles.documents import Defaults
from schedulerd.adapters.jobfiles.faults import Fault, fault_of, wrong_kind
from schedulerd.adapters.jobfiles.files import Source
from schedulerd.adapters.jobfiles.toml_text import Path

MERGED = ("env", "retry")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One table of defaults, without its faulty keys."""

    label: str  # file, or "schedulerd.toml [defaults]"
    table: Mapping[str, Any]
    source: Source | None  # None: the settings, whose text is not at hand

    def place(self, path: Path) -> str:
        """Where the key at `path` stands: `team/_defaults.toml:3`."""
        if self.source is None:
            return self.label
        return f"{self.label}:{self.source.positions.key(path)[0]}"


def read_layer(label: str, table: object, source: Source | None) -> tuple[Layer, list[Fault]]:
    """The defaults in `table` that are right, and what is wrong with the others."""
    if not isinstance(table, dict):
        fault = Fault(path=(), text=wrong_kind(table, "a table of defaults"))
        return Layer(label=label, table={}, source=source), [fault]
    faults: list[Fault] = []
    try:
        Defaults.model_validate(table)
    except ValidationError as error:
        faults = [fault_of(detail, table, "defaults") for detail in error.errors(include_url=False)]
    wrong = {fault.path[0] for fault in faults}
    right = {key: value for key, value in table.items() if key not in wrong}
    return Layer(label=label, table=right, source=source), faults


def merge(own: Mapping[str, Any], layers: Sequence[Layer]) -> tuple[dict[str, Any], dict[Path, Layer]]:
    """The job's table with its defaults (nearest layer first), and which layer gave which key or part of one."""
    document, given = dict(own), dict[Path, Layer]()
    for layer in layers:
        for key, value in layer.table.items():
            if key not in document:
                document[key] = value
                given[(key,)] = layer
            elif key in MERGED and isinstance(document[key], dict):
                added = {name: inner for name, inner in value.items() if name not in document[key]}
                document[key] = added | document[key]
                given.update(((key, name), layer) for name in added)
    return document, given
