"""Around every transition of every zone from 1970 to 2040 fire times are those of the brute-force walk.

A plain run takes one transition of each kind of each clock (kinds differ in the offset before, the offset after or the
time of day; names with the same zone file share a clock). `EVERY_TRANSITION=1`, which `make cron` sets, walks them all,
for all names.
"""

import os
from datetime import UTC, datetime, timedelta

import pytest
from properties.cron_material import ZONES
from properties.oracle import enumerate_fires
from properties.zone_jumps import BEGIN, END, Jump, jumps_of, same_clocks

from schedulerd.core.cron import fire_times
from schedulerd.core.zones import zone

EVERY_TRANSITION = os.environ.get("EVERY_TRANSITION", "") not in ("", "0")
EXPRESSIONS = [
    "30 2 * * *",  # fixed
    "0 0 * * *",
    "15,45 0-3,23 * * *",
    "H(0-5) H * * *",
    "*/15 * * * *",  # real time
    "0 * * * *",
    "*/20 2 * * *",
    "7 */2 * * *",
]
CLOCKS = same_clocks(ZONES)
GROUPS = 8  # so that progress is seen and a failure names its part


def chosen(name: str) -> list[Jump]:
    jumps = jumps_of(name)
    if EVERY_TRANSITION:
        return jumps
    # the newest of each kind: its date is the one that most readers know
    return list({jump.kind: jump for jump in jumps}.values())


@pytest.mark.parametrize("group", range(GROUPS))
def test_fire_times_around_every_kind_of_transition(group: int) -> None:
    names = ZONES if EVERY_TRANSITION else list(CLOCKS)
    for name in names[group::GROUPS]:
        for jump in chosen(name):
            compare_around(name, jump)


def compare_around(name: str, jump: Jump) -> None:
    """Every expression in a window around the jump, asked from its start and from the instants that matter."""
    at = datetime.fromtimestamp(jump.instant, UTC)
    size = timedelta(seconds=abs(jump.after - jump.before))
    reach = min(size, timedelta(hours=3)) + timedelta(hours=2)
    start, until = at - reach, at + reach
    second = timedelta(seconds=1)
    asked = sorted({start, at - size, at - second, at, at + second, at + size / 2, at + size - second})
    for expression in EXPRESSIONS:
        expected = enumerate_fires(expression, name, start, until)
        for after in asked:
            if not start <= after < until:
                continue
            later = [instant for instant in expected if instant > after]
            # everything once, then only what comes next
            later = later if after == start else later[:2]
            found = [fire.astimezone(UTC) for fire in fire_times(expression, name, after, len(later) + 1)]
            assert found[: len(later)] == later, (name, at.isoformat(), expression, after.isoformat())
            if after == start:
                assert found[-1] > until, (name, at.isoformat(), expression)


def test_every_jump_of_every_zone_is_a_jump_of_its_segments() -> None:
    names = ZONES if EVERY_TRANSITION else list(CLOCKS)
    total = 0
    for name in names:
        where, at, found = zone(name), BEGIN, []
        before = where.segment(BEGIN - 1).offset
        while at < END:
            segment = where.segment(at)
            if segment.offset != before:
                found.append(Jump(segment.start, before, segment.offset))
            before, at = segment.offset, segment.end
        assert found == jumps_of(name), name
        total += len(found)
    assert total > 10_000


def test_names_of_one_clock_have_the_same_segments() -> None:
    for first, names in CLOCKS.items():
        for instant in (BEGIN, 800_000_000, 1_790_000_000):
            assert len({zone(name).segment(instant) for name in [first, *names]}) == 1
