"""schedulerctl's small parts: words for times, text without escapes, columns, addresses."""

from datetime import UTC, datetime

import click
import pytest

from schedulerd.adapters.jobfiles import parse_job
from schedulerd.api.views.texts import read_time
from schedulerd.ctl import times
from schedulerd.ctl.client import Client, path_of
from schedulerd.ctl.exits import Exit, Failure, printable
from schedulerd.ctl.tables import Column, plain
from schedulerd.model.job import At

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def test_a_leap_second_counts_as_the_one_before_it() -> None:
    written = times.Instant().convert("2016-12-31T23:59:60Z", None, None)
    assert written == "2016-12-31T23:59:59Z"
    assert read_time("2017-01-01T05:29:60.5+05:30", "from") == datetime(
        2016, 12, 31, 23, 59, 59, 500_000, UTC
    )
    job = parse_job("backup", {"argv": ["true"], "at": ["2016-12-31T23:59:60Z"]}).job
    assert job.trigger == At(instants=(datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),))
    with pytest.raises(click.UsageError):
        times.Instant().convert("2016-12-31T23:59:61Z", None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("300ms", 0.3),
        ("1w", 604_800),
        ("5", 0),
        ("5x", 0),
        ("", 0),
    ],
)
def test_durations_are_read_with_units_only(text: str, seconds: float) -> None:
    assert times.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.35, "350ms"),
        (4.21, "4.2s"),
        (59.4, "59s"),
        (185, "3m05s"),
        (7800, "2h10m"),
        (273_600, "3d4h"),
    ],
)
def test_durations_are_told_in_two_units(seconds: float, text: str) -> None:
    assert times.brief(seconds) == text


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("2026-11-23T02:05:00Z", "in 5m00s"),
        ("2026-11-23T01:00:00Z", "1h00m ago"),
        ("2026-11-23T02:00:00.4Z", "now"),
        (None, ""),
    ],
)
def test_times_are_told_from_now(time: str | None, text: str) -> None:
    assert times.ago(time, NOW) == text


def test_times_are_shown_in_the_zone_asked_for() -> None:
    assert times.shown("2026-11-23T02:00:00.123Z", UTC) == "2026-11-23 02:00:00"
    assert times.shown(None, UTC) == "-"


@pytest.mark.parametrize("text", ["yesterday", "25:00", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time"):
        times.Instant().convert(text, None, None)


def test_instants_are_sent_in_utc() -> None:
    assert times.Instant().convert("2026-11-23T03:00:00+01:00", None, None) == "2026-11-23T02:00:00Z"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü ✓", "plain äöü ✓"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mc1\x9b0m", "c1"),
        ("\x1bPdevice\x1b\\after", "after"),
        ("\x1bcreset", "reset"),
        ("bell\x07 back\x08 nul\x00", "bell back nul"),
        ("a\tb\nc\rd", "a    b cd"),
        ("torn \x1b[", "torn "),
        ("torn \x1b]0;never ended", "torn "),
        ("override \u202edesrever", "override desrever"),
    ],
)
def test_nothing_that_steers_a_terminal_is_left(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_columns_are_even_and_lines_end_clean() -> None:
    columns = (Column("NAME"), Column("N", is_number=True), Column("WHY"))
    assert plain(columns, [["a", "1", ""], ["long", "100", "x"]]) == (
        "NAME    N  WHY\na       1\nlong  100  x\n"
    )


@pytest.mark.parametrize("address", ["ftp://x", "http://", "http://x:99999", "http://x/path", ""])
def test_addresses_that_are_none_are_usage_errors(address: str) -> None:
    with pytest.raises(Failure) as caught:
        Client(address).get("/version")
    assert caught.value.code is Exit.USAGE


def test_names_are_quoted_in_paths() -> None:
    assert path_of("jobs", "a/b?c", "pause") == "/v1/jobs/a%2Fb%3Fc/pause"
    assert path_of("runs", "backup@20261123T020000Z") == "/v1/runs/backup@20261123T020000Z"
