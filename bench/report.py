"""How figures are told: one line of JSON each, medians and percentiles of what was measured."""

import json
from collections.abc import Sequence


def show(name: str, **figures: object) -> None:
    """One line of JSON."""
    line = {"figure": name, **{key: _rounded(value) for key, value in figures.items()}}
    print(json.dumps(line), flush=True)


def show_lateness(name: str, seconds: Sequence[float], **others: object) -> None:
    """Percentiles in milliseconds."""
    show(name, count=len(seconds), **percentiles_ms(seconds), **others)


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max of times in seconds, in milliseconds."""
    found = sorted(value * 1000 for value in seconds)
    return {"p50": _part(found, 0.5), "p99": _part(found, 0.99), "max": found[-1]}


def _part(found: list[float], part: float) -> float:
    return found[min(int(len(found) * part), len(found) - 1)]


def _rounded(value: object) -> object:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 3) if isinstance(value, float) else value
