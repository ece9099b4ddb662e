"""Times and durations as people write and read them at a terminal. Knows nothing of the server."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

import click

from schedulerd.protocol.ids import read_time

_UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d{1,12})(ms|[wdhms])", re.ASCII)


class Duration(click.ParamType[float]):
    """`90s`, `1h30m`: seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, more than 0."""
        if isinstance(value, int | float):
            return float(value)
        seconds = parse_duration(str(value))
        if not seconds:
            self.fail(f'"{value}" is not a duration; expected one such as 90s, 2h or 1h30m', param, ctx)
        return seconds


class Instant(click.ParamType[str]):
    """A time: RFC 3339, `2026-11-23 02:00` in the zone of the display, `now`, or a duration ago (or ahead with +)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """RFC 3339 text in UTC."""
        text = str(value)
        now = datetime.now(UTC)
        if text == "now":
            return rfc3339(now)
        if seconds := parse_duration(text.removeprefix("+").removeprefix("-")):
            sign = 1 if text.startswith("+") else -1
            return rfc3339(now + sign * timedelta(seconds=seconds))
        try:
            instant = read_time(text)
        except ValueError:
            self.fail(
                f'"{value}" is not a time; expected 2026-11-23T02:00:00Z, "2026-11-23 02:00" or 2h',
                param,
                ctx,
            )
        if instant.tzinfo is None:
            zone = ctx.obj.zone if ctx is not None and ctx.obj is not None else None
            instant = instant.astimezone() if zone is None else instant.replace(tzinfo=zone)
        if not 1900 <= instant.year <= 2200:
            self.fail(f'"{value}" lies outside the years 1900 to 2200', param, ctx)
        return rfc3339(instant)


def parse_duration(text: str) -> float:
    """Seconds; 0 for what is no duration."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return float(sum(int(number) * _UNITS[unit] for number, unit in parts))


def rfc3339(instant: datetime) -> str:
    """`2026-11-23T02:00:00Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read(text: str) -> datetime:
    """The instant that the API wrote."""
    return datetime.fromisoformat(text)


def shown(text: str | None, zone: tzinfo | None) -> str:
    """A time of the API in `zone` (None = this host's), to the second; `-` for none."""
    if text is None:
        return "-"
    local = read(text).astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}"


def exact(text: str, zone: tzinfo | None) -> str:
    """As `shown`, to the millisecond: what a timeline and the order of events need."""
    local = read(text).astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d}"


def ago(text: str | None, now: datetime) -> str:
    """`in 5m`, `3h ago`, `now`; empty for no time."""
    if text is None:
        return ""
    seconds = (read(text) - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {brief(seconds)}" if seconds > 0 else f"{brief(-seconds)} ago"


def between(start: str | None, end: str | None) -> str:
    """How long from one time of the API to another; `-` when one is missing."""
    if start is None or end is None:
        return "-"
    return brief((read(end) - read(start)).total_seconds())


def brief(seconds: float) -> str:
    """At most two units: `350ms`, `4.2s`, `3m05s`, `2h10m`, `3d4h`."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600}h"
