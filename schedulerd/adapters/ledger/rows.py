"""How values stand in ledger rows: instants as microseconds, text forms for the API. Knows nothing of a database."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000


def micros(instant: datetime) -> int:
    """Microseconds since 1970 of an aware instant, exact."""
    since = instant - _EPOCH
    return since.days * _DAY_US + since.seconds * 1_000_000 + since.microseconds


def micros_or_none(instant: datetime | None) -> int | None:
    """As `micros`, None for None."""
    return None if instant is None else micros(instant)


def instant(us: int) -> datetime:
    """The aware instant (UTC) of microseconds since 1970, exact."""
    return _EPOCH + timedelta(microseconds=us)


def instant_or_none(us: int | None) -> datetime | None:
    """As `instant`, None for None."""
    return None if us is None else instant(us)


def text(us: int) -> str:
    """RFC 3339 UTC, a fraction only if there is one: `2026-11-23T02:00:00Z`."""
    return f"{instant(us).isoformat()[:-6]}Z"


def text_or_none(us: int | None) -> str | None:
    """As `text`, None for None."""
    return None if us is None else text(us)


def decoded(output: bytes) -> str:
    """What a process wrote, as text; undecodable bytes are replaced."""
    return output.decode("utf-8", "replace")
