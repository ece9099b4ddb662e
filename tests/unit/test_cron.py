"""Cron texts: what each form means on a wall without jumps, and what is refused, where and with which hint."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from schedulerd.core.cron import CronError, fire_times, parse, parse_every
from schedulerd.core.stable import stable_hash

# Frozen: another value here moves the fire times of every `H` and the anchors of every new `every`.
HASH_OF_BACKUP_MINUTE = 5507022600398530714
HASHED_DAILY = [(8, 34), (7, 31), (11, 38)]


def fires(expression: str, after: str, count: int = 4) -> list[str]:
    """The next fire times in UTC, as `11-23 02:00` (with the year where it changes, with seconds where there are)."""
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    return [
        fire.strftime(
            ("" if fire.year == start.year else "%Y-") + "%m-%d %H:%M" + (":%S" if fire.second else "")
        )
        for fire in fire_times(expression, "UTC", start, count)
    ]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # plain fields
        ("* * * * *", "2026-11-23T02:00", ["11-23 02:01", "11-23 02:02"]),
        ("5,10,5 3 * * *", "2026-11-23T00:00", ["11-23 03:05", "11-23 03:10", "11-24 03:05"]),
        ("10-12 3 * * *", "2026-11-23T00:00", ["11-23 03:10", "11-23 03:11", "11-23 03:12", "11-24 03:10"]),
        ("5-5 3 * * *", "2026-11-23T00:00", ["11-23 03:05", "11-24 03:05"]),
        ("\t0  3 * * * ", "2026-11-23T00:00", ["11-23 03:00"]),
        ("007 03 * * *", "2026-11-23T00:00", ["11-23 03:07"]),
        # steps: from N to the maximum; wider than the range: the first value only
        ("5/15 3 * * *", "2026-11-23T00:00", ["11-23 03:05", "11-23 03:20", "11-23 03:35", "11-23 03:50"]),
        ("59/15 3 * * *", "2026-11-23T00:00", ["11-23 03:59", "11-24 03:59"]),
        ("*/60 * * * *", "2026-11-23T00:00", ["11-23 01:00", "11-23 02:00"]),
        ("10-20/30 3 * * *", "2026-11-23T00:00", ["11-23 03:10", "11-24 03:10"]),
        ("*/25 3 * * *", "2026-11-23T00:00", ["11-23 03:00", "11-23 03:25", "11-23 03:50", "11-24 03:00"]),
        ("0 0 * * 5/1", "2026-11-23T00:00", ["11-27 00:00", "11-28 00:00", "11-29 00:00", "12-04 00:00"]),
        # names, weekdays
        ("0 0 1 jan,JUL *", "2026-11-23T00:00", ["2027-01-01 00:00", "2027-07-01 00:00"]),
        ("0 0 * * Mon-wed", "2026-11-22T00:00", ["11-23 00:00", "11-24 00:00", "11-25 00:00", "11-30 00:00"]),
        ("0 0 * * SUN", "2026-11-23T00:00", ["11-29 00:00", "12-06 00:00"]),
        ("0 0 * * 0", "2026-11-23T00:00", ["11-29 00:00", "12-06 00:00"]),
        ("0 0 * * 7", "2026-11-23T00:00", ["11-29 00:00", "12-06 00:00"]),
        ("0 0 * * 6-7", "2026-11-23T00:00", ["11-28 00:00", "11-29 00:00", "12-05 00:00"]),
        ("0 0 * * 5-7", "2026-11-23T00:00", ["11-27 00:00", "11-28 00:00", "11-29 00:00", "12-04 00:00"]),
        # six fields: seconds first
        ("30 0 3 * * *", "2026-11-23T00:00", ["11-23 03:00:30", "11-24 03:00:30"]),
        ("*/20 * * * * *", "2026-11-23T23:59", ["11-23 23:59:20", "11-23 23:59:40", "11-24 00:00"]),
        # day of month and weekday: either, unless one begins with a star
        ("0 0 13 * 5", "2026-11-01T00:00", ["11-06 00:00", "11-13 00:00", "11-20 00:00", "11-27 00:00"]),
        ("0 0 1,15 * 1", "2026-11-23T00:00", ["11-30 00:00", "12-01 00:00", "12-07 00:00", "12-14 00:00"]),
        ("0 0 */2 * 1", "2026-11-01T00:00", ["11-09 00:00", "11-23 00:00", "12-07 00:00", "12-21 00:00"]),
        ("0 0 13 * */5", "2026-11-01T00:00", ["11-13 00:00", "12-13 00:00", "2027-06-13 00:00"]),
        ("0 0 *,13 * 5", "2026-11-23T00:00", ["11-27 00:00", "12-04 00:00"]),
        ("0 0 ? * 5", "2026-11-23T00:00", ["11-27 00:00", "12-04 00:00"]),
        ("0 0 13 * ?", "2026-11-23T00:00", ["12-13 00:00", "2027-01-13 00:00"]),
        ("0 0 31 2 1", "2026-11-23T00:00", ["2027-02-01 00:00", "2027-02-08 00:00"]),
        # days that months do not have
        ("0 0 31 * *", "2026-11-23T00:00", ["12-31 00:00", "2027-01-31 00:00", "2027-03-31 00:00"]),
        ("0 0 29 2 *", "2026-11-23T00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 29 2 *", "2096-03-01T00:00", ["2104-02-29 00:00"]),
        ("0 0 29 2 */7", "2088-03-01T00:00", ["2128-02-29 00:00"]),
        # L and W
        (
            "0 0 L * *",
            "2026-11-23T00:00",
            ["11-30 00:00", "12-31 00:00", "2027-01-31 00:00", "2027-02-28 00:00"],
        ),
        ("0 0 L-3 2 *", "2026-11-23T00:00", ["2027-02-25 00:00", "2028-02-26 00:00"]),
        ("0 0 LW * *", "2027-01-01T00:00", ["01-29 00:00", "02-26 00:00", "03-31 00:00", "04-30 00:00"]),
        ("0 0 15W * *", "2026-08-01T00:00", ["08-14 00:00", "09-15 00:00", "10-15 00:00", "11-16 00:00"]),
        ("0 0 1W * *", "2026-08-01T00:00", ["08-03 00:00", "09-01 00:00", "10-01 00:00", "11-02 00:00"]),
        (
            "0 0 31W * *",
            "2026-08-01T00:00",
            ["08-31 00:00", "10-30 00:00", "12-31 00:00", "2027-01-29 00:00"],
        ),
        ("0 0 L-5W * *", "2026-11-01T00:00", ["11-25 00:00", "12-25 00:00", "2027-01-26 00:00"]),
        ("0 0 1,15w,l * *", "2026-11-01T00:00", ["11-16 00:00", "11-30 00:00", "12-01 00:00", "12-15 00:00"]),
        # weekdays of the month
        ("0 0 * * 5L", "2026-11-01T00:00", ["11-27 00:00", "12-25 00:00"]),
        ("0 0 * * L5", "2026-11-01T00:00", ["11-27 00:00", "12-25 00:00"]),
        ("0 0 * * FRIL", "2026-11-01T00:00", ["11-27 00:00", "12-25 00:00"]),
        ("0 0 * * 5#L", "2026-11-01T00:00", ["11-27 00:00", "12-25 00:00"]),
        ("0 0 * * fri#3", "2026-11-01T00:00", ["11-20 00:00", "12-18 00:00"]),
        ("0 0 * * 7#1", "2026-11-01T00:00", ["12-06 00:00", "2027-01-03 00:00"]),
        ("0 0 * * 1#5", "2026-11-01T00:00", ["11-30 00:00", "2027-03-29 00:00", "2027-05-31 00:00"]),
        ("0 0 * * 1#1,5L", "2026-11-01T00:00", ["11-02 00:00", "11-27 00:00", "12-07 00:00"]),
        ("0 0 10 * 5#3", "2026-11-01T00:00", ["11-10 00:00", "11-20 00:00", "12-10 00:00"]),
        # macros
        ("@yearly", "2026-11-23T00:00", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("@Annually", "2026-11-23T00:00", ["2027-01-01 00:00"]),
        ("@monthly", "2026-11-23T00:00", ["12-01 00:00", "2027-01-01 00:00"]),
        ("@weekly", "2026-11-23T00:00", ["11-29 00:00", "12-06 00:00"]),
        ("@DAILY", "2026-11-23T00:00", ["11-24 00:00", "11-25 00:00"]),
        ("@midnight", "2026-11-23T00:00", ["11-24 00:00"]),
        ("@hourly", "2026-11-23T00:00", ["11-23 01:00", "11-23 02:00"]),
        ("@every 90s", "2026-11-23T00:00:10", ["11-23 00:01:40", "11-23 00:03:10"]),
    ],
)
def test_an_expression_fires_when_its_text_says(expression: str, after: str, expected: list[str]) -> None:
    assert fires(expression, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "offset", "words"),
    [
        ("61 * * * *", 0, 'minute "61" is not in 0-59'),
        ("* 24 * * *", 2, 'hour "24" is not in 0-23'),
        ("* * 0 * *", 4, "1-31"),
        ("* * 32 * *", 4, "1-31"),
        ("* * * 13 *", 6, "1-12"),
        ("* * * * 8", 8, "0-7"),
        ("60 * * * * *", 0, "second"),
        ("0 9-24 * * *", 4, '"24" is not in 0-23'),
        ("9,,19 * * * *", 2, "empty place"),
        (",9 * * * *", 0, "empty place"),
        ("9, * * * *", 2, "empty place"),
        ("/15 * * * *", 0, 'write "*/15"'),
        ("*/0 * * * *", 2, "step of 0"),
        ("*/ * * * *", 0, "not understood"),
        ("*/5/5 * * * *", 0, "not understood"),
        ("1-2-3 * * * *", 0, "not understood"),
        ("1- * * * *", 0, "not understood"),
        ("-1 * * * *", 0, "negative"),
        ("** * * * *", 0, "not understood"),
        ("1.5 * * * *", 0, "not understood"),
        ("٣ * * * *", 0, "ASCII"),
        ("* * * * friday", 8, 'write "FRI"'),
        ("* * * january *", 6, 'write "JAN"'),
        ("* * * * FOO", 8, "names are"),
        ("0 22-2 * * *", 2, 'write "22-23,0-2"'),
        ("0 22-2/2 * * *", 2, 'write "22,0,2"'),
        ("0 0 * * FRI-MON", 8, 'write "5-6,0-1"'),
        ("0 0 * * SAT-SUN", 8, 'write "6,0"'),
        ("0 0 * NOV-FEB *", 6, 'write "11-12,1-2"'),
        ("0 0 31 2 *", 4, "never comes"),
        ("0 0 30-31 2 *", 4, "never comes"),
        ("0 0 31 4,6,9,11 *", 4, "never comes"),
        ("0 0 31W 4 *", 4, "never comes"),
        ("0 0 L-29 2 *", 4, "never comes"),
        ("0 0 */31 2 5#5", 4, "never comes"),
        ("? * * * *", 0, "day of month and weekday only"),
        ("* * * ? *", 6, "day of month and weekday only"),
        ("0 0 10-15W * *", 4, "not the range"),
        ("0 0 W * *", 4, "no day for W"),
        ("0 0 32W * *", 4, "1-31"),
        ("0 0 L-0 * *", 6, "1-30"),
        ("0 0 L-31 * *", 6, "1-30"),
        ("0 0 * * L", 8, "bare L"),
        ("0 0 * * 1-5#2", 8, "not the range"),
        ("0 0 * * 5#0", 10, "#1-#5"),
        ("0 0 * * 5#6", 10, "#1-#5"),
        ("0 0 * * 8#1", 8, "0-7"),
        ("0 0 * * 5W", 8, "day of month"),
        ("L * * * *", 0, "belong into day of month and weekday"),
        ("H/0 * * * *", 2, "step of 0"),
        ("H(10-5) * * * *", 0, 'write "H(5-10)"'),
        ("H(0-60) * * * *", 4, "0-59"),
        ("TZ=Europe/Berlin 0 3 * * *", 0, 'set timezone = "Europe/Berlin"'),
        ("CRON_TZ=UTC 0 3 * * *", 0, 'set timezone = "UTC"'),
        ("", 0, "empty expression"),
        ("   ", 0, "empty expression"),
        ("* * * *", 7, "4 fields"),
        ("0 0 * * * * 2026", 12, "no year field"),
        ("* * * * * * * *", 12, "8 fields"),
        ("@montly", 0, 'write "@monthly"'),
        ("@reboot", 0, "boot"),
        ("@daily 5", 0, "not a macro"),
        ("@every", 6, "one duration"),
        ("@every 5", 7, "no duration"),
        ("@every 0s", 7, "not between"),
        ("@every 1h 30m", 10, "one duration"),
    ],
)
def test_a_refusal_names_the_place_and_what_to_write(expression: str, offset: int, words: str) -> None:
    with pytest.raises(CronError) as refused:
        fire_times(expression, "UTC", datetime(2026, 1, 1, tzinfo=UTC), 1)
    assert (refused.value.offset, words in str(refused.value)) == (offset, True), str(refused.value)
    assert isinstance(refused.value, ValueError)


def test_a_refusal_reads_as_one_sentence_with_place_and_hint() -> None:
    with pytest.raises(CronError) as refused:
        parse("0 22-2 * * *")
    assert str(refused.value) == (
        'hour: the range "22-2" runs backwards (character 3 of "0 22-2 * * *"); write "22-23,0-2"'
    )
    assert refused.value.hint == 'write "22-23,0-2"'


def test_overlong_and_huge_texts_are_refused_at_once() -> None:
    for text in ("1," * 5000 + "1 * * * *", "9" * 1900 + " * * * *", "@every " + "9" * 5000 + "s"):
        with pytest.raises(CronError):
            fire_times(text, "UTC", datetime(2026, 1, 1, tzinfo=UTC), 1)


def test_the_hash_is_frozen() -> None:
    assert stable_hash("backup", "minute") == HASH_OF_BACKUP_MINUTE
    assert [fires_of("H H * * *", name) for name in ("backup", "report", "")] == HASHED_DAILY


def test_hash_forms_stay_in_their_range_and_spread() -> None:
    minutes = {minute_values(parse("H(0-29) * * * *", f"job-{n}").minutes)[0] for n in range(400)}
    assert minutes == set(range(30))
    for name in ("a", "b", "c"):
        quarter = minute_values(parse("H/15 * * * *", name).minutes)
        assert len(quarter) == 4
        assert {later - sooner for sooner, later in itertools.pairwise(quarter)} == {15}
        ranged = minute_values(parse("H(10-29)/10 * * * *", name).minutes)
        assert len(ranged) == 2
        assert 10 <= ranged[0] < 20 <= ranged[1] < 30
        assert len(minute_values(parse("h/90 * * * *", name).minutes)) == 1
    # a bare H as day of month fires in every month
    assert all(len(fires_in_2027(f"day-{n}")) == 12 for n in range(40))


def test_equal_texts_are_parsed_once_and_hashed_ones_once_a_name() -> None:
    assert parse("0 3 * * THU", "a") is parse("0 3 * * THU", "b")
    assert parse("H 3 * * *", "a") is parse("H 3 * * *", "a")
    assert parse("H 3 * * *", "a") is not parse("H 3 * * *", "b")


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("@every 90s", timedelta(seconds=90)),
        ("@EVERY 1h30m", timedelta(minutes=90)),
        ("@every 2d", timedelta(days=2)),
        ("@every 1.5h", timedelta(minutes=90)),
        ("@every 1500ms", timedelta(milliseconds=1500)),
        ("@daily", None),
        ("* * * * *", None),
    ],
)
def test_every_texts_give_their_period(text: str, period: timedelta | None) -> None:
    assert parse_every(text) == period


def test_a_naive_start_and_an_unknown_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        fire_times("* * * * *", "UTC", datetime(2026, 1, 1), 1)  # noqa: DTZ001 - the fault under test
    with pytest.raises(ValueError, match="did you mean Europe/Berlin"):
        fire_times("* * * * *", "Europe/Berln", datetime(2026, 1, 1, tzinfo=UTC), 1)


def test_a_fraction_of_a_second_after_a_match_is_after_it() -> None:
    on_it = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
    before = on_it - timedelta(microseconds=1)
    assert fire_times("0 3 * * *", "UTC", before, 1) == [on_it]
    assert fire_times("0 3 * * *", "UTC", on_it, 1) == [on_it + timedelta(days=1)]
    assert fire_times("0 3 * * *", "UTC", on_it + timedelta(microseconds=1), 1) == [on_it + timedelta(days=1)]


def minute_values(mask: int) -> list[int]:
    return [minute for minute in range(60) if mask >> minute & 1]


def fires_of(expression: str, name: str) -> tuple[int, int]:
    times = parse(expression, name)
    return minute_values(times.hours)[0], minute_values(times.minutes)[0]


def fires_in_2027(name: str) -> list[int]:
    times = parse("0 0 H * *", name)
    wall = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    found = []
    while (match := times.next_wall(wall)) is not None and match < wall + 366 * 86_400 and len(found) < 12:
        found.append(match)
        wall = match + 1
    return found
