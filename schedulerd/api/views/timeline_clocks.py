"""Two clocks in one timeline: what a worker did, between its cause and its effect, which have the leader's times."""

from datetime import datetime, timedelta
from itertools import zip_longest

from schedulerd.api.views.timeline_lines import Line, instant
from schedulerd.protocol.api_accounts import RunAccount
from schedulerd.protocol.api_types import Attempt, Event

SKEW = 0.05  # seconds by which clocks may contradict each other before it is said


def ahead_of(account: RunAccount) -> dict[str, float]:
    """By worker: seconds its clock is ahead (negative: behind) at least, where causes show that it is."""
    most: dict[str, float] = {}
    least: dict[str, float] = {}
    of_attempts: dict[str, list[Event]] = {}
    for event in account.events:
        of_attempts.setdefault(event.attempt or "", []).append(event)
    for part in account.detail.subtasks_detail:
        for one, after in zip_longest(part.attempts, part.attempts[1:]):
            known_by = known_by_of(one, of_attempts.get(one.id, []), after, account)
            if one.finished_at is not None and known_by is not None and one.started_at is not None:
                late = (instant(one.finished_at) - known_by).total_seconds()
                most[one.worker] = max(most.get(one.worker, 0.0), late)
            if one.started_at is not None and one.assigned_at is not None:
                early = (instant(one.started_at) - instant(one.assigned_at)).total_seconds()
                least[one.worker] = min(least.get(one.worker, 0.0), early)
    # A clock that contradicts both ways has stepped: then there is no one number.
    found = {
        worker: most.get(worker, 0.0) or least.get(worker, 0.0)
        for worker in most | least
        if most.get(worker, 0.0) < SKEW or least.get(worker, 0.0) > -SKEW
    }
    return {worker: seconds for worker, seconds in found.items() if abs(seconds) >= SKEW}


def known_by_of(
    one: Attempt, noted: list[Event], after: Attempt | None, account: RunAccount
) -> datetime | None:
    """When a leader knew the attempt's end at the latest."""
    late = [event.time for event in noted if event.type == "late_result"]
    if late:
        return instant(late[0])
    known = [event.time for event in noted if event.type == "retried"]
    if after is not None and after.assigned_at is not None:
        known.append(after.assigned_at)
    if account.detail.finished_at is not None:
        known.append(account.detail.finished_at)
    return min(map(instant, known), default=None)


def by_worker(
    one: Attempt,
    told: str,
    bounds: tuple[datetime | None, datetime | None],
    text: str,
    stage: int,
    ahead: dict[str, float],
) -> Line:
    """What the worker did at `told` by its own clock: after its cause, before its effect."""
    own = instant(told)
    seconds = ahead.get(one.worker, 0.0)
    at = own - timedelta(seconds=seconds)
    floor, ceiling = bounds
    if ceiling is not None and at > ceiling:
        at = ceiling
    if floor is not None and at < floor:
        at = floor
    if abs((at - own).total_seconds()) >= SKEW:
        text += f" [{own:%H:%M:%S}.{own.microsecond // 1000:03d} UTC by its own clock, "
        if seconds:
            text += f"{abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}: ordered by cause]"
        else:
            text += "which differs: ordered by cause]"
    return Line(at=at, source=f"worker {one.worker}", text=text, stage=stage)
