"""What `check` says of schedules that are legal and hardly meant."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.leading import a_job, defined

from schedulerd.core.cron import fire_times
from schedulerd.core.zones import to_seconds, zone
from schedulerd.model.job import Cron, Definition
from schedulerd.offline.check import check_paths
from schedulerd.offline.lint import warnings
from schedulerd.offline.lint_clock import jumps_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PLACE = "jobs.toml:1: schedule: warning: "


def definition(*expressions: str, timezone: str = "UTC", **changes: object) -> Definition:
    return defined(a_job(trigger=Cron(expressions=expressions), timezone=timezone, **changes))


def told(*expressions: str, timezone: str = "UTC", now: datetime = NOW) -> list[str]:
    return [line.removeprefix(PLACE) for line in warnings(definition(*expressions, timezone=timezone), now)]


@pytest.mark.parametrize(
    ("expression", "warning"),
    [
        ("*/60 * * * *", 'minute "*/60" means only 0, its step is wider than 0-59'),
        ("0 */24 * * *", 'hour "*/24" means only 0, its step is wider than 0-23'),
        ("*/7 * * * *", 'minute "*/7" does not come out even: it starts again at 0, 4 after 56 instead of 7'),
        (
            "*/45 * * * * *",
            'second "*/45" does not come out even: it starts again at 0, 15 after 45 instead of 45',
        ),
        ("0 */5 * * *", 'hour "*/5" does not come out even: it starts again at 0, 4 after 20 instead of 5'),
        ("0 0 1 */5 *", 'month "*/5" does not come out even: it starts again at 1, 2 after 11 instead of 5'),
        ("0 0 * * */2", 'weekday "*/2" does not come out even: it starts again at 0, 1 after 6 instead of 2'),
        (
            "0 0 */2 * *",
            'day of month "*/2" does not come out even: it starts again at 1 of each month, whatever day came before',
        ),
        (
            "0 0 13 * FRI",
            'day of month "13" and weekday "FRI" are both given: it fires on days that match either of them',
        ),
        (
            "0 0 1-7 * */7",
            (
                'day of month "1-7" and weekday "*/7" are both given: it fires only on days that match both of'
                " them, since the weekday begins with a star"
            ),
        ),
    ],
)
def test_what_is_hardly_meant_is_told(expression: str, warning: str) -> None:
    assert warning in told(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "*/15 */6 * */3 *",
        "0 0 1 * ?",
        "0 0 ? * MON",
        "5-59/7 * * * *",
        "@weekly",
        "H/15 H * * *",
        "0 0 L * *",
    ],
)
def test_what_is_meant_is_left_alone(expression: str) -> None:
    assert told(expression) == []


@pytest.mark.parametrize(
    ("expression", "timezone", "expected"),
    [
        (
            "30 2 * * *",
            "Europe/Prague",
            [
                "time that Europe/Prague skips on 2027-03-28 and 2028-03-26: 02:30 does not exist, it fires at 03:00",
                "time that Europe/Prague has twice on 2027-10-31 and 2028-10-29: 02:30 comes twice, it fires the first",
            ],
        ),
        (
            "*/20 2 * * *",
            "Europe/Prague",
            [
                "02:00 does not exist, and it does not fire in the gap",
                "02:00 comes twice, and it fires both times",
            ],
        ),
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            ["2027-10-03 and 2028-10-01: 02:15 does not exist, it fires at 02:30"],
        ),
        ("45 1 * * *", "Australia/Lord_Howe", ["2027-04-04 and 2028-04-02: 01:45 comes twice"]),
        ("@daily", "Asia/Beirut", ["2027-03-28 and 2028-03-26: 00:00 does not exist, it fires at 01:00"]),
        ("30 2 * * *", "Antarctica/Troll", ["02:30 does not exist, it fires at 03:00", "02:30 comes twice"]),
        ("30 2 28 3 *", "Europe/Prague", ["skips on 2027-03-28: 02:30 does not exist"]),
        ("30 2 * * 1-5", "Europe/Prague", []),
        ("0 3 * * *", "Europe/Prague", []),
        ("*/5 * * * *", "Europe/Prague", []),
        ("30 2 * * *", "UTC", []),
        ("0 0 * * *", "America/Sao_Paulo", []),  # it has given up changing its clocks
    ],
)
def test_changes_of_clocks_are_told_with_their_dates(
    expression: str, timezone: str, expected: list[str]
) -> None:
    found = told(expression, timezone=timezone)
    assert len(found) == len(expected)
    for text, part in zip(found, expected, strict=True):
        assert part in text


def test_sao_paulo_is_told_when_it_still_changed_its_clocks() -> None:
    found = told("0 0 * * *", timezone="America/Sao_Paulo", now=datetime(2017, 1, 1, tzinfo=UTC))
    assert "skips on 2017-10-15 and 2018-11-04: 00:00 does not exist, it fires at 01:00" in found[0]


@pytest.mark.parametrize(
    "timezone", ["Europe/Prague", "Australia/Lord_Howe", "Antarctica/Troll", "Africa/Cairo"]
)
def test_the_time_told_for_a_gap_is_the_one_it_fires_at(timezone: str) -> None:
    jumps = [jump for jump in jumps_of(zone(timezone), to_seconds(NOW)) if jump.is_gap]
    assert len(jumps) == 2
    for jump in jumps:
        skipped, after = (datetime.fromtimestamp(wall, UTC) for wall in (jump.before, jump.after))
        expression = f"{skipped.minute} {skipped.hour} {skipped.day} {skipped.month} *"
        (text,) = [line for line in told(expression, timezone=timezone) if "does not exist" in line]
        begin = skipped.replace(tzinfo=zone(timezone).info, hour=0, minute=0)
        begin = begin.astimezone(UTC).replace(second=0)
        (fire,) = fire_times(expression, timezone, datetime.fromtimestamp(begin.timestamp() - 1, UTC), 1)
        assert f"it fires at {after:%H:%M}" in text
        assert f"{fire:%H:%M}" == f"{after:%H:%M}"


def test_who_chose_a_policy_is_not_told_again() -> None:
    chosen = definition("30 2 * * *", timezone="Europe/Prague")
    chosen.source["dst_gap"] = "jobs.toml:4"
    assert [line for line in warnings(chosen, NOW) if "does not exist" in line] == []
    assert len(list(warnings(chosen, NOW))) == 1


def test_warnings_do_not_fail_a_check_unless_it_is_strict(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[job.x]\nargv = ['x']\nschedule = '30 2 * * *'\ntimezone = 'Europe/Prague'\n")
    for strict, code, end in ((False, 0, "1 job in 1 file: ok, 2 warnings\n"), (True, 1, ": not accepted\n")):
        out = io.StringIO()
        assert check_paths([file], out, strict=strict, now=NOW) == code
        assert out.getvalue().endswith(end)
        assert f'{file}:3: schedule: warning: "30 2 * * *" falls into' in out.getvalue()
