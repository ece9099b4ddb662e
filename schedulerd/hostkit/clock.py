"""The clocks both daemons read. Knows nothing of what they are compared with.

Boot time counts suspend and never steps, so leases, expiries and resends wait on it; UTC is for fire times
and people. All readings of the process go through here, so that a test can move them (clock_failpoint).
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from schedulerd.hostkit import clock_failpoint

moved = clock_failpoint.from_environment()  # None outside tests


def boot_ms() -> int:
    """Milliseconds since this host booted, suspend included (CLOCK_BOOTTIME)."""
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return now if moved is None else now + round(moved.boot * 1000)


def boot_seconds() -> float:
    """Seconds since this host booted, suspend included (CLOCK_BOOTTIME)."""
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e9
    return now if moved is None else now + moved.boot


def boot_id() -> str:
    """The kernel's name of this boot; another one after every boot, the same in all containers of a host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def utc_now() -> datetime:
    """Now by the wall clock: aware, UTC."""
    now = datetime.now(UTC)
    return now if moved is None else now + timedelta(seconds=moved.wall)


def utc_ms() -> int:
    """Milliseconds since 1970 by the wall clock (UTC)."""
    now = time.time_ns() // 1_000_000
    return now if moved is None else now + round(moved.wall * 1000)


def monotonic_us() -> int:
    """Microseconds on CLOCK_MONOTONIC, which systemd compares reloads with; stands still during suspend."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
