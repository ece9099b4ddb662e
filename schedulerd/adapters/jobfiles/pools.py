"""`[pool.X]` tables of one job file. Whether names are unique, and known to jobs, is seen when all files are read."""

from typing import Any

import msgspec
from pydantic import ValidationError

from schedulerd.adapters.jobfiles import documents
from schedulerd.adapters.jobfiles.faults import Fault, fault_of, shown, wrong_kind
from schedulerd.adapters.jobfiles.files import Source
from schedulerd.adapters.jobfiles.values import NAME_RULE
from schedulerd.protocol.ids import JOB_NAME


class FoundPool(msgspec.Struct, frozen=True):
    """A pool and where it stands."""

    name: str
    max: int | None  # None: it is faulty
    file: str
    line: int
    column: int


def read_pools(source: Source) -> tuple[list[FoundPool], list[Fault]]:
    """The pools of one file, and what is wrong with them, with paths below the file."""
    tables = source.data.get("pool", {})
    if not isinstance(tables, dict):
        return [], [Fault(path=("pool",), text=wrong_kind(tables, "tables [pool.NAME]"))]
    pools: list[FoundPool] = []
    faults: list[Fault] = []
    for name, table in tables.items():
        path = ("pool", name)
        if not JOB_NAME.fullmatch(name):
            text = f"{shown(name)} cannot name a pool, {NAME_RULE}"
            faults.append(Fault(path=path, text=text, at_key=True))
            continue
        limit = None
        if isinstance(table, dict):
            limit = _limit(path, table, faults)
        else:
            faults.append(Fault(path=path, text=wrong_kind(table, "a table [pool.NAME]")))
        line, column = source.positions.key(path)
        pools.append(FoundPool(name, limit, source.file, line, column))
    return pools, faults


def _limit(path: tuple[str, str], table: dict[str, Any], faults: list[Fault]) -> int | None:
    if "max" not in table:
        text = "no max was found, expected how many attempts may run at once, max = 4"
        faults.append(Fault(path=path, text=text, at_key=True))
    try:
        return documents.Pool.model_validate(table).max
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] != "missing":
                fault = fault_of(detail, table, "pool")
                faults.append(Fault(path=(*path, *fault.path), text=fault.text, at_key=fault.at_key))
        return None
