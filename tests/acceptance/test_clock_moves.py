"""Real daemons whose clock is moved: an hour back, an hour forward, a suspend, and a boot with a wrong clock.

The clocks of all daemons of one test are moved by one file (`schedulerd.hostkit.clock_failpoint`), as one host's are.
"""

import json
import os
import re
import sqlite3
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from support.fleet import Fleet, lines
from support.waiting import wait_until

from schedulerd.ctl.exits import Exit

SECOND = timedelta(seconds=1)
HOUR = 3600.0
NOTICED = 1.0  # seconds within which a moved clock is noticed
BUSY = 0.5  # seconds more that a busy machine may need to write down what was noticed


class Slot(NamedTuple):
    """One slot row as the ledger has it."""

    first: datetime
    last: datetime
    count: int
    reason: str | None
    run: str | None
    cause: str | None
    created: datetime | None


class HostClock:
    """The clock of the host these daemons believe to be on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall = 0.0
        self.boot = 0.0
        self.word = ""
        self.set()

    def set(self, wall: float | None = None, boot: float | None = None, word: str = "") -> float:
        """Move it; the real time of the move."""
        self.wall = self.wall if wall is None else wall
        self.boot = self.boot if boot is None else boot
        new = self.path.with_suffix(".new")
        new.write_text(f"{self.wall!r} {self.boot!r} {word}\n")
        new.rename(self.path)
        return time.time()

    def now(self) -> datetime:
        """What it shows."""
        return datetime.now(UTC) + timedelta(seconds=self.wall)


@pytest.fixture
def clock(tmp_path: Path) -> HostClock:
    return HostClock(tmp_path / "clock")


def a_fleet(tmp_path: Path, clock: HostClock, **env: str) -> Fleet:
    return Fleet(
        tmp_path, None, "clock", listed=["a"], env={"SCHEDULERD_FAILPOINT_CLOCK": str(clock.path), **env}
    )


def every_second(seen: Path, **policies: str) -> str:
    """A job of each misfire policy that fires each second and notes its runs."""
    return "\n".join(
        f'[job.{name}]\nevery = "1s"\ncommand = "echo $SCHEDULERD_RUN_ID >> {seen}"\n{policy}\n'
        for name, policy in policies.items()
    )


def slots(fleet: Fleet, job: str) -> list[Slot]:
    """All slot rows of a job, oldest first."""
    connection = sqlite3.connect(f"file:{fleet.place}/schedulerd/ledger.db?mode=ro", uri=True, timeout=30)
    try:
        found = connection.execute(
            "SELECT s.first, s.last, s.count, s.reason, runs.id, runs.cause, runs.created_at "
            "FROM slots AS s LEFT JOIN runs ON runs.n = s.run WHERE s.job = ? ORDER BY s.first",
            (job,),
        ).fetchall()
    finally:
        connection.close()
    return [Slot(_at(row[0]), _at(row[1]), *row[2:6], _at(row[6]) if row[6] else None) for row in found]


def _at(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def check_account(fleet: Fleet, job: str) -> list[Slot]:
    """Every second since the first has exactly one row."""
    rows = slots(fleet, job)
    for row in rows:
        assert row.last - row.first == (row.count - 1) * SECOND, row
        assert row.reason in (None, "misfire", "overlap", "too_old"), row
    assert [
        (one.last, other.first) for one, other in pairwise(rows) if other.first - one.last != SECOND
    ] == []
    return rows


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def runs_once(seen: Path) -> bool:
    return max(Counter(lines(seen)).values()) == 1


def test_an_hour_back_fires_nothing_again_and_jobs_go_on_at_the_mark(
    tmp_path: Path, clock: HostClock
) -> None:
    seen = tmp_path / "seen"
    with a_fleet(tmp_path, clock) as fleet:
        fleet.table(every_second(seen, tick=""))
        worker = fleet.start_worker("a")
        scheduler = fleet.start_scheduler()
        assert wait_until(lambda: len(lines(seen)) >= 3, 60)

        clock.set(-HOUR)
        log = fleet.place / "schedulerd.log"
        said = re.compile(r"the wall clock stepped by -3(600|599\.9)")
        assert wait_until(lambda: bool(said.search(log.read_text())), 10)
        assert "schedulerd_clock_jumps_total 1.0" in fleet.metrics()
        rows = slots(fleet, "tick")
        used = cpu_seconds(scheduler.pid), cpu_seconds(worker.pid)
        assert not wait_until(lambda: len(slots(fleet, "tick")) > len(rows), 4)
        assert cpu_seconds(scheduler.pid) - used[0] < 1.5
        assert cpu_seconds(worker.pid) - used[1] < 1.5
        assert fleet.ready_workers() == {"a"}

        mark = rows[-1].last  # nothing later is settled yet
        clock.set((mark - datetime.now(UTC)).total_seconds() - 4)
        assert wait_until(lambda: len(slots(fleet, "tick")) >= len(rows) + 3, 60)
        after = check_account(fleet, "tick")[len(rows) :]
        assert after[0].first == mark + SECOND
        assert all(row.created is not None and row.created >= row.first for row in after if row.run)
        assert any(row.run for row in after)
        assert scheduler.stop() == 0
        assert runs_once(seen)


@pytest.mark.parametrize(
    ("wall", "boot", "said"),
    [
        (HOUR, 0.0, r"the wall clock stepped by \+(3600|3599\.9)"),
        (600.0, 600.0, r"this host was suspended for (600\.|599\.9)"),
    ],
    ids=["hour-forward", "suspend"],
)
def test_a_step_forward_and_a_suspend_meet_the_misfire_policy(
    tmp_path: Path, clock: HostClock, wall: float, boot: float, said: str
) -> None:
    seen = tmp_path / "seen"
    with a_fleet(tmp_path, clock) as fleet:
        fleet.table(
            every_second(
                seen,
                once='misfire = "once"\ncatchup = "2h"',
                all='misfire = "all"\ncatchup = "2h"\ncatchup_max = 5',
                skip='misfire = "skip"',
            )
        )
        fleet.start_worker("a", slots=8)
        scheduler = fleet.start_scheduler()
        assert wait_until(lambda: len(lines(seen)) >= 6, 60)

        moved = datetime.fromtimestamp(clock.set(wall, boot), UTC)
        wanted = {"once": 1, "all": 5, "skip": 0}

        def caught_up(job: str) -> list[Slot]:
            return [row for row in slots(fleet, job) if row.cause == "catchup"]

        assert wait_until(lambda: all(len(caught_up(job)) >= count for job, count in wanted.items()), 30)
        assert wait_until(lambda: slots(fleet, "skip")[-1].last > moved + timedelta(seconds=wall), 30)
        assert re.search(said, (fleet.place / "schedulerd.log").read_text())
        for job, count in wanted.items():
            rows = check_account(fleet, job)
            assert len(caught_up(job)) == count
            gone = sum(row.count for row in rows if row.reason == "misfire")
            assert wall - 25 <= gone + count <= wall, (job, gone, count)
        for row in caught_up("once") + caught_up("all"):
            assert row.created is not None
            late = (row.created - moved).total_seconds() - wall
            assert -0.1 <= late <= NOTICED + BUSY, late
        # later ones are on time again
        newest = slots(fleet, "once")[-1].last
        assert wait_until(
            lambda: any(
                row.run and row.cause == "schedule" and row.first > newest for row in slots(fleet, "once")
            ),
            30,
        )
        assert scheduler.stop() == 0
        assert runs_once(seen)


def readiness(fleet: Fleet) -> dict[str, object]:
    with urllib.request.urlopen(f"{fleet.api}/readyz", timeout=30) as answer:
        return dict(json.load(answer))


def booted(seconds: float) -> float:
    """What to add to the boot-time clock so that this host booted so many seconds ago."""
    return seconds - time.clock_gettime(time.CLOCK_BOOTTIME)


def test_after_a_boot_with_a_wrong_clock_missed_fire_times_wait_for_ntp(
    tmp_path: Path, clock: HostClock
) -> None:
    seen = tmp_path / "seen"
    soon = clock.now() + timedelta(seconds=2 * HOUR + 25)  # on time after the boot, by its wrong clock
    daily = (
        f'[job.daily]\nschedule = "{soon:%S %M %H} * * *"\ncommand = "echo $SCHEDULERD_RUN_ID >> {seen}"\n'
    )
    with a_fleet(tmp_path, clock, SCHEDULERD_CLOCK_SYNC_WAIT_SECONDS="300") as fleet:
        fleet.table(every_second(seen, tick="") + daily)
        worker = fleet.start_worker("a")
        scheduler = fleet.start_scheduler()
        assert wait_until(lambda: len(lines(seen)) >= 2, 60)
        worker.kill()
        scheduler.kill()

        clock.set(2 * HOUR, booted(30), "unsynchronised")
        fleet.table(every_second(seen, tick='description = "changed while down"') + daily)
        before = slots(fleet, "tick")
        fleet.start_worker("a")
        scheduler = fleet.start_scheduler()
        assert any("STATUS=" in said and "not synchronised" in said for said in scheduler.said)
        reasons = str(readiness(fleet)["reasons"])
        assert "the clock is not synchronised yet" in reasons
        assert "the job files are read when it is" in reasons
        fleet.ctl("pause", "tick", "--reason", "too early", code=Exit.UNREACHABLE)
        assert wait_until(lambda: any("daily@" in line for line in lines(seen)), 60)
        assert slots(fleet, "tick") == before

        clock.set(0.0, word="synchronised")  # NTP has answered: the clock was two hours ahead
        assert wait_until(lambda: slots(fleet, "tick")[-1].last > before[-1].last + 3 * SECOND, 30)
        rows = check_account(fleet, "tick")
        assert rows[-1].last <= clock.now()
        assert wait_until(lambda: readiness(fleet)["reasons"] == [], 30)
        assert "changed while down" in fleet.ctl("-o", "json", "show", "tick")
        assert scheduler.stop() == 0
        assert runs_once(seen)


def test_the_wait_for_ntp_has_an_end(tmp_path: Path, clock: HostClock) -> None:
    seen = tmp_path / "seen"
    with a_fleet(tmp_path, clock, SCHEDULERD_CLOCK_SYNC_WAIT_SECONDS="3") as fleet:
        fleet.table(every_second(seen, tick=""))
        scheduler = fleet.start_scheduler()
        assert wait_until(lambda: len(slots(fleet, "tick")) >= 1, 60)
        scheduler.kill()

        clock.set(HOUR, booted(30), "unsynchronised")
        before = slots(fleet, "tick")
        scheduler = fleet.start_scheduler()
        assert wait_until(lambda: slots(fleet, "tick") != before, 30)
        assert "still not synchronised" in (fleet.place / "schedulerd.log").read_text()
        assert wait_until(lambda: readiness(fleet)["reasons"] == [], 30)
        on_time = [row for row in check_account(fleet, "tick")[len(before) :] if row.reason != "misfire"]
        assert len(on_time) >= 3  # what came while it waited was not missed
        assert scheduler.stop() == 0
