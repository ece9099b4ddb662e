"""The host's two clocks. Knows nothing of what they are compared with.

Boot time counts suspend and never steps, so leases, expiries and resends wait on it; UTC is for fire times
and people.
"""

import time
from datetime import UTC, datetime


def boot_ms() -> int:
    """Milliseconds since this host booted, suspend included (CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def boot_seconds() -> float:
    """Seconds since this host booted, suspend included (CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e9


def utc_now() -> datetime:
    """Now by the wall clock: aware, UTC."""
    return datetime.now(UTC)


def utc_ms() -> int:
    """Milliseconds since 1970 by the wall clock (UTC)."""
    return time.time_ns() // 1_000_000


def monotonic_us() -> int:
    """Microseconds on CLOCK_MONOTONIC, which systemd compares reloads with; stands still during suspend."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
