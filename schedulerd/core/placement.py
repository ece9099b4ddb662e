"""Which worker gets which subtask, now: round-robin over able workers with free slots. Nobody waits behind another.

Runs that wait stand in lanes, by what they require and which pools they are in. Lanes with the same requirement take
turns in the order their runs began to wait. A lane without an able worker, or whose workers or pools are full, costs
one look however many runs are in it.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

from schedulerd.core import attempts, runs
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordSubtasks
from schedulerd.core.stable import stable_hash
from schedulerd.core.state import Lane, Run, State, Subtask, Worker
from schedulerd.model.moment import Moment

WORTH_TELLING = 5.0  # seconds without an able worker, from which on it is told
PLACES_A_STEP = 500  # attempts given out in one step, so that steps stay short ...
PLACES_BEHIND = 100  # ... and fewer while fire times wait for theirs
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
    """Give out what waits to who is free, as much as one step gives."""
    left = PLACES_A_STEP if state.behind_since is None else PLACES_BEHIND
    state.is_unfinished = False
    groups: dict[tuple[str, ...], list[Lane]] = {}
    for lane in state.waiting:
        groups.setdefault(lane[0], []).append(lane)
    for requires, lanes in groups.items():
        able = able_workers(state, requires)
        if able:
            left -= _place_group(state, lanes, able, left, now, draft)
        else:
            for lane in lanes:
                for run in state.waiting[lane].values():
                    _mark_unable(state, run, now)
        for lane in lanes:
            if not state.waiting[lane]:
                del state.waiting[lane]


def _place_group(
    state: State, lanes: list[Lane], able: list[Worker], most: int, now: Moment, draft: Draft
) -> int:
    """Give out at most about `most` attempts; how many it were."""
    slots = sum(max(worker.free, 0) for worker in able)
    free = begun = min(slots, most)
    for run in _in_turn(state, lanes):
        if run.awaits_workers:
            if not _is_settled(state, now):
                continue
            expand_per_worker(run, able, now, draft)
        if run.pinned:
            free -= _place_pinned(state, run, able, now, draft)
        elif run.unable_since is not None:
            _able_again(run, now, draft)
        if free > 0 and run.pending:
            free -= _place_any(state, run, able, min(free, run.room), now, draft)
        if not run.is_waiting:
            del state.waiting[run.lane][run.id]
        elif free <= 0 and not run.pinned:
            break
    state.is_unfinished |= free <= 0 and slots > begun
    return begun - free


def _in_turn(state: State, lanes: list[Lane]) -> Iterator[Run]:
    """The runs of all lanes, who began to wait first comes first; a lane whose pools are full is left for later."""
    heads: list[tuple[int, Run, Iterator[Run]]] = []
    for lane in lanes:
        if state.has_room(lane[1]):
            following = iter(list(state.waiting[lane].values()))
            heads.extend((run.enlisted, run, following) for run in islice(following, 1))
    heapq.heapify(heads)  # numbers differ: runs are never compared
    while heads:
        _, run, following = heads[0]
        if not state.has_room(run.job.pools):
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
    while run.pending and given < most and (not pools or state.has_room(pools)):
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


def _place_pinned(state: State, run: Run, able: list[Worker], now: Moment, draft: Draft) -> int:
    given = 0
    is_unable = False
    for worker_id, subtasks in list(run.pinned.items()):
        worker = state.workers_by_id.get(worker_id)
        if worker is None or worker not in able:
            is_unable = True
            continue
        while subtasks and worker.free > 0 and run.room > 0 and state.has_room(run.job.pools):
            attempts.assign(state, run, subtasks.popleft(), worker, now, draft)
            given += 1
        if not subtasks:
            del run.pinned[worker_id]
    if is_unable:
        _mark_unable(state, run, now)
    elif run.unable_since is not None:
        _able_again(run, now, draft)
    return given


def _mark_unable(state: State, run: Run, now: Moment) -> None:
    if run.unable_since is None:
        run.unable_since = now.mono
        heapq.heappush(state.deadlines, (now.mono + run.job.dispatch_timeout / timedelta(seconds=1), run.id))


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
