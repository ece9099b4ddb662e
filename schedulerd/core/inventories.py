"""A worker introduces itself: who it is, whether it may be that, and what it holds against what we think it holds.

Its heartbeats and everything else it says are in workers.py.
"""

from schedulerd.core import attempts, tally
from schedulerd.core.draft import Draft
from schedulerd.core.effects import Drop
from schedulerd.core.events import FrameArrived
from schedulerd.core.runs import event
from schedulerd.core.state import State, Worker
from schedulerd.model.moment import Moment
from schedulerd.protocol import messages as msg
from schedulerd.protocol.codec import digest_of

FORMER = 8  # nonces of earlier boots that are remembered of a worker


def introduce(state: State, frame: FrameArrived, inventory: msg.Inventory, now: Moment, draft: Draft) -> None:
    """A worker tells who it is and what it holds: a new one, a new boot, or one that was asked to."""
    envelope = frame.envelope
    if envelope.epoch < state.epoch:  # taken before it had heard of this leader: it may hold more by now
        draft.drops.append(Drop("late", envelope.sender))
        return
    worker = _linked(state, frame, inventory)
    if worker is None:
        draft.drops.append(Drop("unknown_worker", envelope.sender))
        return
    if not _has_a_word(state, envelope.sender, envelope.sender_nonce, inventory.former):
        _refuse(state, worker, frame, now, draft)
        return
    before = state.workers_by_id.get(envelope.sender)
    holder = before if before is not None else worker
    is_other_boot = holder.nonce not in ("", envelope.sender_nonce)
    is_old = inventory.clock_ms < holder.clock_ms if holder.nonce == envelope.sender_nonce else False
    if is_old or envelope.sender_nonce in holder.former:
        draft.drops.append(Drop("late", envelope.sender))
        return
    # At another address it may be a copy of the state directory, while the first one runs on unheard: nothing is known
    # of what that one holds until the lease rule has ended it. But the lock of the same directory has one owner.
    is_restarted = inventory.place != "" and inventory.place == holder.place
    is_moved = before is not None and before is not worker and not is_restarted
    is_over = holder.is_lost if is_moved else state.awake - holder.heard_at >= state.timing.suspect
    if is_other_boot and not holder.is_leaving and not is_over:
        _refuse(state, holder, frame, now, draft)
        return
    if worker.id and worker.id != envelope.sender:  # another daemon listens at this address now
        is_heard = not worker.is_leaving and state.awake - worker.heard_at < state.timing.suspect
        # its journal is not that of the one before: on what that one holds it has no word, until the lease rule has
        if worker.nonce and (is_heard or (worker.attempts and not worker.is_lost)):
            _refuse(state, worker, frame, now, draft)
            return
        part(state, worker)
    if before is not None and before is not worker:
        worker.attempts, worker.unaccepted, worker.digest = before.attempts, before.unaccepted, before.digest
        before.attempts, before.unaccepted, before.digest, before.nonce, before.id = {}, {}, 0, "", ""
        before.is_found = False
    is_new = worker.nonce != envelope.sender_nonce
    if is_other_boot:
        worker.former = (*holder.former, holder.nonce)[-FORMER:]
    worker.id = envelope.sender
    state.workers_by_id[worker.id] = worker
    state.spoken_with.pop(worker.id, None)
    worker.nonce = envelope.sender_nonce
    worker.name, worker.slots, worker.version = inventory.name, inventory.slots, inventory.version
    worker.labels = frozenset(inventory.labels)
    worker.place = inventory.place
    if is_new:
        worker.heard = 0
        worker.newest = worker.counts = worker.told = None
        worker.is_leaving = worker.is_suspect = worker.is_lost = worker.is_draining = False
        draft.events.append(event("worker_joined", now, worker=worker.name, detail=worker.address))
    alive(state, worker, inventory.clock_ms, inventory.state, now, draft)
    state.forget_able()
    _adopt(state, worker, now)
    _compare(state, worker, inventory, now, draft)


def _linked(state: State, frame: FrameArrived, inventory: msg.Inventory) -> Worker | None:
    """The worker at the address whose Hello this answers.

    An address that is known no more may be a copy's: only the boot that we know is believed from there.
    """
    found = state.workers.get(inventory.link)
    if found is not None:
        return found
    known = state.workers_by_id.get(frame.envelope.sender)
    is_known = known is not None and (not inventory.link or known.nonce == frame.envelope.sender_nonce)
    return known if is_known else None


def _has_a_word(state: State, worker: str, nonce: str, former: list[str]) -> bool:
    """Whether a daemon may speak for what this leader has found open of its id.

    That is the boot which the leader before spoke with, or a later one with its journal in its place. A copy of its
    state directory, which may answer sooner, knows nothing of what the first one has begun since; it waits until that
    one was heard, or everything it may hold is lost by the lease rule.
    """
    known = state.spoken_with.get(worker, nonce)
    is_known = nonce == known or known in former
    return is_known or not any(attempt.worker == worker for attempt in state.attempts.values())


def _refuse(state: State, holder: Worker, frame: FrameArrived, now: Moment, draft: Draft) -> None:
    """A second daemon under one name is not believed while the first is heard; it may knock as often as it likes."""
    draft.drops.append(Drop("duplicate_worker", frame.envelope.sender))
    boot = f"boot {frame.envelope.sender_nonce[:8]}"
    tally.repeated(state, tally.REFUSED, now, worker=holder.name or holder.address, first=boot)


def _adopt(state: State, worker: Worker, now: Moment) -> None:
    """Attempts that a takeover found in the ledger belong to this worker object from now on."""
    for attempt in state.attempts.values():
        if attempt.worker == worker.id and attempt.id not in worker.attempts:
            worker.attempts[attempt.id] = attempt
            if attempt.expiry_clock_ms is None:
                attempt.expiry_clock_ms = worker.clock_ms + int((attempt.expires_at - now.mono) * 1000)
            if attempt.is_accepted:
                attempt.digest = digest_of(attempt.id)
                worker.digest ^= attempt.digest
            else:
                worker.unaccepted[attempt.id] = attempt


def _compare(state: State, worker: Worker, inventory: msg.Inventory, now: Moment, draft: Draft) -> None:
    """What the worker says it holds against what we think it holds."""
    running, ended = set(inventory.running), set(inventory.ended)
    held = running | ended | set(inventory.accepted)
    for attempt in list(worker.attempts.values()):
        if attempt.id in held:
            attempts.accepted(attempt, worker)
            if attempt.id in running:
                attempts.started(state, attempt, worker, now.utc, now, draft)
        elif attempt.nonce != worker.nonce:
            end: msg.OutcomeState = "lost" if attempt.is_accepted else "unstarted"
            attempts.conclude(
                state, attempt, end, "not in the worker's journal after its restart", now, draft
            )
        elif attempt.expiry_clock_ms is not None and inventory.clock_ms > attempt.expiry_clock_ms:
            # Until then it may have been accepted since the inventory was taken.
            if attempt.is_accepted:
                attempts.conclude(state, attempt, "lost", "the worker does not have it any more", now, draft)
            else:
                attempts.conclude(state, attempt, "unstarted", "the worker does not have it", now, draft)
    worker.mismatches = 0


def alive(state: State, worker: Worker, clock_ms: int, said: str, now: Moment, draft: Draft) -> None:
    """It has been heard of just now: heartbeat or inventory."""
    was = (worker.is_suspect, worker.is_lost, worker.is_open, worker.is_draining, worker.is_leaving)
    if worker.is_suspect or worker.is_lost:
        text = f"heard again after {state.awake - worker.heard_at:.1f} s"
        draft.events.append(event("worker_returned", now, worker=worker.name, detail=text))
    if said == "draining" and not worker.is_draining:
        draft.events.append(event("worker_draining", now, worker=worker.name, detail="it takes nothing new"))
    elif said == "leaving" and not worker.is_leaving:
        draft.events.append(event("worker_left", now, worker=worker.name, detail="it said goodbye"))
    worker.heard_at = state.awake
    worker.last_seen = now.utc
    worker.clock_ms, worker.clock_at = clock_ms, now.mono
    worker.is_suspect = worker.is_lost = False
    worker.is_open = True
    worker.is_draining = said != "ready"
    worker.is_leaving = said == "leaving"
    if was != (worker.is_suspect, worker.is_lost, worker.is_open, worker.is_draining, worker.is_leaving):
        state.forget_able()


def part(state: State, worker: Worker) -> None:
    """No other worker of this id is known any more."""
    if state.workers_by_id.get(worker.id) is worker:
        del state.workers_by_id[worker.id]
