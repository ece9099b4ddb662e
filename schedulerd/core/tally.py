"""What may repeat in storms - results that come again, orders a worker had already - counted and told as few events.

Single happenings of an attempt are in notes.py. Nothing here changes what is done.
"""

from dataclasses import dataclass
from datetime import datetime

from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordEvent
from schedulerd.core.state import State, Tallied, Worker
from schedulerd.model.moment import Moment
from schedulerd.protocol.ids import rfc3339
from schedulerd.protocol.messages import Heartbeat

EVERY = 10.0  # seconds between two tellings; the first of a quiet time is told with the next beat
SHOWN = 10  # events of one kind in a telling; what is left shares one more
KEPT = 1000  # (kind, run, worker) that are kept apart between two tellings

DUPLICATE_RESULT = "duplicate_result"
REFUSED = "worker_refused"

# Field of `Counted` -> (type of the event, what it means).
GROWTH = {
    "duplicate_dispatches": (
        "duplicate_dispatch",
        "an order for an attempt it had already; nothing started twice",
    ),
    "stale_frames": ("stale_frame", "a frame of an older epoch, refused"),
    "results_resent": ("result_resent", "a result sent again: nobody had acknowledged it"),
    "rival_hellos": (
        "rival_leader",
        (
            "another schedulerd leads in this epoch too, with a ledger of its own, and the worker ignored it; one of "
            "the two has to be stopped, or to be given another cluster"
        ),
    ),
    "helper_deaths": ("helper_died", "its helper process ended; what that had in hand is lost"),
}
_MEANING = {
    DUPLICATE_RESULT: "a result that is recorded already",
    REFUSED: "a second daemon with its id or at its address was refused while it was heard or held work",
    **dict(GROWTH.values()),
}
TYPES = tuple(_MEANING)


def repeated(
    state: State, kind: str, now: Moment, *, run: str = "", worker: str = "", first: str = "", count: int = 1
) -> None:
    """Something happened `count` times more; `first` says what it was about the first time."""
    key = (kind, run, worker)
    found = state.tally.get(key)
    if found is None and len(state.tally) >= KEPT:
        key = (kind, "", "")
        found = state.tally.get(key)
    if found is None:
        state.tally[key] = Tallied(now.utc, first, count)
    else:
        found.count += count


def results_repeated(state: State, attempts: tuple[str, ...], now: Moment) -> None:
    """The ledger had these results already."""
    for attempt in attempts:
        repeated(state, DUPLICATE_RESULT, now, run=attempt.partition("~")[0], first=attempt)


def compare(state: State, worker: Worker, beat: Heartbeat, now: Moment) -> None:
    """What a worker has counted since the heartbeat before; at the first one, since what leaders before have told."""
    counts = beat.counts
    before, worker.counts = worker.counts or beat.told, counts
    if before is None or before == counts:
        return
    for field, (kind, _) in GROWTH.items():
        grown = getattr(counts, field) - getattr(before, field)
        if grown > 0:
            repeated(state, kind, now, worker=worker.name, count=grown)


def tell(state: State, now: Moment, draft: Draft) -> None:
    """With each beat: events for what was counted, if the last were long enough ago.

    The workers learn with the next Hello, after the commit, what is told of theirs. A leader that ends between the two
    has its successor tell it once more; what it had not told, the successor tells.
    """
    if state.tally and now.mono < state.next_tally:
        return
    for seen in state.workers.values():
        seen.told = seen.counts
    if not state.tally:
        return
    state.next_tally = now.mono + EVERY
    shown: dict[str, int] = {}
    left: dict[str, _Left] = {}
    for (kind, run, worker), one in state.tally.items():
        shown[kind] = shown.get(kind, 0) + 1
        if shown[kind] <= SHOWN:
            draft.events.append(_event(kind, run, worker, one, now))
        else:
            rest = left.setdefault(kind, _Left(one.since))
            rest.count += one.count
            rest.places += 1
    for kind, rest in left.items():
        one = Tallied(rest.since, "", rest.count)
        draft.events.append(_event(kind, "", "", one, now, f", of {rest.places} more runs or workers"))
    state.tally.clear()


@dataclass(slots=True)
class _Left:
    """What gets no event of its own."""

    since: datetime
    count: int = 0
    places: int = 0


def _event(kind: str, run: str, worker: str, one: Tallied, now: Moment, whose: str = "") -> RecordEvent:
    first = f"; the first {one.first}" if one.first else ""
    times = "once" if one.count == 1 else f"{one.count:,} times"
    since = rfc3339(one.since.replace(microsecond=0))
    return RecordEvent(
        type=kind,
        time=now.utc,
        job=run.partition("@")[0] or None,
        run=run or None,
        worker=worker or None,
        detail=f"{times} since {since}: {_MEANING[kind]}{whose}{first}",
    )
