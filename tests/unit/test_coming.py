"""Coming fire times with a note wherever the zone's clock jumps, in zones that jump in odd ways."""

from datetime import UTC, datetime, timedelta

import pytest
from support.leading import a_job

from schedulerd.core.coming import coming
from schedulerd.model.job import Cron


def shown(expression: str, timezone: str, begin: str, days: int = 2) -> list[tuple[str, str | None]]:
    after = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    job = a_job(trigger=Cron(expressions=(expression,)), timezone=timezone)
    fires = coming(job, None, after, after + timedelta(days=days), 100)
    return [(f"{fire.local:%m-%d %H:%M %z}", fire.note) for fire in fires if fire.note]


@pytest.mark.parametrize(
    ("expression", "timezone", "begin", "expected"),
    [
        (
            "30 2 * * *",
            "Europe/Prague",
            "2027-03-27",
            [("03-28 03:00 +0200", "clocks go forward: 2027-03-28 02:30:00 does not exist")],
        ),
        (
            "30 2 * * *",
            "Europe/Prague",
            "2027-10-30",
            [("10-31 02:30 +0200", "clocks go back: the first of two 02:30")],
        ),
        (
            "*/30 2 * * *",
            "Europe/Prague",
            "2027-10-30",
            [
                ("10-31 02:00 +0200", "clocks go back: the first of two 02:00"),
                ("10-31 02:30 +0200", "clocks go back: the first of two 02:30"),
                ("10-31 02:00 +0100", "clocks go back: the second of two 02:00"),
                ("10-31 02:30 +0100", "clocks go back: the second of two 02:30"),
            ],
        ),
        ("*/30 2 * * *", "Europe/Prague", "2027-03-27", []),
        (
            "10,20 2 * * *",  # both stand in the half hour that is skipped: one fire time
            "Australia/Lord_Howe",
            "2027-10-02",
            [("10-03 02:30 +1100", "clocks go forward: 2027-10-03 02:10:00 does not exist")],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2027-04-02",
            [("04-04 01:45 +1100", "clocks go back: the first of two 01:45")],
        ),
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03",
            [("11-04 01:00 -0200", "clocks go forward: 2018-11-04 00:00:00 does not exist")],
        ),
        (
            "30 23 * * *",
            "America/Sao_Paulo",
            "2018-02-17",
            [("02-17 23:30 -0200", "clocks go back: the first of two 23:30")],
        ),
        (
            "0 0 * * *",
            "Asia/Beirut",
            "2027-03-27",
            [("03-28 01:00 +0300", "clocks go forward: 2027-03-28 00:00:00 does not exist")],
        ),
        (
            "30 2 * * *",
            "Antarctica/Troll",
            "2027-03-27",
            [("03-28 03:00 +0200", "clocks go forward: 2027-03-28 02:30:00 does not exist")],
        ),
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-28", []),  # a whole day is gone: nothing is made up for
        ("30 2 * * *", "UTC", "2027-03-27", []),
    ],
)
def test_notes_stand_where_the_clock_jumps(
    expression: str, timezone: str, begin: str, expected: list[tuple[str, str]]
) -> None:
    assert shown(expression, timezone, begin) == expected
