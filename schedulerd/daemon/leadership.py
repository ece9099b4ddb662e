"""One leadership: while the lease holds, take what has arrived, step once, commit once, then send.

Leaves to the loop when there is one, and what follows. There is one way to begin and one way to recover: take the next
epoch and rebuild the State from the ledger.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schedulerd.adapters.alarm import Alarm
from schedulerd.adapters.collector import Collector
from schedulerd.adapters.election import LeaderCard, Lease
from schedulerd.adapters.ledger.base import Ledger
from schedulerd.adapters.outbox import Outbox
from schedulerd.core.effects import Effect, RecordEvent, StepDown
from schedulerd.core.events import (
    AlarmRang,
    ClockTrusted,
    CommandGiven,
    Event,
    FrameArrived,
    FramesWaiting,
    HostBooted,
    LeadershipGained,
    WorkersSeen,
)
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.perform import LeaseOver, Performer, Watch
from schedulerd.daemon.pulse import TAKEOVER, Pulse
from schedulerd.daemon.succession import OF_OWN_WILL, Succession
from schedulerd.errors import CommandError, LedgerContentError, LedgerError
from schedulerd.hostkit import clock
from schedulerd.model.moment import Moment
from schedulerd.model.run import Former
from schedulerd.protocol.messages import Result
from schedulerd.protocol.timing import Timing

EVENTS = 500  # events a step takes at most from the inbox, and parts of frames from the socket: short steps, in which
# workers go on with what they have while the next part is recorded, and nothing that is due waits long
PATIENCE_MS = 2000  # how long the loop waits without any event; for the watchdog's sake
SUSPICION = 30.0  # seconds for which events are taken one by one after a batch was refused
PAUSE = 1.0  # seconds to the next try after the refusal of what comes again by itself
OF_BEGINNING = (LeadershipGained, HostBooted, WorkersSeen)  # what every rebuilt State is told anew

log = logging.getLogger(__name__)


class CoreFault(Exception):
    """A step raised what it never should; its cause says what."""


class SteppedDown(Exception):
    """Somebody asked this leader to let another lead."""


class ForeignLedger(Exception):
    """This scheduler was elected, and its ledger is another than that of who led before."""

    def __init__(self, own: str, before: LeaderCard) -> None:
        super().__init__(own)
        self.own = own  # the ledger's id; empty: nobody has led by it yet
        self.before = before


@dataclass(kw_only=True)
class Means:
    """What outlives a leadership: the loop makes it once, every leadership works with it."""

    collector: Collector
    inbox: Inbox
    alarm: Alarm
    pulse: Pulse
    trust: ClockTrust
    succession: Succession
    timing: Timing
    leader: str  # id of this scheduler
    nonce: str  # of this process
    results: str  # tcp://HOST:PORT that workers are told
    output: str
    watches: Sequence[Watch]
    stopping: threading.Event
    begun: threading.Event
    on_fenced: Callable[[], None]
    on_gained: Callable[[bool], None]
    found: WorkersSeen | None = None  # what discovery said last

    def resign(self, reason: str, why: str) -> None:
        """We lead no more: reason in a word, and in a sentence. A leadership that somebody else ended was fenced."""
        self.pulse.is_leading = False
        self.pulse.trouble = why
        has_ended = self.succession.end(reason, why, self.pulse.epoch)
        if has_ended and reason not in OF_OWN_WILL:
            self.on_fenced()
        self.inbox.refuse_all(f"schedulerd does not lead: {why}")


class Leadership:
    """Used by the loop's thread, once."""

    def __init__(self, means: Means, ledger: Ledger, outbox: Outbox, lease: Lease) -> None:
        self._means = means
        self._ledger = ledger
        self._outbox = outbox
        self._lease = lease

    def lead(self, seen: int) -> int:
        """From its epoch to its end; returns the epoch that ended it. `seen`: an epoch that a worker has seen.

        Raises SteppedDown, LeaseOver and LedgerError, each of which ends it too.
        """
        means, pulse, collector = self._means, self._means.pulse, self._means.collector
        ledger, outbox, lease = self._ledger, self._outbox, self._lease
        self._require_own_ledger()
        now = _now()
        epoch = ledger.lead(means.leader, seen, now.utc)
        state, has_table, former = self._rebuild(epoch, now)
        performer = Performer(
            ledger=ledger,
            outbox=outbox,
            alarm=means.alarm,
            inbox=means.inbox,
            lease=lease,
            epoch=epoch,
            leader=means.leader,
            nonce=means.nonce,
            watches=means.watches,
        )
        pulse.epoch = epoch
        log.info("leading  epoch=%d jobs=%d open_runs=%d", epoch, len(state.jobs), len(state.runs))
        news: list[Effect] = [*means.succession.begin(epoch, now.utc, former, ledger.identity())]
        means.alarm.rang()
        events = self._beginning(is_new=True)
        singly_until = 0.0  # mono: while a culprit is looked for, every event is a batch of its own
        while not means.stopping.is_set():
            if pulse.asked_down:
                self._hand_over(performer, f"asked by {pulse.asked_down}", news)
            now = _now()
            count = 1 if now.mono < singly_until else len(events)
            batch, events = events[:count], events[count:]
            try:
                effects = _stepped(state, batch, now)
                if isinstance(effects[0], StepDown):
                    newer = effects[0].seen
                    means.resign("newer_epoch", f"a worker has seen epoch {newer}, ours is {epoch}")
                    return newer
                performer.perform([*news, *effects], now)
            except (LedgerContentError, CoreFault) as error:
                log.error("a batch was refused: %s; nothing of it was done", error, exc_info=error.__cause__)
                outbox.close()
                if len(batch) > 1:
                    events = [*batch, *events]
                else:
                    self._reject(performer, batch, error)
                    if not batch or isinstance(batch[0], (AlarmRang, *OF_BEGINNING)):
                        means.stopping.wait(PAUSE)
                singly_until = now.mono + SUSPICION
                state, *_ = self._rebuild(epoch, _now())
                events = [event for event in events if not isinstance(event, OF_BEGINNING)]
                events = [*self._beginning(), *events]
                continue
            if not pulse.is_leading:
                news = []
                means.succession.recorded()
                pulse.is_leading, pulse.trouble = True, ""
                means.on_gained(has_table)
            means.begun.set()
            pulse.finished()
            pulse.lag = pulse.progress - now.mono
            if events:
                continue
            if pulse.is_upkeep_due and lease.holds():
                pulse.is_upkeep_due = ledger.maintain(now.utc)
            collector.wait(PATIENCE_MS)
            if not lease.holds():
                raise LeaseOver(lease.lost)
            events = self._take()
        self._say_farewell(performer, "stopping", "schedulerd is stopping", news)
        return seen

    def _hand_over(self, performer: Performer, why: str, news: Sequence[Effect]) -> None:
        self._means.pulse.asked_down = ""
        self._say_farewell(performer, "stepped_down", why, news)
        raise SteppedDown(why)

    def _say_farewell(self, performer: Performer, reason: str, why: str, news: Sequence[Effect]) -> None:
        """An end of our own will, while the lease holds: it is recorded, and the next leader need not guess.

        `news`: what the begin was to record, when there was no round in between that could.
        """
        self._means.resign(reason, why)
        try:
            performer.perform([*news, self._means.succession.farewell()[-1]], _now())
            self._means.succession.recorded()
        except (LedgerError, LeaseOver) as error:
            log.warning("the end of this leadership was not recorded: %s", error)

    def _beginning(self, is_new: bool = False) -> list[Event]:
        """What a State that was just rebuilt is told first."""
        found = [self._means.found] if self._means.found is not None else []
        return [LeadershipGained(is_new), HostBooted(clock.boot_id()), *found]

    def _reject(
        self,
        performer: Performer,
        batch: Sequence[Event],
        error: LedgerContentError | CoreFault,
    ) -> None:
        """The one event that cannot be done: record it, answer or acknowledge it, so that it does not come back."""
        detail = f"{type(batch[0]).__name__ if batch else 'the time'}: {error}"[:2000]
        log.error("an event was rejected, it changes nothing: %s", detail)
        if not self._lease.holds():
            raise LeaseOver(self._lease.lost)
        rejected = RecordEvent(type="rejected", time=clock.utc_now(), detail=detail)
        self._ledger.commit(self._means.pulse.epoch, [rejected])
        performer.show([rejected])
        for event in batch:
            if isinstance(event, CommandGiven):
                self._means.inbox.answer(event.token, CommandError("invalid", f"it was refused: {error}"))
            elif isinstance(event, FrameArrived) and isinstance(event.message, Result):
                address = self._address_of(event.envelope.sender)
                performer.acknowledge(address, event.envelope, event.message)

    def _address_of(self, worker: str) -> str:
        """Where discovery found this worker; empty when it did not tell."""
        found = self._means.found.workers if self._means.found is not None else ()
        return next((one.address for one in found if one.id == worker), "")

    def _take(self) -> list[Event]:
        events = self._means.inbox.take(EVENTS)
        for event in events:
            if isinstance(event, AlarmRang):
                self._means.alarm.rang()
            elif isinstance(event, WorkersSeen):
                self._means.found = event
                self._means.pulse.has_workers = True
        if not self._means.trust.is_given and self._means.trust.look():
            events.insert(0, ClockTrusted())
        events.extend(
            FrameArrived(frame.envelope, frame.message) for frame in self._means.collector.take(EVENTS)
        )
        if self._means.collector.has_more:
            events.append(FramesWaiting())
        return events

    def _require_own_ledger(self) -> None:
        """The cluster's record is one ledger: whoever led before kept this one. Raises ForeignLedger."""
        before = self._means.succession.before
        if before is not None and before.id != self._means.leader and before.ledger_id:
            own = self._ledger.identity()
            if own != before.ledger_id:
                raise ForeignLedger(own, before)

    def _rebuild(self, epoch: int, now: Moment) -> tuple[State, bool, Former | None]:
        """The State as the ledger tells it, whether a job table was ever accepted, and who led before."""
        self._means.pulse.allowance = TAKEOVER
        work = self._ledger.load()
        state = rebuild(
            work,
            epoch=epoch,
            leader=self._means.leader,
            results=self._means.results,
            output=self._means.output,
            timing=self._means.timing,
            now=now,
            doubts_clock=not self._means.trust.is_given,
        )
        return state, bool(work.jobs) or work.has_table, work.former


def _stepped(state: State, events: Sequence[Event], now: Moment) -> list[Effect]:
    """The core's step; anything it raises is a fault of ours that must not end the leader. Raises CoreFault."""
    try:
        return step(state, events, now)
    except Exception as error:
        raise CoreFault(f"the core failed with {type(error).__name__}: {error}") from error


def _now() -> Moment:
    return Moment(clock.utc_now(), clock.boot_seconds())
