"""Schedulers and ledgers that are spoilt on purpose, in one place each."""

from collections.abc import Sequence
from datetime import timedelta

from msgspec.structs import replace
from simulation.chronicle import RECORDS
from simulation.leader_shell import LeaderProcess
from simulation.planted import Planted
from simulation.shelf import SimulatedLedger

from schedulerd.core import effects as fx
from schedulerd.core.events import Event, FrameArrived
from schedulerd.core.state import State
from schedulerd.errors import StaleEpoch
from schedulerd.model.moment import Moment
from schedulerd.model.run import OpenRun, OpenWork, SubtaskState
from schedulerd.protocol.ids import GATHER, SETUP
from schedulerd.protocol.messages import Heartbeat, Inventory, Outcome, Result, ResultAck
from schedulerd.protocol.timing import Timing


class Hasty(LeaderProcess):
    """Sends first and commits after."""

    def perform(self, effects: Sequence[fx.Effect], now: Moment) -> None:
        """Orders, then the one transaction."""
        if effects and isinstance(effects[0], fx.StepDown):
            super().perform(effects, now)
            return
        for effect in effects:
            if type(effect) not in RECORDS:
                self._burn()
                self.order(effect)
        super().perform([effect for effect in effects if type(effect) in RECORDS], now)


class AcknowledgesFirst(LeaderProcess):
    """Has workers forget results that it is about to record."""

    def perform(self, effects: Sequence[fx.Effect], now: Moment) -> None:
        """The acknowledgements, then all the rest."""
        for effect in effects:
            if isinstance(effect, fx.Send) and isinstance(effect.message, ResultAck):
                self.order(effect)
        super().perform(effects, now)


class Stubborn(LeaderProcess):
    """Goes on as if a commit that a newer epoch kept it from had been made."""

    def commit(self, records: Sequence[fx.Record], now: Moment) -> None:
        """Whether or not."""
        try:
            super().commit(records, now)
        except StaleEpoch:
            pass


class ForgetsMarks(LeaderProcess):
    """Does not persist the high-water marks."""

    def commit(self, records: Sequence[fx.Record], now: Moment) -> None:
        """Everything but them."""
        super().commit([record for record in records if not isinstance(record, fx.RecordMarks)], now)


class ForgetsSkips(LeaderProcess):
    """Moves the marks over fire times that it has written nothing about."""

    def commit(self, records: Sequence[fx.Record], now: Moment) -> None:
        """Everything but the skips."""
        super().commit([record for record in records if not isinstance(record, fx.RecordSkips)], now)


class CatchesUpTwice(LeaderProcess):
    """After a takeover counts from a while before the marks, and gives what it finds another name."""

    def rebuilt(self, work: OpenWork, now: Moment) -> State:
        """With marks that lie too early."""
        rows = tuple(replace(row, mark=row.mark - timedelta(seconds=30)) for row in work.jobs)
        return super().rebuilt(replace(work, jobs=rows), now)


class Impatient(LeaderProcess):
    """Calls workers lost long before the lease rule has ended what they run."""

    timing = Timing(lost=12.0)


class RetriesLost(LeaderProcess):
    """Takes lost attempts for such that never started, whatever `on_lost` says."""

    def step(self, events: Sequence[Event], now: Moment) -> list[fx.Effect]:
        """With their outcomes changed on the way in."""
        return super().step([_unstarted(event) for event in events], now)


def _unstarted(event: Event) -> Event:
    if not isinstance(event, FrameArrived) or not isinstance(event.message, Result):
        return event
    outcomes = [
        Outcome(outcome.attempt, "unstarted", "expired") if outcome.state == "lost" else outcome
        for outcome in event.message.outcomes
    ]
    return FrameArrived(event.envelope, Result(outcomes))


class Credulous(LeaderProcess):
    """Takes what an inventory does not list for something that the worker will never start."""

    def step(self, events: Sequence[Event], now: Moment) -> list[fx.Effect]:
        """Without waiting until it has expired."""
        assert self.state is not None
        for event in events:
            if isinstance(event, FrameArrived) and isinstance(event.message, Inventory):
                worker = self.state.workers_by_id.get(event.envelope.sender)
                for attempt in worker.unaccepted.values() if worker is not None else ():
                    attempt.expiry_clock_ms = 0
        return super().step(events, now)


class TrustsCopies(LeaderProcess):
    """Lets a daemon with a known id at another address take the first one's place as soon as that is silent."""

    def step(self, events: Sequence[Event], now: Moment) -> list[fx.Effect]:
        """As if the first one had said goodbye."""
        assert self.state is not None
        for worker in self.state.workers.values():
            worker.is_leaving = worker.is_leaving or self.state.awake - worker.heard_at > 6.0
        return super().step(events, now)


class HearsWhoeverComesFirst(LeaderProcess):
    """Lets any daemon with a known id speak for what a former leader gave to another one."""

    def step(self, events: Sequence[Event], now: Moment) -> list[fx.Effect]:
        """As if the ledger did not tell with whom that leader spoke."""
        assert self.state is not None
        self.state.spoken_with.clear()
        return super().step(events, now)


class HearsNoCounts(LeaderProcess):
    """Begins to count what workers count with the first heartbeat that it hears itself."""

    def step(self, events: Sequence[Event], now: Moment) -> list[fx.Effect]:
        """As if no leader before had told anything."""
        return super().step([_untold(event) for event in events], now)


def _untold(event: Event) -> Event:
    if not isinstance(event, FrameArrived) or not isinstance(event.message, Heartbeat):
        return event
    return FrameArrived(event.envelope, replace(event.message, told=None))


class GathersTwice(LeaderProcess):
    """After a takeover does not believe that gather has run, as long as teardown has yet to end."""

    def rebuilt(self, work: OpenWork, now: Moment) -> State:
        """With gather still to come."""
        runs = tuple(_with_state(run, GATHER, SubtaskState.PENDING) for run in work.runs)
        return super().rebuilt(replace(work, runs=runs), now)


class HurriesSetup(LeaderProcess):
    """After a takeover takes setup for done that was under way."""

    def rebuilt(self, work: OpenWork, now: Moment) -> State:
        """With its subtasks to come at once."""
        runs = tuple(_with_state(run, SETUP, SubtaskState.SUCCEEDED) for run in work.runs)
        return super().rebuilt(replace(work, runs=runs), now)


def _with_state(run: OpenRun, index: int, state: SubtaskState) -> OpenRun:
    parts = (replace(part, state=state) if part.index == index else part for part in run.subtasks)
    left = tuple(one for one in run.attempts if one.attempt.subtask != index)
    return replace(run, subtasks=tuple(parts), attempts=left)


class ForgetsTeardown(LeaderProcess):
    """Lets a run whose end was asked for end without its teardown."""

    def step(self, events: Sequence[Event], now: Moment) -> list[fx.Effect]:
        """As if its job had none."""
        assert self.state is not None
        for run in self.state.runs.values():
            if run.is_cancelled:
                run.definition = replace(run.definition, job=replace(run.definition.job, teardown=None))
        return super().step(events, now)


class Wide(LeaderProcess):
    """Gives out a run's subtasks wherever there is room."""

    def step(self, events: Sequence[Event], now: Moment) -> list[fx.Effect]:
        """As if no job said how many at once."""
        assert self.state is not None
        for run in self.state.runs.values():
            run.definition = replace(run.definition, job=replace(run.definition.job, max_parallel=None))
        return super().step(events, now)


class UnfencedLedger(SimulatedLedger):
    """Takes records of any epoch."""

    def _check_epoch(self, epoch: int) -> None:
        """No."""


LEADERS = {
    "send before commit": (Planted.of("send before commit", leader=Hasty), {"order", "P2"}),
    "acknowledged before recorded": (
        Planted.of("acknowledged before recorded", leader=AcknowledgesFirst),
        {"P3"},
    ),
    "a deposed leader sends on": (Planted.of("a deposed leader sends on", leader=Stubborn), {"order"}),
    "epoch unchecked by the ledger": (
        Planted.of("epoch unchecked by the ledger", ledger=UnfencedLedger),
        {"P4"},
    ),
    "marks not persisted": (Planted.of("marks not persisted", leader=ForgetsMarks), {"content"}),
    "skips not recorded": (Planted.of("skips not recorded", leader=ForgetsSkips), {"P1"}),
    "catch-up doubled": (Planted.of("catch-up doubled", leader=CatchesUpTwice), {"content"}),
    "lost before the lease rule": (Planted.of("lost before the lease rule", leader=Impatient), {"overlap"}),
    "lost retried in spite of on_lost": (Planted.of("lost retried", leader=RetriesLost), {"P2"}),
    "an inventory frees too early": (Planted.of("an inventory frees too early", leader=Credulous), {"P3"}),
    "gather run twice": (Planted.of("gather run twice", leader=GathersTwice), {"once"}),
    "setup taken for done": (Planted.of("setup taken for done", leader=HurriesSetup), {"stages"}),
    "teardown forgotten after a cancel": (
        Planted.of("teardown forgotten after a cancel", leader=ForgetsTeardown),
        {"teardown"},
    ),
    "max_parallel ignored": (Planted.of("max_parallel ignored", leader=Wide), {"width"}),
    "copies trusted": (Planted.of("copies trusted", leader=TrustsCopies), {"overlap"}),
    "counts between leaders untold": (Planted.of("counts untold", leader=HearsNoCounts), {"P7"}),
    "whoever comes first after a takeover": (
        Planted.of("whoever comes first", leader=HearsWhoeverComesFirst),
        {"overlap"},
    ),
}
