"""Which worker gets which subtask, now: round-robin over able workers with free slots. Nobody waits behind another.

Runs that wait stand in lanes, by what they require and which pools they are in. Lanes with the same requirement take
turns in the order their runs began to wait. A lane without an able worker, or whose workers or pools are full, costs
one look however many runs are in it.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from msgspec import Struct

from schedulerd.core import attempts, runs
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordSubtasks
from schedulerd.core.pools import has_room
from schedulerd.core.stable import stable_hash
from schedulerd.core.state import Lane, Run, State, Subtask, Worker
from schedulerd.core.waking import await_worker
from schedulerd.model.moment import Moment

WORTH_TELLING = 5.0  # seconds without an able worker, from which on it is told
PLACES_A_STEP = 500  # attempts given out in one step, so that steps stay short ...
PLACES_BEHIND = 100  # ... and fewer while fire times wait for theirs
PARTS_A_STEP = 1000  # subtasks of broadcasts made in one step; all those of one run may exceed it
SETTLING = 5.0  # seconds after it began to lead in which a leader waits for every worker found to answer


def has_labels(labels: frozenset[str], requires: tuple[str, ...]) -> bool:
    """True when every required label is there and no refused one (`!label`)."""
    return all(need[1:] not in labels if need.startswith("!") else need in labels for need in requires)


def able_workers(state: State, requires: tuple[str, ...]) -> list[Worker]:
    """Workers that may be given such work, by id; whether they have a free slot is another question."""
    able = state.able.get(requires)
    if able is None:
        able = state.able[requires] = sorted(
            (
                worker
                for worker in state.workers.values()
                if _takes_work(worker) and has_labels(worker.labels, requires)
            ),
            key=lambda worker: worker.id,
        )
    return able


class Rotation:
    """Round-robin over able workers: who is next, from the one after `turn` (an id) on, as long as slots are free."""

    __slots__ = ("_place", "_ring")

    def __init__(self, able: list[Worker], turn: str) -> None:
        start = bisect_right(able, turn, key=lambda worker: worker.id)
        self._ring = [*able[start:], *able[:start]]
        self._place = 0

    def pick(self, avoid: str) -> Worker | None:
        """The next worker that has a free slot; the one with the id `avoid` only when no other has one."""
        ring, place = self._ring, self._place
        second = -1
        for _ in ring:
            worker = ring[place]
            here, place = place, (place + 1) % len(ring)
            if worker.slots > len(worker.attempts):
                if worker.id != avoid:
                    self._place = place
                    return worker
                second = here
        if second < 0:
            return None
        self._place = (second + 1) % len(ring)
        return ring[second]


def place(state: State, now: Moment, draft: Draft) -> None:
    """Give out what waits to who is free, as much as one step gives; what it does not give follows in the next one."""
    left = _Left(PLACES_A_STEP if state.behind_since is None else PLACES_BEHIND, PARTS_A_STEP)
    groups: dict[tuple[str, ...], list[Lane]] = {}
    for lane in state.waiting:
        groups.setdefault(lane[0], []).append(lane)
    for requires, lanes in groups.items():
        able = able_workers(state, requires)
        before = (left.places, left.parts)
        is_cut = bool(able) and _place_group(state, lanes, able, left, now, draft)
        for lane in lanes:
            if able:
                state.unable.pop(lane, None)
            else:
                _await_workers(state, lane, now)
            if not state.waiting[lane]:
                del state.waiting[lane]
                state.unable.pop(lane, None)
            elif is_cut and before != (
                left.places,
                left.parts,
            ):  # had its share: next time the others come first
                state.waiting[lane] = state.waiting.pop(lane)
        state.is_unfinished |= is_cut


def _await_workers(state: State, lane: Lane, now: Moment) -> None:
    """Nobody is able: so it is said of each run of the lane that came since that was found."""
    known = state.unable.get(lane, 0)
    for run in reversed(state.waiting[lane].values()):  # later ones have higher numbers
        if run.enlisted <= known:
            break
        await_worker(state, run, now)
    state.unable[lane] = state.enlisted


class _Left(Struct):
    """What this step may still do."""

    places: int  # attempts given out
    parts: int  # subtasks made because the workers are known now; the last run that gets some may exceed it


def _place_group(
    state: State,
    lanes: list[Lane],
    able: list[Worker],
    left: _Left,
    now: Moment,
    draft: Draft,
) -> bool:
    """Give out what these lanes have; True when the step's measure ended it, and not a lack of slots."""
    slots = sum(max(worker.free, 0) for worker in able)
    free = begun = min(slots, left.places)
    by_id: dict[str, Worker] = {}
    is_settled = False
    has_more = False
    for run in _in_turn(state, lanes):
        if free <= 0 and slots > begun:
            break
        if run.awaits_workers:
            is_settled = is_settled or _is_settled(state, now)
            if not is_settled or left.parts <= 0:
                has_more |= is_settled
                continue
            expand_per_worker(run, able, now, draft)
            left.parts -= len(able)
        if run.pinned:
            by_id = by_id or {worker.id: worker for worker in able}
            free -= _place_pinned(state, run, by_id, free, now, draft)
        elif run.unable_since is not None:
            _able_again(run, now, draft)
        if free > 0 and run.pending:
            free -= _place_any(state, run, able, min(free, run.room), now, draft)
        if not run.is_waiting:
            del state.waiting[run.lane][run.id]
        elif free <= 0 and not run.pinned:
            break
    left.places -= begun - free
    return has_more or (free <= 0 and slots > begun)


def _in_turn(state: State, lanes: list[Lane]) -> Iterator[Run]:
    """The runs of all lanes, who began to wait first comes first; a lane whose pools are full is left for later."""
    heads: list[tuple[int, Run, Iterator[Run]]] = []
    for lane in lanes:
        if has_room(state, lane[1]):
            following = iter(list(state.waiting[lane].values()))
            heads.extend((run.enlisted, run, following) for run in islice(following, 1))
    heapq.heapify(heads)  # numbers differ: runs are never compared
    while heads:
        _, run, following = heads[0]
        if not has_room(state, run.job.pools):
            heapq.heappop(heads)
            continue
        yield run
        after = next(following, None)
        if after is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (after.enlisted, after, following))


def take_unable(state: State, run: Run) -> list[Subtask]:
    """What of `run` waits for a worker that is not able, taken out of the queues; the rest goes on waiting."""
    run.unable_since = None
    able = able_workers(state, run.job.requires)
    if not able:
        return runs.take_waiting(state, run)
    ids = {worker.id for worker in able}
    taken: list[Subtask] = []
    for worker_id in [worker_id for worker_id in run.pinned if worker_id not in ids]:
        taken.extend(run.pinned.pop(worker_id))
    return taken


def expand_per_worker(run: Run, able: list[Worker], now: Moment, draft: Draft) -> None:
    """One subtask for each worker that is able now."""
    run.is_split, run.awaits_workers = True, False
    for index, worker in enumerate(able):
        subtask = Subtask(index, pinned=worker.id, waiting_since=now.mono)
        run.subtasks[index] = subtask
        run.pinned[worker.id] = type(run.pending)([subtask])
    run.open_subtasks = len(able)
    parts = tuple((index, None, worker.id) for index, worker in enumerate(able))
    draft.subtasks.append(RecordSubtasks(run.id, parts, True))


def _place_any(state: State, run: Run, able: list[Worker], most: int, now: Moment, draft: Draft) -> int:
    entry = state.jobs.get(run.job.name)
    turn = (entry.turn if entry is not None else "") or _first_turn(run.job.name, able)
    given = 0
    rotation = Rotation(able, turn)
    pools = run.job.pools
    while run.pending and given < most and (not pools or has_room(state, pools)):
        worker = rotation.pick(run.pending[0].avoid)
        if worker is None:
            break
        attempts.assign(state, run, run.pending.popleft(), worker, now, draft)
        turn = worker.id
        given += 1
    if entry is not None:
        entry.turn = turn
    return given


def _first_turn(job: str, able: list[Worker]) -> str:
    """Where a job's rotation begins: spread by name, or all rare jobs would meet at one worker."""
    return able[stable_hash(job, "first") % len(able) - 1].id


def _place_pinned(
    state: State, run: Run, able: dict[str, Worker], most: int, now: Moment, draft: Draft
) -> int:
    """Give what is meant for one worker alone to that worker, if it has a free slot; the others wait for theirs."""
    given = 0
    if most > 0:
        for worker_id in [worker_id for worker_id in run.pinned if worker_id in able]:
            worker, subtasks = able[worker_id], run.pinned[worker_id]
            while (
                subtasks
                and worker.free > 0
                and run.room > 0
                and given < most
                and has_room(state, run.job.pools)
            ):
                attempts.assign(state, run, subtasks.popleft(), worker, now, draft)
                given += 1
            if not subtasks:
                del run.pinned[worker_id]
            if given == most:
                break
    if not run.pinned.keys() <= able.keys():
        await_worker(state, run, now)
    elif run.unable_since is not None:
        _able_again(run, now, draft)
    return given


def _able_again(run: Run, now: Moment, draft: Draft) -> None:
    assert run.unable_since is not None
    waited = now.mono - run.unable_since
    run.unable_since = None
    if waited >= WORTH_TELLING:
        needs = ", ".join(run.job.requires) or "nothing"
        text = f"{waited:.1f} s without an able worker; requires {needs}"
        draft.events.append(runs.event("waited", now, run=run, detail=text))


def _takes_work(worker: Worker) -> bool:
    return (
        worker.nonce != ""
        and worker.is_open
        and not (worker.is_suspect or worker.is_lost or worker.is_draining or worker.is_leaving)
    )


def _is_settled(state: State, now: Moment) -> bool:
    """Every worker that discovery found has answered, or had time to."""
    if now.mono - state.led_since >= SETTLING:
        return True
    return state.has_discovery and all(worker.nonce for worker in state.workers.values())
