"""Collects what one step orders, and puts it in the order that may never change: records first, sends after."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from schedulerd.core import effects as fx
from schedulerd.core.state import Worker
from schedulerd.model.run import NewAttempt, NewRun, Skip, SubtaskState
from schedulerd.protocol import messages as msg
from schedulerd.protocol.codec import in_frames


@dataclass(slots=True)
class Mail:
    """What one worker will be sent."""

    dispatches: list[tuple[msg.Spec, msg.Order]] = field(default_factory=list)
    gathers: list[tuple[str, msg.Spec, msg.Order]] = field(default_factory=list)
    acks: list[str] = field(default_factory=list)
    cancels: dict[msg.Cancellation, None] = field(default_factory=dict)
    revokes: list[str] = field(default_factory=list)
    others: list[msg.Message] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """The effects of one step, in the making."""

    tables: list[fx.Record] = field(
        default_factory=list
    )  # jobs, removals, pauses: in the order they were decided
    backfills: list[fx.RecordBackfill] = field(default_factory=list)
    runs: list[NewRun] = field(default_factory=list)
    reopened: list[fx.RecordReopening] = field(default_factory=list)
    rounds: list[fx.RecordRound] = field(default_factory=list)
    subtasks: list[fx.RecordSubtasks] = field(default_factory=list)
    requeued: dict[str, list[int]] = field(default_factory=dict)  # run -> subtasks that wait once more
    attempts: list[NewAttempt] = field(default_factory=list)
    started: dict[str, datetime] = field(default_factory=dict)
    outcomes: list[msg.Outcome] = field(default_factory=list)
    late: list[msg.Outcome] = field(default_factory=list)
    states: dict[str, list[tuple[int, SubtaskState, str]]] = field(default_factory=dict)
    results: list[fx.RecordResult] = field(default_factory=list)
    cancels: list[fx.RecordCancel] = field(default_factory=list)
    closed: list[fx.CloseRun] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    marks: dict[str, datetime] = field(default_factory=dict)
    anchors: dict[str, datetime] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    boots: dict[str, str] = field(default_factory=dict)
    events: list[fx.RecordEvent] = field(default_factory=list)
    mail: dict[str, tuple[Worker, Mail]] = field(default_factory=dict)
    links: list[fx.Effect] = field(default_factory=list)
    replies: list[fx.Reply] = field(default_factory=list)
    drops: list[fx.Drop] = field(default_factory=list)
    tallies: dict[tuple[str, str], int] = field(default_factory=dict)  # (what, label) -> how often
    step_down: fx.StepDown | None = None

    def to(self, worker: Worker) -> Mail:
        """The mail for `worker`."""
        entry = self.mail.get(worker.address)
        if entry is None:
            entry = self.mail[worker.address] = (worker, Mail())
        return entry[1]

    def count(self, what: str, label: str = "", by: int = 1) -> None:
        """For a counter."""
        self.tallies[what, label] = self.tallies.get((what, label), 0) + by

    def finish(self, now: datetime) -> list[fx.Effect]:
        """Records, then links and sends, then replies. A StepDown leaves nothing else."""
        if self.step_down is not None:
            return [self.step_down]
        effects: list[fx.Effect] = [*self.tables, *self.backfills]
        if self.runs:
            effects.append(fx.RecordRuns(tuple(self.runs)))
        effects.extend(self.reopened)
        effects.extend(self.rounds)
        effects.extend(self.subtasks)
        # before the attempts: what waits once more may have been given out again in the same step
        effects.extend(
            fx.RecordSubtaskStates(run, tuple((index, SubtaskState.PENDING, "") for index in indexes))
            for run, indexes in self.requeued.items()
        )
        if self.attempts:
            effects.append(fx.RecordAttempts(tuple(self.attempts)))
        if self.started:
            effects.append(fx.RecordStarted(tuple(self.started.items())))
        if self.outcomes:
            effects.append(fx.RecordOutcomes(tuple(self.outcomes)))
        if self.late:
            effects.append(fx.RecordLateResults(tuple(self.late), now))
        effects.extend(fx.RecordSubtaskStates(run, tuple(states)) for run, states in self.states.items())
        effects.extend(self.results)
        effects.extend(self.cancels)
        effects.extend(self.closed)
        if self.skips:
            effects.append(fx.RecordSkips(tuple(self.skips), now))
        if self.marks:
            effects.append(fx.RecordMarks(tuple(self.marks.items())))
        if self.anchors:
            effects.append(fx.RecordAnchors(tuple(self.anchors.items())))
        if self.counts:
            effects.append(fx.RecordRunCounts(tuple(self.counts.items())))
        if self.boots:
            effects.append(fx.RecordBoots(tuple(self.boots.items())))
        effects.extend(self.events)
        effects.extend(self.links)
        for worker, mail in self.mail.values():
            effects.extend(_sends(worker, mail))
        effects.extend(self.replies)
        effects.extend(self.drops)
        effects.extend(fx.Count(what, label, by) for (what, label), by in self.tallies.items())
        return effects


def _sends(worker: Worker, mail: Mail) -> Iterator[fx.Effect]:
    """Acknowledgements first (they free the worker), work last."""
    if mail.acks:
        for acks in in_frames(mail.acks, len):
            yield _send(worker, msg.ResultAck(acks))
    if mail.revokes:
        yield _send(worker, msg.Revoke(mail.revokes))
    if mail.cancels:
        yield _send(worker, msg.Cancel(list(mail.cancels)))
    for message in mail.others:
        yield _send(worker, message)
    if mail.dispatches:
        for batch in in_frames(mail.dispatches, _weight):
            specs: list[msg.Spec] = []
            places: dict[int, int] = {}
            orders: list[msg.Order] = []
            for spec, order in batch:
                place = places.get(id(spec))
                if place is None:
                    place = places[id(spec)] = len(specs)
                    specs.append(spec)
                orders.append(order if order.spec == place else _placed(order, place))
            yield _send(worker, msg.Dispatch(specs, orders))
    for run, spec, order in mail.gathers:
        yield fx.SendGather(worker.address, worker.id, worker.nonce, run, spec, order)


def _send(worker: Worker, message: msg.Message) -> fx.Send:
    return fx.Send(worker.address, worker.id, worker.nonce, message)


def _weight(pair: tuple[msg.Spec, msg.Order]) -> int:
    """Bytes on the wire, roughly; a spec is counted with each order, which only makes frames smaller."""
    spec, order = pair
    return 200 + len(order.item or "") + len(spec.text) + sum(map(len, spec.argv))


def _placed(order: msg.Order, place: int) -> msg.Order:
    return msg.Order(
        order.attempt,
        place,
        order.expiry_clock_ms,
        order.fence,
        order.item,
        order.stdin,
        order.previous,
        order.env,
    )
