"""The two clocks against the kernel's own word."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from schedulerd.hostkit import clock


def test_boot_time_is_the_kernels_and_never_goes_back():
    uptime = float(Path("/proc/uptime").read_text().split()[0])  # counts suspend, as CLOCK_BOOTTIME does
    readings = [clock.boot_seconds() for _ in range(1000)]
    assert readings == sorted(readings)
    assert -0.02 < readings[0] - uptime < 5
    assert 0 <= clock.boot_ms() - readings[-1] * 1000 + 1 < 5000


def test_boot_milliseconds_are_whole_and_of_the_same_clock():
    before, ms, after = clock.boot_seconds(), clock.boot_ms(), clock.boot_seconds()
    assert isinstance(ms, int)
    assert int(before * 1000) - 1 <= ms <= after * 1000


def test_utc_is_aware_and_the_wall_clocks():
    before, now, after = time.time(), clock.utc_now(), time.time()
    assert now.tzinfo is UTC
    assert before - 0.001 <= now.timestamp() <= after + 0.001
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert abs(epoch + timedelta(milliseconds=clock.utc_ms()) - clock.utc_now()) < timedelta(seconds=5)


def test_monotonic_microseconds_are_those_systemd_compares_with():
    before, now, after = time.monotonic_ns(), clock.monotonic_us(), time.monotonic_ns()
    assert before // 1000 <= now <= after // 1000
