"""Fire times that have come: each becomes exactly one row, a run or a skip with its reason, and the mark moves on."""

import heapq
from datetime import datetime, timedelta

from msgspec import structs

from schedulerd.core import calendars, overlap, runs
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordPause
from schedulerd.core.misfire import MISFIRE, MISSED_AFTER, Due, SkipRange, due
from schedulerd.core.state import JobEntry, State
from schedulerd.core.trigger import FireTime, is_inside, next_fire
from schedulerd.core.waking import await_fire, await_resume, count_from
from schedulerd.model.job import At, Cron, Every
from schedulerd.model.moment import Moment
from schedulerd.model.run import Cause, Skip, SkipReason

FIRES_A_STEP = 1000  # jobs settled in one step: what is due a moment later does not wait for 100,000 others
_NONE = timedelta()
_MICROSECOND = timedelta(microseconds=1)


def fire_due(state: State, now: Moment, draft: Draft) -> None:
    """Settle jobs whose next fire time, or end of pause, has come, longest due first, as many as one step takes.

    While the clock is in doubt a job that has missed fire times is left as it is; all others fire on time.
    """
    fires = state.fires
    for name in list(state.doubted):
        _look_again(state, name, now)
    names: dict[str, None] = {}
    while fires and fires[0][0] <= now.utc and len(names) < FIRES_A_STEP:
        names[heapq.heappop(fires)[1]] = None
    # what waits for its turn behind the first thousands was found when they were: that does not make it missed
    waited = timedelta(seconds=now.mono - state.behind_since) if state.behind_since is not None else _NONE
    if not (fires and fires[0][0] <= now.utc):
        state.behind_since = None
    elif state.behind_since is None:
        state.behind_since = now.mono
    for name in names:
        entry = state.jobs.get(name)
        if entry is None or not _has_come(entry, now.utc):
            continue
        if is_in_doubt(state, entry, now):
            state.doubted[name] = None
        else:
            account(state, entry, now, draft, waited)


def is_in_doubt(state: State, entry: JobEntry, now: Moment) -> bool:
    """The job has missed fire times, if the clock is right, and it may not be: nothing of it is settled yet."""
    if state.doubts_since is None or entry.next_fire is None:
        return False
    return now.utc - entry.next_fire.due > MISSED_AFTER


def believe_clock(state: State, now: Moment, draft: Draft) -> None:
    """The clock is no longer in doubt: what waited for it is settled, and what came meanwhile counts as on time."""
    since, state.doubts_since = state.doubts_since, None
    waited = timedelta(seconds=now.mono - since) if since is not None else timedelta(0)
    for name in state.doubted:
        entry = state.jobs.get(name)
        if entry is not None:
            account(state, entry, now, draft, waited)
    state.doubted.clear()


def _look_again(state: State, name: str, now: Moment) -> None:
    """A job that waits for the clock: gone, or no longer behind since the clock was set back?"""
    entry = state.jobs.get(name)
    if entry is None or not is_in_doubt(state, entry, now):
        del state.doubted[name]
        if entry is not None:
            await_fire(state, entry, entry.next_fire)
            await_resume(state, entry)


def account(
    state: State, entry: JobEntry, now: Moment, draft: Draft, waited: timedelta = timedelta(0)
) -> None:
    """Every fire time of the job up to now gets its row; those of the time we `waited` were not missed."""
    pause = entry.pause
    if pause is not None and pause.until is not None and pause.until <= now.utc:
        _settle(state, entry, pause.until, now, draft)
        entry.pause = None
        draft.tables.append(RecordPause(entry.job.name, None))
        draft.events.append(
            runs.event("resumed", now, job=entry.job.name, detail="the pause ended by itself")
        )
    _settle(state, entry, now.utc, now, draft, waited)
    count_again(state, entry, now, draft)
    await_resume(state, entry)


def settle_early(state: State, entry: JobEntry, now: Moment, draft: Draft) -> datetime | None:
    """A fire time that has passed and waits for its jitter does not wait any longer: its job is about to change.

    The fire time that got its row; None when none waits.
    """
    pending = entry.next_fire
    if pending is None or pending.instant > now.utc:
        return None
    if entry.is_paused:
        _skip(entry, pending.instant, SkipReason.PAUSED, draft)
    else:
        _decide(state, entry, structs.replace(pending, delay=_NONE), now, draft)
    _settled(entry, now.utc, draft)
    await_fire(state, entry, next_fire(entry.job, entry.anchor, entry.mark))
    return pending.instant


def settle_removed(state: State, entry: JobEntry, now: Moment, draft: Draft) -> None:
    """A fire time that has passed and waits for its jitter never runs: its job is about to go."""
    pending = entry.next_fire
    if pending is not None and pending.instant <= now.utc:
        _skip(entry, pending.instant, SkipReason.REMOVED, draft)
        _settled(entry, now.utc, draft)


def count_again(state: State, entry: JobEntry, now: Moment, draft: Draft) -> None:
    """A job that counts from ends has nothing to count from any more (its fire time was a skip): it counts from now.

    While paused it waits: what passes in one pause, or while nobody led, is one skip.
    """
    if entry.is_from_end and entry.next_fire is None and not entry.is_paused and not entry.open_runs:
        assert isinstance(entry.job.trigger, Every)
        passed = entry.mark if entry.anchor is None else entry.anchor + entry.job.trigger.period
        is_late = now.utc - passed > MISSED_AFTER
        if is_inside(entry.job, now.utc) and not entry.is_spent:
            draft.anchors[entry.job.name] = count_from(state, entry, now.utc if is_late else passed)


def fire_at_boot(state: State, entry: JobEntry, now: Moment, draft: Draft) -> None:
    """`@reboot`: once for every (job, boot of the leader's host), as soon as both are known."""
    job = entry.job
    if not isinstance(job.trigger, Cron) or not job.trigger.is_at_boot:
        return
    if not state.boot or state.boots.get(job.name) == state.boot:
        return
    state.boots[job.name] = draft.boots[job.name] = state.boot
    if entry.is_spent or not is_inside(job, now.utc):
        return
    # never a whole second: there the expressions of the same job have theirs
    instant = now.utc if now.utc.microsecond else now.utc + _MICROSECOND
    is_excluded = calendars.refusal(job, instant) is not None
    fire = FireTime(instant, skip=SkipReason.CALENDAR if is_excluded else None)
    if entry.is_paused:
        _skip(entry, instant, SkipReason.PAUSED, draft, is_apart=True)
    else:
        _decide(state, entry, fire, now, draft, is_apart=True)


def settle_past(state: State, entry: JobEntry, past: At, now: Moment, draft: Draft) -> None:
    """Instants before the job's mark that have no row yet get theirs by the misfire policy; the mark stays."""
    job = structs.replace(entry.job, trigger=past, jitter=_NONE)
    result = due(job, None, past.instants[0] - _MICROSECOND, now.utc, is_paused=entry.is_paused)
    singly = [  # a range could span rows that other definitions left between these instants
        _one(instant, skip.reason)
        for skip in result.skips
        for instant in past.instants
        if skip.first <= instant <= skip.last
    ]
    # the clock was set back: the mark has passed these, their time will not come any more
    singly += [
        _one(instant, MISFIRE)
        for instant in past.instants
        if instant > now.utc and is_inside(entry.job, instant)
    ]
    _apply(state, entry, structs.replace(result, skips=tuple(singly)), now, draft)


def _one(instant: datetime, reason: str) -> SkipRange:
    return SkipRange(first=instant, last=instant, count=1, reason=reason)


def _settle(
    state: State,
    entry: JobEntry,
    until: datetime,
    now: Moment,
    draft: Draft,
    waited: timedelta = timedelta(0),
) -> None:
    if entry.is_spent:
        _settled(entry, until, draft)
        return
    result = due(entry.job, entry.anchor, entry.mark, until, is_paused=entry.is_paused, waited=waited)
    _apply(state, entry, result, now, draft)
    _settled(entry, result.mark, draft)
    await_fire(state, entry, result.next)


def _settled(entry: JobEntry, mark: datetime, draft: Draft) -> None:
    if mark > entry.mark:
        entry.mark = draft.marks[entry.job.name] = mark


def _apply(state: State, entry: JobEntry, result: Due, now: Moment, draft: Draft) -> None:
    if entry.is_spent:
        return
    before = len(draft.skips)
    last: datetime | None = None  # fire time of the run that `max_runs` ends with: there are none later
    for cause, fires in ((Cause.CATCHUP, result.catchup), (Cause.SCHEDULE, result.on_time)):
        for fire_time in fires:
            if last is not None:
                break
            if cause is Cause.CATCHUP:
                runs.fire(state, entry, fire_time, cause, now, draft)
            else:
                _decide(state, entry, fire_time, now, draft)
            last = fire_time.instant if entry.is_spent else None
    for skip in result.skips:
        if last is None or skip.last < last:
            draft.skips.append(
                Skip(
                    job=entry.job.name,
                    version=entry.definition.version,
                    first=skip.first,
                    last=skip.last,
                    count=skip.count,
                    reason=SkipReason(skip.reason),
                    is_apart=entry.is_from_end,
                )
            )
    # the ledger joins a range to the one before it: in order of time, or it would span what lies between
    draft.skips[before:] = sorted(draft.skips[before:], key=lambda skip: skip.first)


def _decide(
    state: State, entry: JobEntry, fire: FireTime, now: Moment, draft: Draft, *, is_apart: bool = False
) -> None:
    """One fire time that is due becomes a run, or a skip for what excludes it or for the run in its way."""
    reason = fire.skip or overlap.refusal(state, entry)
    if reason is not None:
        _skip(entry, fire.instant, reason, draft, is_apart=is_apart)
    else:
        run = runs.fire(state, entry, fire, Cause.SCHEDULE, now, draft)
        overlap.line_up(state, entry, run, now, draft)


def _skip(entry: JobEntry, at: datetime, reason: SkipReason, draft: Draft, *, is_apart: bool = False) -> None:
    draft.skips.append(
        Skip(
            job=entry.job.name,
            version=entry.definition.version,
            first=at,
            last=at,
            count=1,
            reason=reason,
            is_apart=is_apart or entry.is_from_end,
        )
    )


def _has_come(entry: JobEntry, now: datetime) -> bool:
    if entry.next_fire is not None and entry.next_fire.due <= now:
        return True
    return entry.pause is not None and entry.pause.until is not None and entry.pause.until <= now
