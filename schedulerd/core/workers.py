"""What is known of workers: found by discovery, alive by heartbeats, judged lost only after a long silence.

Silence is measured on the leader's awake time, so that its own stalls do not count as theirs.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from schedulerd.core import attempts, ending, tally
from schedulerd.core.draft import Draft
from schedulerd.core.effects import Connect, Disconnect, Drop, StepDown
from schedulerd.core.events import FrameArrived, WorkersSeen
from schedulerd.core.inventories import alive, introduce, part
from schedulerd.core.runs import event
from schedulerd.core.state import Attempt, State, Worker
from schedulerd.model.moment import Moment
from schedulerd.protocol import messages as msg
from schedulerd.protocol.ids import is_within_reach

GREET = 0.1  # seconds between two Hellos to a worker just found that has not answered
GREET_FOR = 5.0  # seconds for which that goes on
MISMATCHES = 3  # heartbeats in a row with a foreign digest before an inventory is asked for


def seen(state: State, found: WorkersSeen, now: Moment, draft: Draft) -> None:
    """Discovery told what it knows: new addresses are connected; what is missing is only not found any more."""
    state.has_discovery = True
    listed = {worker.address: worker for worker in found.workers}
    for address, news in listed.items():
        worker = state.workers.get(address)
        if worker is None:
            worker = Worker(address, news.id, news.name, heard_at=state.awake)
            worker.greet_until = state.greet_until = now.mono + GREET_FOR
            state.workers[address] = worker
            if news.id:
                state.workers_by_id.setdefault(news.id, worker)
            draft.links.append(Connect(address, address))
        worker.is_found = True
    for address, worker in state.workers.items():
        if address not in listed:
            worker.is_found = False
    _drop_gone(state, draft)
    state.forget_able()


def arrived(state: State, frame: FrameArrived, now: Moment, draft: Draft) -> None:
    """A frame of a worker: known by id and nonce, or else an Inventory that introduces it."""
    envelope, message = frame.envelope, frame.message
    if envelope.epoch > state.epoch:
        _newer_epoch(state, envelope.epoch, frame, draft)
        return
    if isinstance(message, msg.Inventory):
        introduce(state, frame, message, now, draft)
        return
    worker = state.workers_by_id.get(envelope.sender)
    if worker is None:
        draft.drops.append(Drop("unknown_worker", envelope.sender))
    elif worker.nonce != envelope.sender_nonce:
        draft.drops.append(Drop("nonce", envelope.sender))
    elif (handler := HANDLERS.get(type(message))) is None:
        draft.drops.append(Drop("direction", envelope.sender))
    else:
        handler(state, worker, message, now, draft)


def _newer_epoch(state: State, epoch: int, frame: FrameArrived, draft: Draft) -> None:
    """A worker that was told of a newer leader says so to us by our own id; strangers do not know it."""
    envelope = frame.envelope
    if envelope.receiver != state.leader:
        draft.drops.append(Drop("not_for_us", envelope.sender))
    elif not is_within_reach(epoch, state.epoch):
        draft.drops.append(Drop("epoch", envelope.sender))
    else:
        draft.step_down = StepDown(epoch)


def beat(state: State, now: Moment, draft: Draft) -> None:
    """Every beat: greet every worker, and judge those that were silent, unless they may be heard in a moment."""
    for worker in list(state.workers.values()):
        if not state.has_unheard:
            _judge(state, worker, now, draft)
        _hello(state, worker, draft)
    for run in list(state.cancelled.values()):
        ending.end(state, run, draft)
    if not state.has_unheard:
        _lose_orphans(state, now, draft)
    _drop_gone(state, draft)


def _judge(state: State, worker: Worker, now: Moment, draft: Draft) -> None:
    silence = state.awake - worker.heard_at
    is_suspect = worker.nonce != "" and silence >= state.timing.suspect
    if is_suspect != worker.is_suspect:
        worker.is_suspect = is_suspect
        state.forget_able()
        if is_suspect and not worker.is_leaving:
            detail = f"no heartbeat for {silence:.1f} s"
            draft.events.append(event("worker_suspect", now, worker=worker.name, detail=detail))
    is_over = min(silence, state.awake) >= state.timing.lost
    if is_over and worker.nonce and not worker.is_lost:
        _lose(state, worker, now, draft)


def greet(state: State, now: Moment, draft: Draft) -> None:
    """Workers just found should not wait for the next beat: their connection may need a moment to stand."""
    if state.next_greet <= now.mono < state.greet_until:
        state.next_greet = now.mono + GREET
        for worker in state.workers.values():
            if is_greeted(worker, now):
                _hello(state, worker, draft)


def is_greeted(worker: Worker, now: Moment) -> bool:
    """It was just found and has not answered."""
    return not worker.nonce and now.mono < worker.greet_until


def _hello(state: State, worker: Worker, draft: Draft) -> None:
    draft.to(worker).others.append(
        msg.Hello(state.results, state.output, worker.heard, worker.address, worker.told)
    )


def _heartbeat(state: State, worker: Worker, beat: msg.Message, now: Moment, draft: Draft) -> None:
    assert isinstance(beat, msg.Heartbeat)
    if beat.number <= worker.heard:
        return
    worker.heard = beat.number
    worker.newest = beat
    tally.compare(state, worker, beat, now)
    alive(state, worker, beat.clock_ms, beat.state, now, draft)
    worker.mismatches = 0 if beat.digest == worker.digest else worker.mismatches + 1
    if worker.mismatches >= MISMATCHES:
        worker.mismatches = 0
        draft.to(worker).others.append(msg.Reconcile())


def _accepted(state: State, worker: Worker, message: msg.Message, now: Moment, draft: Draft) -> None:
    assert isinstance(message, msg.Accepted)
    for name in message.attempts:
        attempt = _attempt(state, worker, name)
        if attempt is not None:
            attempts.accepted(attempt, worker)


def _started(state: State, worker: Worker, message: msg.Message, now: Moment, draft: Draft) -> None:
    assert isinstance(message, msg.Started)
    for start in message.starts:
        attempt = _attempt(state, worker, start.attempt)
        if attempt is not None:
            at = datetime.fromtimestamp(start.started_utc_ms / 1000, UTC)
            attempts.started(state, attempt, worker, at, now, draft)


def _refused(state: State, worker: Worker, message: msg.Message, now: Moment, draft: Draft) -> None:
    assert isinstance(message, msg.Refused)
    if message.seen > state.epoch:
        if is_within_reach(message.seen, state.epoch):
            draft.step_down = StepDown(message.seen)
        else:
            draft.drops.append(Drop("epoch", worker.id))
        return
    for refusal in message.refusals:
        attempt = _attempt(state, worker, refusal.attempt)
        if (
            attempt is None or refusal.reason == "stale"
        ):  # of a former leader's frame: it may have the attempt
            continue
        worker.is_open = False  # until its next heartbeat: an order given at once would fare no better
        state.forget_able()
        end: msg.OutcomeState = "lost" if refusal.reason == "tombstone" else "unstarted"
        attempts.conclude(
            state, attempt, end, f"refused: {refusal.reason} {refusal.detail}".rstrip(), now, draft
        )


def _results(state: State, worker: Worker, message: msg.Message, now: Moment, draft: Draft) -> None:
    assert isinstance(message, msg.Result)
    acks = draft.to(worker).acks
    for outcome in message.outcomes:
        acks.append(outcome.attempt)
        attempt = state.attempts.get(outcome.attempt)
        if attempt is None:
            draft.late.append(outcome)
            _settle_late(state, outcome, now, draft)
        else:
            attempts.settle(state, attempt, outcome, now, draft)


def _settle_late(state: State, outcome: msg.Outcome, now: Moment, draft: Draft) -> None:
    """A success that comes after its attempt was called lost still settles its subtask while the run is open."""
    run_id, _, rest = outcome.attempt.partition("~")
    run = state.runs.get(run_id)
    if run is None or outcome.state != "succeeded":
        return
    index = rest.partition("~")[0]
    subtask = run.subtasks.get(int(index)) if index.lstrip("-").isdigit() else None
    if subtask is None or subtask.index < 0 or subtask.state.is_final or subtask.losses == 0:
        return
    if subtask in run.pending:
        run.pending.remove(subtask)
    elif subtask.pinned is not None and subtask in run.pinned.get(subtask.pinned, ()):
        run.pinned[subtask.pinned].remove(subtask)
        if not run.pinned[subtask.pinned]:
            del run.pinned[subtask.pinned]
    others = [attempt for attempt in run.live.values() if attempt.subtask is subtask]
    if others:  # another attempt is under way: its own outcome settles the subtask
        return
    attempts.settle_late(state, run, subtask, now, draft)


def _lose(state: State, worker: Worker, now: Moment, draft: Draft) -> None:
    worker.is_lost = True
    state.forget_able()
    draft.events.append(
        event("worker_lost", now, worker=worker.name, detail=f"no heartbeat for {state.timing.lost:g} s")
    )
    for attempt in list(worker.attempts.values()):
        attempts.conclude(state, attempt, "lost", "its worker was lost", now, draft)


def _lose_orphans(state: State, now: Moment, draft: Draft) -> None:
    """Attempts of workers that nobody has heard of since this leader took over."""
    if state.awake < state.timing.lost:
        return
    for attempt in list(state.attempts.values()):
        worker = state.workers_by_id.get(attempt.worker)
        if worker is None or (not worker.nonce and state.awake - worker.heard_at >= state.timing.lost):
            attempts.conclude(
                state, attempt, "lost", "its worker was not heard of since the takeover", now, draft
            )


def _drop_gone(state: State, draft: Draft) -> None:
    for address, worker in list(state.workers.items()):
        is_over = not worker.nonce or worker.is_lost or worker.is_leaving
        if not worker.is_found and is_over and not worker.attempts:
            del state.workers[address]
            part(state, worker)
            draft.links.append(Disconnect(address))
            draft.mail.pop(address, None)
            state.forget_able()


def _attempt(state: State, worker: Worker, name: str) -> Attempt | None:
    attempt = state.attempts.get(name)
    return attempt if attempt is not None and attempt.worker == worker.id else None


HANDLERS: dict[type[msg.Message], Callable[[State, Worker, msg.Message, Moment, Draft], None]] = {
    msg.Heartbeat: _heartbeat,
    msg.Accepted: _accepted,
    msg.Started: _started,
    msg.Refused: _refused,
    msg.Result: _results,
}
