"""The next fire time of every kind of trigger."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from schedulerd.core.trigger import FireTime, default_anchor, fires_between, first_mark, next_fire
from schedulerd.model.job import Argv, At, Cron, Every, Job, Manual, Trigger

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANCHOR_OF_BACKUP = timedelta(seconds=34)


def job(trigger: Trigger, *, name: str = "backup", timezone: str = "UTC") -> Job:
    return Job(name=name, trigger=trigger, work=Argv(argv=("true",)), timezone=timezone)


def cron(*expressions: str, name: str = "backup", timezone: str = "UTC") -> Job:
    return job(Cron(expressions=expressions), name=name, timezone=timezone)


def next_ones(
    of: Job, count: int, *, anchor: datetime | None = None, after: datetime = NOON
) -> list[datetime]:
    found = []
    for _ in range(count):
        fire = next_fire(of, anchor, after)
        assert fire is not None
        after = fire.instant
        found.append(after)
    return found


def test_a_list_of_expressions_fires_when_any_does_and_once_at_the_same_instant() -> None:
    both = cron("0 13 * * *", "*/30 13 * * *")
    assert next_ones(both, 3) == [
        NOON + timedelta(hours=1),
        NOON + timedelta(hours=1, minutes=30),
        NOON + timedelta(days=1, hours=1),
    ]


def test_fire_times_are_utc_whatever_the_question_was_asked_in() -> None:
    asked = NOON.astimezone(timezone(timedelta(hours=-7)))
    fire = next_fire(cron("0 14 * * *", timezone="Europe/Prague"), None, asked)
    assert fire == FireTime(NOON + timedelta(hours=1))
    assert fire.instant.tzinfo is UTC


def test_a_wall_time_in_a_gap_is_kept_as_nominal() -> None:
    before = datetime(2026, 3, 29, tzinfo=UTC)
    after_gap = datetime(2026, 3, 29, 1, tzinfo=UTC)
    moved = next_fire(cron("15,45 2 * * *", timezone="Europe/Berlin"), None, before)
    assert moved == FireTime(after_gap, "2026-03-29T02:15:00")


@pytest.mark.parametrize(
    "expressions", [("0 2,3 * * *",), ("30 2 * * *", "0 3 * * *"), ("0 3 * * *", "30 2 * * *")]
)
def test_a_match_of_its_own_after_a_gap_is_not_called_moved(expressions: tuple[str, ...]) -> None:
    berlin = cron(*expressions, timezone="Europe/Berlin")
    start = datetime(2026, 3, 29, tzinfo=UTC)
    expected = FireTime(datetime(2026, 3, 29, 1, tzinfo=UTC))
    assert next_fire(berlin, None, start) == expected
    assert next(fires_between(berlin, None, start, start + timedelta(days=1))) == expected


def test_h_is_the_jobs_own_and_stays() -> None:
    hours = {
        (fire := next_ones(cron("H H * * *", name=f"job-{n}"), 1)[0]).hour * 60 + fire.minute
        for n in range(50)
    }
    assert len(hours) > 40
    assert next_ones(cron("H * * * *", name="a"), 2)[1] - next_ones(cron("H * * * *", name="a"), 2)[
        0
    ] == timedelta(hours=1)


def test_every_counts_from_its_anchor_and_k_begins_at_one() -> None:
    ticking = job(Every(period=timedelta(seconds=90)))
    assert next_ones(ticking, 2, anchor=NOON) == [NOON + timedelta(seconds=90), NOON + timedelta(seconds=180)]
    long_before = NOON - timedelta(days=3)
    assert next_ones(ticking, 1, anchor=NOON, after=long_before) == [NOON + timedelta(seconds=90)]
    inside = NOON + timedelta(seconds=100, microseconds=1)
    assert next_ones(ticking, 1, anchor=NOON, after=inside) == [NOON + timedelta(seconds=180)]


def test_every_is_strictly_after_even_on_its_own_instant() -> None:
    ticking = job(Every(period=timedelta(milliseconds=500)))
    on_it = NOON + timedelta(seconds=1)
    assert next_ones(ticking, 1, anchor=NOON, after=on_it) == [NOON + timedelta(seconds=1.5)]


def test_every_without_an_anchor_and_manual_never_fire() -> None:
    assert next_fire(job(Every(period=timedelta(seconds=5))), None, NOON) is None
    assert next_fire(job(Manual()), None, NOON) is None


def test_at_fires_at_each_instant_once() -> None:
    instants = (NOON, NOON + timedelta(hours=1), NOON + timedelta(days=1))
    once = job(At(instants=instants))
    assert next_ones(once, 2) == list(instants[1:])
    assert next_fire(once, None, NOON - timedelta(microseconds=1)) == FireTime(NOON)
    assert next_fire(once, None, instants[-1]) is None


def test_the_default_anchor_spreads_jobs_and_never_moves_for_a_name() -> None:
    period = timedelta(minutes=5)
    seen = NOON + timedelta(seconds=3, microseconds=250)
    anchors = [default_anchor(seen, f"job-{n}", period) for n in range(1000)]
    assert anchors == [default_anchor(seen, f"job-{n}", period) for n in range(1000)]
    assert all(seen.replace(microsecond=0) <= anchor < seen + period for anchor in anchors)
    assert len(set(anchors)) > 250
    assert all(anchor.microsecond == 0 for anchor in anchors)
    # frozen: the ledger of a new host must give the same
    assert default_anchor(NOON, "backup", period) == NOON + ANCHOR_OF_BACKUP
    assert default_anchor(NOON, "quick", timedelta(milliseconds=100)) < NOON + timedelta(milliseconds=100)


def test_a_job_never_fires_in_its_first_moment() -> None:
    period = timedelta(seconds=5)
    ticking = job(Every(period=period))
    anchor = default_anchor(NOON, "backup", period)
    first = next_fire(ticking, anchor, first_mark(ticking, NOON))
    assert first is not None
    assert NOON < first.instant <= NOON + 2 * period


def test_the_first_mark_lets_a_past_at_meet_the_misfire_policy() -> None:
    past = job(At(instants=(NOON - timedelta(hours=2), NOON - timedelta(hours=1))))
    mark = first_mark(past, NOON)
    assert next_fire(past, None, mark) == FireTime(NOON - timedelta(hours=2))
    assert first_mark(job(At(instants=(NOON + timedelta(hours=1),))), NOON) == NOON
    assert first_mark(cron("* * * * *"), NOON) == NOON


@pytest.mark.parametrize(
    "of",
    [
        cron("*/7 * * * *"),
        cron("*/20 * * * * *", "7 * * * *"),
        cron("30 2 * * *", "*/45 1-3 * * *", timezone="Europe/Berlin"),
        job(Every(period=timedelta(seconds=700))),
        job(At(instants=tuple(NOON + timedelta(hours=n) for n in range(-400, 400, 3)))),
    ],
)
def test_walking_an_interval_gives_what_asking_again_and_again_gives(of: Job) -> None:
    start, until = datetime(2026, 10, 20, 7, 7, 7, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC)
    singly, after = [], start
    while (fire := next_fire(of, start, after)) is not None and fire.instant <= until:
        singly.append(fire)
        after = fire.instant
    assert list(fires_between(of, start, start, until)) == singly
    assert len(singly) > 16 or isinstance(of.trigger, At | Cron)
