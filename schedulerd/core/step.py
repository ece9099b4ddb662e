"""step(state, events, now) -> effects: the whole mind of the leader. A dispatch table, with no policy of its own."""

import heapq
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from schedulerd.core import (
    attempts,
    booting,
    clock_doubt,
    commands,
    firing,
    overlap,
    placement,
    releasing,
    runs,
    stages,
    takeover,
    tally,
    terms,
    waking,
    workers,
)
from schedulerd.core import events as ev
from schedulerd.core.draft import Draft
from schedulerd.core.effects import Effect, SetAlarm
from schedulerd.core.state import State
from schedulerd.model.moment import Moment
from schedulerd.protocol.messages import Outcome

TICK = 1.0  # seconds between two looks at what was not accepted
EXPIRED_A_STEP = 500  # runs whose dispatch_timeout is over and that fail in one step
STALL = 2.5  # seconds a step may be apart from the last before the rest counts as a stall of ours


def step(state: State, events: Sequence[ev.Event], now: Moment) -> list[Effect]:
    """Change `state` by `events` and the time, and return what must be done: records first, sends after.

    After a StepDown (then the only effect), or when the records could not be written, `state` must be thrown away.
    """
    draft = Draft()
    state.awake += min(max(now.mono - state.last_step, 0.0), STALL)
    state.last_step = now.mono
    state.has_unheard = state.is_unfinished = False
    for event in events:
        HANDLERS[type(event)](state, event, now, draft)
        if draft.step_down is not None:
            return draft.finish(now.utc)
    booting.fire_in_turn(state, now, draft)
    firing.fire_due(state, now, draft)
    releasing.release(state, now, draft)
    _expire(state, now, draft)
    terms.expire(state, now, draft)
    if now.mono >= state.next_beat:
        state.next_beat = now.mono + state.timing.beat
        workers.beat(state, now, draft)
        tally.tell(state, now, draft)
    workers.greet(state, now, draft)
    if now.mono >= state.next_tick:
        state.next_tick = now.mono + TICK
        for worker in list(state.workers.values()):
            attempts.chase(state, worker, now, draft)
    overlap.begin_waiting(state, now, draft)  # after everything that can close a run
    placement.place(state, now, draft)
    waking.trim(state)
    effects = draft.finish(now.utc)
    effects.append(_alarm(state, now))
    return effects


def _expire(state: State, now: Moment, draft: Draft) -> None:
    """What waited longer than its job's dispatch_timeout without an able worker fails, and says so."""
    for _ in range(EXPIRED_A_STEP):
        if not state.deadlines or state.deadlines[0][0] > now.mono:
            return
        due, run_id = heapq.heappop(state.deadlines)
        run = state.runs.get(run_id)
        if run is None or run.unable_since is None:
            continue
        if waking.worker_due(run, run.unable_since) > due:
            continue  # it was able in between: a later entry is in the heap
        waiting = placement.take_unable(state, run)
        if not waiting and placement.able_workers(state, run.job.requires):
            continue  # able again, only full
        timeout = run.job.dispatch_timeout / timedelta(seconds=1)
        needs = ", ".join(run.job.requires) or "nothing"
        text = f"no able worker for {timeout:g} s; requires {needs}"
        draft.events.append(runs.event("no_worker", now, run=run, detail=text))
        stages.give_up(state, run, waiting, now, draft)


def _alarm(state: State, now: Moment) -> SetAlarm:
    mono = now.mono if state.is_unfinished else state.next_beat
    # every worker is looked at only while there can be one: most steps are one heartbeat of a large fleet
    if state.attempts and any(worker.unaccepted for worker in state.workers.values()):
        mono = min(mono, state.next_tick)
    if now.mono < state.greet_until and any(
        workers.is_greeted(worker, now) for worker in state.workers.values()
    ):
        mono = min(mono, state.next_greet)
    if state.deadlines:
        mono = min(mono, state.deadlines[0][0])
    if state.terms:
        mono = min(mono, state.terms[0][0])
    if state.held_turns:
        mono = min(mono, state.next_release)
    return SetAlarm(state.fires[0][0] if state.fires else None, mono)


def _alarm_rang(state: State, event: ev.AlarmRang, now: Moment, draft: Draft) -> None:
    """The step itself looks at everything that can be due."""


def _leadership_gained(state: State, event: ev.LeadershipGained, now: Moment, draft: Draft) -> None:
    takeover.announce(state, event, now, draft)
    takeover.resume(state, now, draft)


def _clock_trusted(state: State, event: ev.ClockTrusted, now: Moment, draft: Draft) -> None:
    clock_doubt.believe(state)


def _host_booted(state: State, event: ev.HostBooted, now: Moment, draft: Draft) -> None:
    booting.await_boot(state, event.boot)


def _frames_waiting(state: State, event: ev.FramesWaiting, now: Moment, draft: Draft) -> None:
    state.has_unheard = True


def _send_failed(state: State, event: ev.SendFailed, now: Moment, draft: Draft) -> None:
    worker = state.workers.get(event.peer)
    if worker is not None and worker.is_open:
        worker.is_open = False
        state.forget_able()
    for name in event.attempts:
        attempt = state.attempts.get(name)
        if attempt is not None:
            attempts.send_failed(state, attempt, now, draft)


def _gather_too_large(state: State, event: ev.GatherTooLarge, now: Moment, draft: Draft) -> None:
    attempt = state.attempts.get(event.attempt)
    if attempt is not None:
        text = f"gather would read {event.size} bytes, more than the {event.limit} that can be sent"
        at = int(now.utc.timestamp() * 1000)
        attempts.settle(
            state, attempt, Outcome(attempt.id, "failed", "gather", text, finished_utc_ms=at), now, draft
        )


def _results_repeated(state: State, event: ev.ResultsRepeated, now: Moment, draft: Draft) -> None:
    tally.results_repeated(state, event.attempts, now)


HANDLERS: dict[type, Callable[[State, Any, Moment, Draft], None]] = {
    ev.AlarmRang: _alarm_rang,
    ev.LeadershipGained: _leadership_gained,
    ev.ClockTrusted: _clock_trusted,
    ev.HostBooted: _host_booted,
    ev.WorkersSeen: workers.seen,
    ev.FrameArrived: workers.arrived,
    ev.CommandGiven: commands.given,
    ev.SendFailed: _send_failed,
    ev.FramesWaiting: _frames_waiting,
    ev.GatherTooLarge: _gather_too_large,
    ev.ResultsRepeated: _results_repeated,
}
