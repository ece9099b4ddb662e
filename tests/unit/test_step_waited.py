"""What waited for the host's clock or boot is settled in parts; a leader that dies between them loses none."""

from collections import Counter
from contextlib import closing
from pathlib import Path

from support.leading import (
    a_job,
    asked,
    at,
    defined,
    fired,
    leading,
    of,
    row,
    skipped,
    told,
)
from support.takeovers import Leadership

from schedulerd.core import effects as fx
from schedulerd.core import requests as rq
from schedulerd.core.booting import BOOTS_A_STEP
from schedulerd.core.clock_doubt import LOOKS_A_STEP
from schedulerd.core.events import AlarmRang, ClockTrusted, HostBooted
from schedulerd.core.firing import FIRES_A_STEP, WAITED_A_STEP
from schedulerd.model.job import Cron, Job, Misfire

MINUTELY = Cron(expressions=("* * * * *",))
HOURLY = Cron(expressions=("0 * * * *",))
AT_BOOT = Cron(expressions=(), is_at_boot=True)


def behind(count: int, **changes: object) -> list[Job]:
    return [a_job(f"j{number}", trigger=MINUTELY, **changes) for number in range(count)]


def is_unfinished(effects: list[fx.Effect], now: str) -> bool:
    """The next step is asked for at once."""
    (alarm,) = of(fx.SetAlarm, effects)
    return alarm.mono is not None and alarm.mono <= at(now).mono


def rows_of(effects: list[fx.Effect]) -> Counter[str]:
    """How many fire times of each job got their row, and each run once more under its id."""
    rows: Counter[str] = Counter()
    for record in of(fx.RecordRuns, effects):
        for run in record.runs:
            rows[run.job] += 1
            rows[run.id] += 1
    for skips in of(fx.RecordSkips, effects):
        for skip in skips.skips:
            rows[skip.job] += skip.count
    return rows


def doubting(leader: Leadership, now: str) -> None:
    """It was away until now, and does not believe its clock; all its jobs wait."""
    leader.take_over(now, doubts_clock=True)
    while is_unfinished(leader.tell([AlarmRang()], now), now) or leader.state.behind_since is not None:
        pass


def test_jobs_that_waited_for_the_clock_are_settled_in_parts_and_the_next_step_comes_at_once(
    tmp_path: Path,
) -> None:
    count = 2 * WAITED_A_STEP + 1
    with closing(Leadership(tmp_path, *behind(count, misfire=Misfire.SKIP))) as leader:
        doubting(leader, "02:59:50")
        assert len(leader.state.doubted) == count
        parts = []
        event: AlarmRang | ClockTrusted = ClockTrusted()
        for _ in range(3):
            effects = leader.tell([event], "02:59:52")
            parts.append(len(skipped(effects)))
            assert is_unfinished(effects, "02:59:52") == (len(parts) < 3)
            event = AlarmRang()
        assert parts == [WAITED_A_STEP, WAITED_A_STEP, 1]
        assert not leader.state.doubted
        assert len(fired(leader.tell([AlarmRang()], "03:00:00"))) == count


def test_what_came_while_a_job_waited_for_its_part_was_not_missed(tmp_path: Path) -> None:
    with closing(Leadership(tmp_path, *behind(2 * WAITED_A_STEP, misfire=Misfire.SKIP))) as leader:
        doubting(leader, "02:59:45")
        first = leader.tell([ClockTrusted()], "02:59:50")
        assert len(skipped(first)) == WAITED_A_STEP
        second = leader.tell([AlarmRang()], "03:00:15")  # 15 s after 03:00 was due, for those that waited
        late = [run for run in fired(second) if run.endswith("030000Z")]
        assert len(late) == WAITED_A_STEP
        assert {last for first, last, reason, _ in skipped(second) if first != last} == {"02:59:00"}


def test_what_is_on_time_goes_before_what_waited_for_the_clock(tmp_path: Path) -> None:
    jobs = [*behind(3 * WAITED_A_STEP), a_job("rare", trigger=HOURLY)]
    with closing(Leadership(tmp_path, *jobs)) as leader:
        doubting(leader, "02:59:59")
        effects = leader.tell([ClockTrusted()], "03:00:00")
        assert "rare@20261123T030000Z" in fired(effects)
        assert len(leader.state.doubted) == 2 * WAITED_A_STEP


def test_an_order_for_a_job_that_waits_for_its_part_settles_it_first(tmp_path: Path) -> None:
    with closing(Leadership(tmp_path, *behind(3 * WAITED_A_STEP, misfire=Misfire.SKIP))) as leader:
        doubting(leader, "02:59:45")
        leader.tell([ClockTrusted()], "02:59:50")
        last = list(leader.state.doubted)[-1]
        effects = leader.tell([asked(rq.PauseJob(job=last, by="ann"))], "03:00:15")
        assert f"{last}@20261123T030000Z" in fired(effects), "it was held by us, not missed"
        assert rows_of(effects)[last] == 60
        assert last not in leader.state.doubted
        gone = list(leader.state.doubted)[-1]
        kept = [defined(job) for job in behind(3 * WAITED_A_STEP, misfire=Misfire.SKIP) if job.name != gone]
        effects = leader.tell([asked(rq.ReplaceTable(definitions=tuple(kept)))], "03:00:15")
        assert rows_of(effects)[gone] == 60
        assert gone not in leader.state.doubted


def test_a_leader_that_dies_between_two_parts_leaves_each_fire_time_with_one_row(tmp_path: Path) -> None:
    count = 2 * WAITED_A_STEP
    with closing(Leadership(tmp_path, *behind(count))) as leader:
        doubting(leader, "02:59:50")
        rows = rows_of(leader.tell([ClockTrusted()], "02:59:52"))
        assert len(leader.state.doubted) == count - WAITED_A_STEP
        # it dies; the next one believes its clock and finds the marks of those that were not settled where they were
        rows += rows_of(leader.take_over("02:59:56"))
        for _ in range(3):
            rows += rows_of(leader.tell([AlarmRang()], "02:59:56"))
        assert {rows[f"j{number}"] for number in range(count)} == {59}
        assert max(rows[name] for name in rows if "@" in name) == 1
        # the next one may doubt its clock again: then they wait again, and nothing is lost by that either
        doubting(leader, "03:01:30")
        rows += rows_of(leader.tell([ClockTrusted()], "03:01:31"))
        doubting(leader, "03:01:32")
        for event in (ClockTrusted(), AlarmRang(), AlarmRang()):
            rows += rows_of(leader.tell([event], "03:01:33"))
        assert {rows[f"j{number}"] for number in range(count)} == {61}
        assert max(rows[name] for name in rows if "@" in name) == 1


def test_a_clock_set_back_is_noticed_in_parts_and_jobs_are_on_time_again(tmp_path: Path) -> None:
    count = LOOKS_A_STEP + 1
    with closing(Leadership(tmp_path, *behind(count))) as leader:
        doubting(leader, "08:00:00")
        effects = leader.tell([AlarmRang()], "02:00:50")
        assert len(leader.state.doubted) == 1
        assert is_unfinished(effects, "02:00:50")
        assert not is_unfinished(leader.tell([AlarmRang()], "02:00:50"), "02:00:50")
        assert not leader.state.doubted
        runs = [run for _ in range(2) for run in fired(leader.tell([AlarmRang()], "02:01:00"))]
        assert sorted(runs) == sorted(f"j{number}@20261123T020100Z" for number in range(count))


def test_a_clock_that_goes_on_is_no_reason_to_look_at_every_job_that_waits(tmp_path: Path) -> None:
    with closing(Leadership(tmp_path, *behind(5))) as leader:
        doubting(leader, "08:00:00")
        leader.tell([AlarmRang()], "08:00:01")
        assert leader.state.doubted_to_look == 0
        assert len(leader.state.doubted) == 5


# ---- @reboot


def booted(count: int) -> list[Job]:
    return [a_job(f"b{number}", trigger=AT_BOOT) for number in range(count)]


def test_jobs_of_a_boot_fire_in_parts_and_the_next_step_comes_at_once() -> None:
    count = 2 * BOOTS_A_STEP + 1
    state = leading(*booted(count), a_job("rare", trigger=HOURLY), workers=[], now="02:59:59")
    parts = []
    event: AlarmRang | HostBooted = HostBooted("boot-1")
    for _ in range(3):
        effects = told(state, [event], "03:00:00")
        runs = fired(effects)
        assert ("rare@20261123T030000Z" in runs) == (not parts), "what is on time does not wait for them"
        parts.append(len([run for run in runs if run.startswith("b")]))
        assert is_unfinished(effects, "03:00:00") == (len(parts) < 3)
        event = AlarmRang()
    assert parts == [BOOTS_A_STEP, BOOTS_A_STEP, 1]
    assert not fired(told(state, [HostBooted("boot-1")], "03:00:01"))


def test_a_leader_that_dies_between_two_parts_of_a_boot_fires_each_job_once(tmp_path: Path) -> None:
    count = 2 * BOOTS_A_STEP
    with closing(Leadership(tmp_path, *booted(count), workers=())) as leader:
        runs = fired(leader.tell([HostBooted("boot-1")], "02:00:01"))
        assert len(runs) == BOOTS_A_STEP
        runs += fired(leader.take_over("02:00:02", boot="boot-1"))  # the process died, the host did not
        runs += fired(leader.tell([AlarmRang()], "02:00:03"))
        assert Counter(run.partition("@")[0] for run in runs) == Counter(f"b{n}" for n in range(count))


def test_a_host_that_dies_between_two_parts_fires_each_job_in_its_next_boot(tmp_path: Path) -> None:
    count = 2 * BOOTS_A_STEP
    with closing(Leadership(tmp_path, *booted(count), workers=())) as leader:
        leader.tell([HostBooted("boot-1")], "02:00:01")
        effects = leader.take_over("02:00:02", boot="boot-2")
        effects += leader.tell([AlarmRang()], "02:00:03")
        rows = rows_of(effects)
        assert {rows[f"b{number}"] for number in range(count)} == {1}


def test_a_job_that_changes_before_its_turn_fires_once_or_not_at_all() -> None:
    state = leading(*booted(BOOTS_A_STEP + 3), workers=[])
    told(state, [HostBooted("boot-1")], "02:00:01")
    first, second, third = list(state.to_boot)
    table = [defined(job) for job in booted(BOOTS_A_STEP)]
    changed = [
        defined(a_job(first, trigger=AT_BOOT, description="new")),
        defined(a_job(second, trigger=HOURLY)),
    ]
    runs = fired(told(state, [asked(rq.ReplaceTable(definitions=(*table, *changed)))], "02:00:02"))
    assert [run.partition("@")[0] for run in runs] == [first]
    assert third not in state.jobs
    assert not fired(told(state, [AlarmRang()], "02:00:03"))


def test_parts_of_all_kinds_leave_a_step_short() -> None:
    """However many there are of each, one step settles no more than its part of each."""
    rows = [row(job, "02:00:30") for job in behind(2 * FIRES_A_STEP)]
    state = leading(*rows, *booted(2 * BOOTS_A_STEP), workers=[], now="02:00:30")
    effects = told(state, [HostBooted("boot-1")], "02:01:00")
    assert len(fired(effects)) == FIRES_A_STEP + BOOTS_A_STEP
