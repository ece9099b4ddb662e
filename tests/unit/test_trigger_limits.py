"""Windows, jitter, the clock's jumps and counting from ends: what they make of a trigger's instants."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from schedulerd.adapters.jobfiles import DocumentError, parse_job
from schedulerd.core.coming import coming
from schedulerd.core.misfire import due
from schedulerd.core.trigger import FireTime, fires_between, first_anchor, next_fire
from schedulerd.model.job import Every, Job
from schedulerd.model.run import SkipReason

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def a_job(**keys: object) -> Job:
    return parse_job("backup", {"argv": ["true"], **keys}).job


def texts(job: Job, after: datetime, until: datetime, anchor: datetime | None = None) -> list[str]:
    return [f"{fire.instant:%dT%H:%M:%S}" for fire in fires_between(job, anchor, after, until)]


def test_there_are_no_fire_times_outside_the_window_and_both_ends_are_inside() -> None:
    job = a_job(schedule="0 * * * *", start="2026-11-23T14:00:00Z", end="2026-11-23T16:00:00Z")
    assert texts(job, NOON, NOON + timedelta(days=1)) == ["23T14:00:00", "23T15:00:00", "23T16:00:00"]
    assert next_fire(job, None, NOON + 4 * 60 * MINUTE) is None


def test_the_window_holds_for_periods_and_one_offs_too() -> None:
    every = a_job(every="1h", start="2026-11-23T14:30:00Z", end="2026-11-23T16:30:00Z")
    assert texts(every, NOON, NOON + timedelta(days=1), NOON) == ["23T15:00:00", "23T16:00:00"]
    at = a_job(
        at=["2026-11-23T13:00:00Z", "2026-11-23T15:00:00Z", "2026-11-23T17:00:00Z"],
        start="2026-11-23T14:30:00Z",
        end="2026-11-23T16:30:00Z",
    )
    assert texts(at, NOON, NOON + timedelta(days=1)) == ["23T15:00:00"]


def test_naive_ends_of_the_window_are_read_in_the_jobs_zone() -> None:
    job = a_job(
        every="1h", timezone="Europe/Prague", start="2026-07-01T00:00:00", anchor="2026-01-01T00:00:00"
    )
    assert job.start == datetime(2026, 6, 30, 22, tzinfo=UTC)
    assert job.trigger == Every(period=timedelta(hours=1), anchor=datetime(2025, 12, 31, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "/end: lies before start"),
        ({"start": "2026-01-02"}, '/start: "2026-01-02" is not understood'),
        ({"max_runs": 0}, "/max_runs: 0 is out of range, expected at least 1"),
        ({"anchor": "2026-01-02T00:00:00Z"}, "/anchor: stands without every"),
        ({"schedule": "@daily", "every_from": "end"}, "/every_from: stands without every"),
        ({"dst_fold": "second"}, '/dst_fold: "second" is unknown'),
        ({"jitter": 30}, "/jitter: 30 is an integer, expected a duration"),
        ({"schedule": ["@reboot", "@every 5m"]}, '/schedule/1: "@every 5m" stands beside other schedules'),
    ],
)
def test_what_cannot_be_meant_is_refused(keys: dict[str, object], fault: str) -> None:
    with pytest.raises(DocumentError) as error:
        a_job(**keys)
    assert error.value.faults[0].startswith(fault)


def test_a_gap_is_a_run_after_it_or_a_skip() -> None:
    before, after_gap = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)
    keys = {"schedule": "30 2 * * *", "timezone": "Europe/Berlin"}
    assert next_fire(a_job(**keys), None, before) == FireTime(after_gap, "2026-03-29T02:30:00")
    skip = FireTime(after_gap, "2026-03-29T02:30:00", SkipReason.GAP)
    assert next_fire(a_job(dst_gap="skip", **keys), None, before) == skip
    own = a_job(dst_gap="skip", schedule="0 2,3 * * *", timezone="Europe/Berlin")
    assert next_fire(own, None, before) == FireTime(after_gap)  # a match of its own


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        ("first", ["25T00:30:00"]),
        ("last", ["25T01:30:00"]),
        ("both", ["25T00:30:00", "25T01:30:00"]),
    ],
)
def test_a_wall_time_that_comes_twice_fires_as_dst_fold_says(fold: str, expected: list[str]) -> None:
    job = a_job(schedule="30 2 * * *", timezone="Europe/Berlin", dst_fold=fold)
    day = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert texts(job, day, day + timedelta(days=1)) == expected
    first = next_fire(job, None, day)
    assert first is not None
    assert f"{first.instant:%dT%H:%M:%S}" == expected[0]


def test_jitter_delays_the_start_and_keeps_the_fire_time() -> None:
    plain, late = a_job(schedule="0 * * * *"), a_job(schedule="0 * * * *", jitter="30m")
    until = NOON + timedelta(days=4)
    fires = list(fires_between(late, None, NOON, until))
    assert [fire.instant for fire in fires] == [
        fire.instant for fire in fires_between(plain, None, NOON, until)
    ]
    assert all(timedelta() <= fire.delay < 30 * MINUTE for fire in fires)
    assert len({fire.delay for fire in fires}) > 80
    # frozen: another leader, and another release, must draw the same
    assert [fire.delay for fire in fires[:2]] == [
        timedelta(seconds=1169, milliseconds=676),
        timedelta(seconds=818, milliseconds=460),
    ]


def test_jitter_never_reaches_the_next_fire_time() -> None:
    job = a_job(schedule=["0 12 * * *", "*/1 13 * * *"], jitter="3h")
    fires = list(fires_between(job, None, NOON - MINUTE, NOON + timedelta(days=2)))
    assert all(fire.due < following.instant for fire, following in pairwise(fires))


def test_a_fire_time_that_waits_for_its_jitter_is_not_settled_yet() -> None:
    job = a_job(schedule="0 * * * *", jitter="30m", misfire="skip")
    fire = next_fire(job, None, NOON)
    assert fire is not None
    assert fire.delay > MINUTE
    waiting = due(job, None, NOON, fire.due - MINUTE, is_paused=False)
    assert (waiting.on_time, waiting.skips, waiting.next) == ((), (), fire)
    assert waiting.mark < fire.instant
    ready = due(job, None, waiting.mark, fire.due + timedelta(seconds=1), is_paused=False)
    assert ready.on_time == (fire,)
    late = due(job, None, waiting.mark, fire.due + timedelta(seconds=11), is_paused=False)
    assert [skip.reason for skip in late.skips] == ["misfire"]


def test_skips_of_a_calendar_keep_the_ranges_of_others_apart() -> None:
    job = a_job(
        schedule="0 * * * *",
        misfire="all",
        catchup="10h",
        catchup_max=2,
        not_calendar={"times": "2026-11-23T14:00:00Z/2026-11-23T15:30:00Z"},
    )
    result = due(job, None, NOON, NOON + timedelta(hours=7, minutes=30), is_paused=False)
    assert [(f"{skip.first:%H}-{skip.last:%H}", skip.count, skip.reason) for skip in result.skips] == [
        ("13-13", 1, "misfire"),
        ("14-15", 2, "calendar"),
        ("16-17", 2, "misfire"),
    ]
    assert [f"{fire.instant:%H}" for fire in result.catchup] == ["18", "19"]


def test_an_anchor_of_its_own_is_kept_and_k_begins_at_one() -> None:
    job = a_job(every="1h", anchor="2026-11-23T13:10:00Z")
    anchor = first_anchor(job, NOON)
    assert texts(job, NOON, NOON + timedelta(hours=4), anchor) == ["23T14:10:00", "23T15:10:00"]


def test_counting_from_ends_there_is_one_fire_time_at_a_time() -> None:
    job = a_job(every="1h", every_from="end", anchor="2026-11-01T00:10:00Z")
    anchor = first_anchor(job, NOON)
    assert anchor == datetime(2026, 11, 23, 11, 10, tzinfo=UTC)
    assert texts(job, NOON, NOON + timedelta(days=4), anchor) == ["23T12:10:00"]


def test_next_tells_what_jitter_gaps_and_calendars_do() -> None:
    job = a_job(
        schedule="30 2 * * *",
        timezone="Europe/Berlin",
        dst_gap="skip",
        not_calendar={"name": "holidays", "dates": "2026-03-30"},
        max_runs=5,
    )
    fires = coming(job, None, datetime(2026, 3, 28, tzinfo=UTC), None, 10, runs=3)
    assert [(f"{fire.local:%m-%d}", fire.note) for fire in fires] == [
        ("03-28", None),
        ("03-31", "from 2026-03-29 03:00 on skipped: the clock jumps over 2026-03-29 02:30:00"),
    ]
    (only,) = coming(job, None, datetime(2026, 3, 29, 12, tzinfo=UTC), None, 1)
    assert only.note == "from 2026-03-30 02:30 on skipped: in not_calendar holidays"
    late = a_job(schedule="0 3 * * *", jitter="30m")
    (only,) = coming(late, None, NOON, None, 1)
    assert only.note is not None
    assert only.note.startswith("jitter: starts at 03:")
