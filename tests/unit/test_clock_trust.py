"""When a clock is believed, and the failpoint with which tests move it."""

from pathlib import Path

import pytest

from schedulerd.daemon import clock_trust
from schedulerd.daemon.clock_trust import LONG_UP, ClockTrust
from schedulerd.hostkit import clock, clock_failpoint
from schedulerd.hostkit.clock_failpoint import MovedClock
from schedulerd.hostkit.clock_sync import is_synchronised


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that moves this process's clocks."""
    path = tmp_path / "clock"
    monkeypatch.setattr(clock, "moved", MovedClock(path))
    return path


def write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def booted_ago(seconds: float) -> str:
    return f"0 {seconds - clock.boot_seconds()}"


def test_the_file_moves_every_reading_and_its_absence_none(moved: Path) -> None:
    real, boot = clock.utc_now(), clock.boot_seconds()
    write(moved, "-3600 600")
    assert -3600.1 < (clock.utc_now() - real).total_seconds() < -3500
    assert -3600.1 < clock.utc_ms() / 1000 - real.timestamp() < -3500
    assert 599.9 < clock.boot_seconds() - boot < 700
    assert 599.9 < clock.boot_ms() / 1000 - boot < 700
    write(moved, "7200 0 unsynchronised")
    assert 7199.9 < (clock.utc_now() - real).total_seconds() < 7300
    assert is_synchronised() is False
    write(moved, "0 0 synchronised")
    assert is_synchronised() is True
    moved.unlink()
    assert abs((clock.utc_now() - real).total_seconds()) < 100


def test_without_the_variable_there_is_no_failpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(clock_failpoint.VARIABLE, raising=False)
    assert clock_failpoint.from_environment() is None
    monkeypatch.setenv(clock_failpoint.VARIABLE, str(tmp_path / "clock"))
    found = clock_failpoint.from_environment()
    assert found is not None
    assert found.wall == 0


def test_the_kernel_gives_an_answer_that_can_be_used() -> None:
    assert is_synchronised() in (True, False, None)


@pytest.mark.parametrize(
    ("uptime", "wait", "said", "is_given"),
    [
        (30.0, 30.0, False, False),
        (30.0, 30.0, True, True),
        (30.0, 30.0, None, True),
        (30.0, 0.0, False, True),
        (LONG_UP + 1, 30.0, False, True),
    ],
    ids=["in-doubt", "synchronised", "nobody-says", "switched-off", "up-for-long"],
)
def test_a_clock_is_in_doubt_only_soon_after_a_boot_and_by_the_kernels_word(
    moved: Path, uptime: float, wait: float, said: bool | None, is_given: bool
) -> None:
    write(moved, booted_ago(uptime))
    trust = ClockTrust(wait, lambda: said)
    assert trust.is_given is is_given
    assert bool(trust.words()) is not is_given


def test_doubt_ends_with_the_kernels_word_or_with_the_wait(moved: Path) -> None:
    write(moved, booted_ago(30))
    words = [False, False, True]
    trust = ClockTrust(30, lambda: words.pop(0))
    assert not trust.look()
    assert trust.look()
    assert trust.wait(0)
    bounded = ClockTrust(5, lambda: False)
    assert not bounded.look()
    assert "at most 5 s more" in bounded.words() or "at most 4 s more" in bounded.words()
    write(moved, booted_ago(36))
    assert bounded.look()
    assert bounded.words() == ""
    assert clock_trust.LONG_UP == 600
