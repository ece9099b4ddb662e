"""Renders the templates. Everything put into them is escaped; what jobs wrote stands in them as text."""

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

TEMPLATES = Path(__file__).parent.parent / "ui" / "templates"
STEPS = {-1: "gather", -2: "setup", -3: "teardown", -4: "split"}


def clock(text: str) -> str:
    """`2026-11-23 02:00:00 UTC`, for those without script."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


def until(start: str, end: str) -> str:
    """How long from one time to another: `40ms`, `4.2s`, `12s`, `3m05s`, `2h10m`."""
    seconds = max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


_environment = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_environment.filters.update(clock=clock, until=until)


def page(template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
    """The page made of `template`."""
    return HTMLResponse(_environment.get_template(template).render(values), status)
