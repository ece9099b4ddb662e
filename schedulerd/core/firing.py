"""Fire times that have come: each becomes exactly one row, a run or a skip with its reason, and the mark moves on."""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from msgspec import structs

from schedulerd.core import clock_doubt, overlap, runs
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordPause
from schedulerd.core.misfire import MISFIRE, MISSED_AFTER, Due, SkipRange, due
from schedulerd.core.state import JobEntry, State
from schedulerd.core.trigger import FireTime, is_inside, next_fire
from schedulerd.core.waking import await_fire, await_resume, count_from
from schedulerd.model.job import At, Every
from schedulerd.model.moment import Moment
from schedulerd.model.run import Cause, Skip, SkipReason

FIRES_A_STEP = 1000  # jobs settled in one step: what is due a moment later does not wait for 100,000 others
WAITED_A_STEP = 250  # besides, jobs settled that waited for the clock to be believed
_NONE = timedelta()
_MICROSECOND = timedelta(microseconds=1)


def fire_due(state: State, now: Moment, draft: Draft) -> None:
    """Settle jobs whose next fire time, or end of pause, has come, longest due first, as many as one step takes.

    While the clock is in doubt a job that has missed fire times is left as it is; all others fire on time.
    """
    clock_doubt.look_again(state, now)
    fires = state.fires
    names: dict[str, None] = {}
    while fires and fires[0][0] <= now.utc and len(names) < FIRES_A_STEP:
        names[heapq.heappop(fires)[1]] = None
    is_behind = bool(fires) and fires[0][0] <= now.utc
    for name in names:
        entry = state.jobs.get(name)
        if entry is None or name in state.doubted or not _has_come(entry, now.utc):
            continue
        if clock_doubt.is_in_doubt(state, entry, now):
            state.doubted[name] = None
        else:
            account(state, entry, now, draft)
    if not is_behind:
        state.behind_since = None
    elif state.behind_since is None:
        state.behind_since = now.mono
    _settle_believed(state, now, draft)


def account(state: State, entry: JobEntry, now: Moment, draft: Draft) -> None:
    """Every fire time of the job up to now gets its row; those of the time that we made it wait were not missed."""
    waited = _waited(state, entry.job.name, now)
    state.doubted.pop(entry.job.name, None)
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
        skip(entry, pending.instant, SkipReason.PAUSED, draft)
    else:
        decide(state, entry, structs.replace(pending, delay=_NONE), now, draft)
    _settled(entry, now.utc, draft)
    await_fire(state, entry, next_fire(entry.job, entry.anchor, entry.mark))
    return pending.instant


def settle_removed(state: State, entry: JobEntry, now: Moment, draft: Draft) -> None:
    """A fire time that has passed and waits for its jitter never runs: its job is about to go."""
    pending = entry.next_fire
    if pending is not None and pending.instant <= now.utc:
        skip(entry, pending.instant, SkipReason.REMOVED, draft)
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


def _settle_believed(state: State, now: Moment, draft: Draft) -> None:
    """A part of those that waited for the clock, behind what is on time. The others keep their marks until then."""
    if not state.is_clock_believed or state.doubts_since is None:
        return
    for name in list(islice(state.doubted, WAITED_A_STEP)):
        account(state, state.jobs[name], now, draft)
    state.is_unfinished |= bool(state.doubted)
    if not state.doubted:
        state.doubts_since = None


def _waited(state: State, name: str, now: Moment) -> timedelta:
    """How long fire times of the job wait by our own doing: for the clock, or behind others that came due.

    What waits for its turn behind the first thousands was found when they were.
    """
    since = state.doubts_since if name in state.doubted else state.behind_since
    return _NONE if since is None else timedelta(seconds=now.mono - since)


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
                decide(state, entry, fire_time, now, draft)
            last = fire_time.instant if entry.is_spent else None
    for skip in _rows(entry, result.skips):
        if last is None or skip.last < last:
            draft.skips.append(
                Skip(
                    job=entry.job.name,
                    version=entry.definition.version,
                    first=skip.first,
                    last=skip.last,
                    count=skip.count,
                    reason=SkipReason(skip.reason),
                    is_apart=_is_apart(entry),
                )
            )
    # the ledger joins a range to the one before it: in order of time, or it would span what lies between
    draft.skips[before:] = sorted(draft.skips[before:], key=lambda skip: skip.first)


def _rows(entry: JobEntry, skips: tuple[SkipRange, ...]) -> Iterator[SkipRange]:
    """The ranges as they are recorded. One-off instants stand alone: an edit may put one between two of them."""
    trigger = entry.job.trigger
    for skip in skips:
        if isinstance(trigger, At) and skip.count > 1:
            begin, end = bisect_left(trigger.instants, skip.first), bisect_right(trigger.instants, skip.last)
            yield from (_one(instant, skip.reason) for instant in trigger.instants[begin:end])
        else:
            yield skip


def _is_apart(entry: JobEntry) -> bool:
    """What lies between two of its fire times may still become one: no range may span two of them."""
    return entry.is_from_end or isinstance(entry.job.trigger, At)


def decide(
    state: State, entry: JobEntry, fire: FireTime, now: Moment, draft: Draft, *, is_apart: bool = False
) -> None:
    """One fire time that is due becomes a run, or a skip for what excludes it or for the run in its way."""
    reason = fire.skip or overlap.refusal(state, entry)
    if reason is not None:
        skip(entry, fire.instant, reason, draft, is_apart=is_apart)
    else:
        run = runs.fire(state, entry, fire, Cause.SCHEDULE, now, draft)
        overlap.line_up(state, entry, run, now, draft)


def skip(entry: JobEntry, at: datetime, reason: SkipReason, draft: Draft, *, is_apart: bool = False) -> None:
    """One fire time does not become a run, for `reason`. `is_apart`: not one of those that the trigger names."""
    draft.skips.append(
        Skip(
            job=entry.job.name,
            version=entry.definition.version,
            first=at,
            last=at,
            count=1,
            reason=reason,
            is_apart=is_apart or _is_apart(entry),
        )
    )


def _has_come(entry: JobEntry, now: datetime) -> bool:
    if entry.next_fire is not None and entry.next_fire.due <= now:
        return True
    return entry.pause is not None and entry.pause.until is not None and entry.pause.until <= now
