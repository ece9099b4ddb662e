"""What the jumps of real zones do to fire times: gaps, folds, and being asked from inside them."""

from datetime import UTC, datetime, timedelta

import pytest

from schedulerd.core.cron import fire_times, parse
from schedulerd.core.search import Fold, instants_between, next_instant
from schedulerd.core.zones import from_seconds, to_seconds, zone


def fires(expression: str, timezone: str, after: str, count: int) -> list[str]:
    """The next fire times as local ISO texts without the year's century: `26-03-29 03:00+02:00`."""
    start = datetime.fromisoformat(after)
    return [
        fire.isoformat(" ")[2:-9] + fire.isoformat()[-6:]
        for fire in fire_times(expression, timezone, start, count)
    ]


@pytest.mark.parametrize(
    ("expression", "timezone", "after", "expected"),
    [
        # Berlin: 02:00 -> 03:00. A fixed time fires once, at the first instant after the gap.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00+01:00",
            ["26-03-28 02:30+01:00", "26-03-29 03:00+02:00", "26-03-30 02:30+02:00"],
        ),
        # several in one gap are one; so is a time that stands there of its own
        (
            "15,45 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00+01:00",
            ["26-03-29 03:00+02:00", "26-03-30 02:15+02:00"],
        ),
        (
            "30 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00+01:00",
            ["26-03-29 03:00+02:00", "26-03-29 03:30+02:00"],
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00+01:00",
            ["26-03-29 03:00+02:00", "26-03-30 02:00+02:00"],
        ),
        # whatever begins with a star follows real time
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00+01:00",
            ["26-03-30 02:00+02:00", "26-03-30 02:30+02:00"],
        ),
        (
            "30 * * * *",
            "Europe/Berlin",
            "2026-03-29T01:00+01:00",
            ["26-03-29 01:30+01:00", "26-03-29 03:30+02:00"],
        ),
        (
            "30 */2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00+01:00",
            ["26-03-29 00:30+01:00", "26-03-29 04:30+02:00"],
        ),
        # six fields: seconds play no part
        (
            "* 30 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00+01:00",
            ["26-03-29 03:00+02:00", "26-03-30 02:30+02:00"],
        ),
        (
            "10 30 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00+01:00",
            ["26-03-29 03:00+02:00", "26-03-30 02:30+02:00"],
        ),
        # the fold 03:00 -> 02:00: fixed the first time only, the others in both passes
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:00+02:00",
            ["26-10-25 02:30+02:00", "26-10-26 02:30+01:00"],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:00+02:00",
            ["26-10-25 02:00+02:00", "26-10-25 02:30+02:00", "26-10-25 02:00+01:00", "26-10-25 02:30+01:00"],
        ),
        # the second pass of a rare one, asked for in the middle of the first
        (
            "*/30 2 25 10 *",
            "Europe/Berlin",
            "2026-10-25T02:40+02:00",
            ["26-10-25 02:00+01:00", "26-10-25 02:30+01:00", "27-10-25 02:00+02:00"],
        ),
        # asked in the middle of the fold it never answers with the past
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10+01:00", ["26-10-26 02:30+01:00"]),
        ("30 2,3 * * *", "Europe/Berlin", "2026-10-25T02:30+01:00", ["26-10-25 03:30+01:00"]),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T02:40+02:00",
            ["26-10-25 02:00+01:00", "26-10-25 02:30+01:00"],
        ),
        # New York, Debian's own country: 02:00 -> 03:00 and back at 02:00
        (
            "5 2 * * *",
            "America/New_York",
            "2026-03-08T00:00-05:00",
            ["26-03-08 03:00-04:00", "26-03-09 02:05-04:00"],
        ),
        (
            "5 1 * * *",
            "America/New_York",
            "2026-11-01T00:00-04:00",
            ["26-11-01 01:05-04:00", "26-11-02 01:05-05:00"],
        ),
        # Lord Howe: half an hour
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-04T00:00+10:30",
            ["26-10-04 02:30+11:00", "26-10-05 02:15+11:00"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-05T00:00+11:00",
            ["26-04-05 01:45+11:00", "26-04-06 01:45+10:30"],
        ),
        (
            "*/15 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-05T01:20+11:00",
            ["26-04-05 01:30+11:00", "26-04-05 01:45+11:00", "26-04-05 01:30+10:30", "26-04-05 01:45+10:30"],
        ),
        # Norfolk, since 2019
        (
            "30 2 * * *",
            "Pacific/Norfolk",
            "2026-10-04T00:00+11:00",
            ["26-10-04 03:00+12:00", "26-10-05 02:30+12:00"],
        ),
        # Dublin: its winter is the exception, the jumps are the same
        (
            "30 1 * * *",
            "Europe/Dublin",
            "2026-03-29T00:00+00:00",
            ["26-03-29 02:00+01:00", "26-03-30 01:30+01:00"],
        ),
        (
            "30 1 * * *",
            "Europe/Dublin",
            "2026-10-25T00:00+01:00",
            ["26-10-25 01:30+01:00", "26-10-26 01:30+00:00"],
        ),
        # Troll: two hours
        (
            "30 1,2 * * *",
            "Antarctica/Troll",
            "2026-03-29T00:00+00:00",
            ["26-03-29 03:00+02:00", "26-03-30 01:30+02:00"],
        ),
        (
            "30 1 * * *",
            "Antarctica/Troll",
            "2026-10-25T00:00+02:00",
            ["26-10-25 01:30+02:00", "26-10-26 01:30+00:00"],
        ),
        # midnight itself is skipped
        (
            "0 0 * * *",
            "Africa/Cairo",
            "2026-04-23T12:00+02:00",
            ["26-04-24 01:00+03:00", "26-04-25 00:00+03:00"],
        ),
        (
            "30 23 * * *",
            "Africa/Cairo",
            "2026-10-29T12:00+03:00",
            ["26-10-29 23:30+03:00", "26-10-30 23:30+02:00"],
        ),
        ("@daily", "Asia/Beirut", "2026-03-28T12:00+02:00", ["26-03-29 01:00+03:00", "26-03-30 00:00+03:00"]),
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T12:00-03:00",
            ["18-11-04 01:00-02:00", "18-11-05 00:00-02:00"],
        ),
        # exactly three hours are still made up for, more is not
        (
            "0 1 * * *",
            "Antarctica/Casey",
            "2020-10-03T12:00+08:00",
            ["20-10-04 03:01+11:00", "20-10-05 01:00+11:00"],
        ),
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T00:00-10:00",
            ["11-12-29 12:00-10:00", "11-12-31 12:00+14:00"],
        ),
        (
            "0 0 * * *",
            "Pacific/Apia",
            "2011-12-29T12:00-10:00",
            ["11-12-31 00:00+14:00", "12-01-01 00:00+14:00"],
        ),
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00-10:00", ["12-12-30 12:00+14:00"]),
        ("0 12 21 8 *", "Pacific/Kwajalein", "1993-08-19T00:00-12:00", ["94-08-21 12:00+12:00"]),
        # before zones had whole minutes
        (
            "0 0 7 1 *",
            "Africa/Monrovia",
            "1972-01-06T00:00+00:00",
            ["72-01-07 00:44+00:00", "73-01-07 00:00+00:00"],
        ),
    ],
)
def test_jumps_of_real_zones(expression: str, timezone: str, after: str, expected: list[str]) -> None:
    assert fires(expression, timezone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        (Fold.FIRST, ["2026-10-25T00:30", "2026-10-26T01:30"]),
        (Fold.LAST, ["2026-10-25T01:30", "2026-10-26T01:30"]),
        (Fold.BOTH, ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-26T01:30"]),
    ],
)
def test_a_fold_policy_chooses_the_pass(fold: Fold, expected: list[str]) -> None:
    at, found = to_seconds(datetime(2026, 10, 24, 12, tzinfo=UTC)), []
    for _ in expected:
        following = next_instant(parse("30 2 * * *"), zone("Europe/Berlin"), at, fold)
        assert following is not None
        at = following[0]
        found.append(from_seconds(at).isoformat()[:16])
    assert found == expected


def test_every_second_of_a_fold_gives_an_answer_after_it() -> None:
    where = zone("Europe/Berlin")
    start = to_seconds(datetime(2026, 10, 24, 23, 55, tzinfo=UTC))
    for expression in ("30 2 * * *", "*/7 * * * *", "0 2,3 * * *"):
        times = parse(expression)
        for at in range(start, start + 3 * 3600, 13):
            following = next_instant(times, where, at)
            assert following is not None
            assert following[0] > at


def test_the_first_second_of_1970_is_a_wall_like_any_other() -> None:
    eve = datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert fire_times("0 1 * * *", "UTC", eve, 1) == [datetime(1970, 1, 1, 1, tzinfo=UTC)]
    assert fire_times("0 0 * * *", "UTC", eve, 1) == [datetime(1970, 1, 1, tzinfo=UTC)]


def test_a_search_without_an_end_is_bounded() -> None:
    # 02:00 on the last Sunday of March never exists in Berlin; a star in the minutes means real time, so never
    times, where = parse("*/60 2 * 3 0#L"), zone("Europe/Berlin")
    assert next_instant(times, where, to_seconds(datetime(2026, 1, 1, tzinfo=UTC))) is None


def test_the_ends_of_the_calendar_give_an_answer() -> None:
    assert fire_times("0 0 1 1 *", "Asia/Tokyo", datetime.max.replace(tzinfo=UTC), 1) == []
    assert fire_times("0 0 1 1 *", "UTC", datetime.min.replace(tzinfo=UTC), 1) == [
        datetime(2, 1, 1, tzinfo=UTC)
    ]


def test_the_answer_is_in_the_zone_and_knows_its_pass() -> None:
    first, second = fire_times("*/60 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC), 2)
    assert (first.utcoffset(), second.utcoffset()) == (timedelta(hours=2), timedelta(hours=1))
    assert (first.fold, second.fold) == (0, 1)


@pytest.mark.parametrize("expression", ["0 2,3 * * *", "30 2,3 * * *", "*/30 2 * * *", "30 2 * * *"])
def test_walking_over_a_gap_in_bulk_gives_each_fire_time_once(expression: str) -> None:
    times, where = parse(expression), zone("Europe/Berlin")
    at = start = to_seconds(datetime(2026, 3, 28, tzinfo=UTC))
    until = start + 3 * 86_400
    singly = []
    while (following := next_instant(times, where, at)) is not None and following[0] <= until:
        singly.append(following)
        at = following[0]
    assert list(instants_between(times, where, start, until)) == singly
