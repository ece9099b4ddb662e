"""The leader's loop: take what has arrived, step once, commit once, then send. Owns State, ledger and sockets.

There is one way to begin and one way to recover: take the next epoch and rebuild the State from the ledger.
"""

import logging
import socket
import threading
import uuid
from collections.abc import Callable, Sequence

from schedulerd.adapters.alarm import Alarm
from schedulerd.adapters.collector import Collector
from schedulerd.adapters.ledger.base import Ledger
from schedulerd.adapters.outbox import Outbox
from schedulerd.core.effects import Effect, RecordEvent, StepDown
from schedulerd.core.events import (
    AlarmRang,
    ClockTrusted,
    CommandGiven,
    Event,
    FrameArrived,
    HostBooted,
    LeadershipGained,
    WorkersSeen,
)
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.perform import Performer, Watch
from schedulerd.errors import CommandError, LedgerContentError, LedgerError, StaleEpoch
from schedulerd.hostkit import clock
from schedulerd.model.moment import Moment
from schedulerd.protocol.messages import Result
from schedulerd.protocol.timing import Timing

EVENTS = 4000  # events a step takes at most from the inbox, and frames at most from the socket
PATIENCE_MS = 2000  # how long the loop waits without any event; for the watchdog's sake
SUSPICION = 30.0  # seconds for which events are taken one by one after a batch was refused
RETRY = 1.0  # seconds between two tries to lead after the ledger failed

log = logging.getLogger(__name__)


class CoreFault(Exception):
    """A step raised what it never should; its cause says what."""


class Loop:
    """Runs in a thread of its own from start() to stop(). What other threads may read stands in the public fields."""

    def __init__(
        self,
        *,
        open_ledger: Callable[[], Ledger],
        inbox: Inbox,
        leader: str,
        listen: str,
        advertise: str,
        output: str,
        timing: Timing,
        trust: ClockTrust,
        watches: Sequence[Watch] = (),
        on_bad_frame: Callable[[], None] = lambda: None,
        on_fenced: Callable[[], None] = lambda: None,
    ) -> None:
        self.inbox = inbox
        self.epoch = 0
        self.is_leading = False
        self.has_workers = False  # discovery has answered once
        self.trouble = ""  # why nobody leads, in a sentence; empty while this one does
        self.is_upkeep_due = False  # set by the alarm: the ledger wants housekeeping
        self.progress = 0.0  # boot-time seconds of the newest finished round
        self.lag = 0.0  # seconds the newest round took, for which what arrived meanwhile had to wait
        self.endpoint = ""  # where results come in, with the real port
        self.alarm = Alarm(self._ring)
        self._open_ledger = open_ledger
        self._leader = leader
        self._nonce = uuid.uuid4().hex[:16]
        self._listen = listen
        self._advertise = advertise
        self._output = output
        self._timing = timing
        self._trust = trust
        self._watches = watches
        self._on_bad_frame = on_bad_frame
        self._on_fenced = on_fenced
        self._fenced = ""  # why the leadership before ended; an event of the next one
        self._found: WorkersSeen | None = None
        self._stopping = threading.Event()
        self._begun = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="loop", daemon=True)

    def start(self, timeout: float = 60.0) -> None:
        """Bind, open the ledger, lead. Raises what went wrong (SettingsError, LedgerError)."""
        self.alarm.start()
        self._thread.start()
        self._begun.wait(timeout)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        if not self._begun.is_set():
            raise LedgerError(f"the ledger did not open within {timeout:g} s")

    def stop(self, timeout: float = 30.0) -> None:
        """End after the round under way; open work stays in the ledger for the next start."""
        self._stopping.set()
        self.inbox.wake()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self.alarm.stop()

    @property
    def is_alive(self) -> bool:
        """The loop's thread runs."""
        return self._thread.is_alive()

    def _ring(self) -> None:
        self.inbox.put(AlarmRang())

    def _main(self) -> None:
        ledger: Ledger | None = None
        try:
            collector = Collector(self._listen, self._on_bad_frame)
            collector.watch(self.inbox.fileno())
            try:
                self.endpoint = collector.endpoint
                ledger = self._open_ledger()
                self._lead_for_ever(collector, ledger)
            finally:
                collector.close()
        except Exception as error:  # whatever it is, start() or the watchdog must learn of it
            self._failure = error
            self.trouble = f"the loop has ended: {error}"
            if self._begun.is_set():
                log.critical("the loop has ended and schedulerd must be restarted", exc_info=True)
        finally:
            self.is_leading = False
            self.inbox.refuse_all("schedulerd is stopping")
            self._begun.set()
            if ledger is not None:
                ledger.close()

    def _lead_for_ever(self, collector: Collector, ledger: Ledger) -> None:
        seen = 0
        while not self._stopping.is_set():
            outbox = Outbox(collector.context)
            try:
                seen = self._lead(collector, ledger, outbox, seen)
            except StaleEpoch as error:
                log.warning("a newer leader has written to the ledger: %s; leading again", error)
                self._resign(str(error))
            except LedgerError as error:
                if not self._begun.is_set():
                    raise
                log.error("the ledger failed: %s; nothing was sent, the state is rebuilt from it", error)
                self._resign(str(error))
                self._stopping.wait(RETRY)
            finally:
                outbox.close()

    def _resign(self, why: str) -> None:
        self.is_leading = False
        self.trouble = self._fenced = why
        self._on_fenced()
        self.inbox.refuse_all(f"schedulerd does not lead: {why}")

    def _lead(self, collector: Collector, ledger: Ledger, outbox: Outbox, seen: int) -> int:
        """One leadership, from its epoch to its end; returns the epoch that ended it."""
        now = _now()
        epoch = ledger.lead(self._leader, seen, now.utc)
        state = self._rebuild(ledger, epoch, now)
        performer = Performer(
            ledger=ledger,
            outbox=outbox,
            alarm=self.alarm,
            inbox=self.inbox,
            epoch=epoch,
            leader=self._leader,
            nonce=self._nonce,
            watches=self._watches,
        )
        self.epoch = epoch
        log.info("leading  epoch=%d jobs=%d open_runs=%d", epoch, len(state.jobs), len(state.runs))
        self.alarm.rang()
        events = self._beginning(is_new=True)
        singly_until = 0.0  # mono: while a culprit is looked for, every event is a batch of its own
        while not self._stopping.is_set():
            now = _now()
            count = 1 if now.mono < singly_until else len(events)
            batch, events = events[:count], events[count:]
            try:
                effects = _stepped(state, batch, now)
                if isinstance(effects[0], StepDown):
                    newer = effects[0].seen
                    log.warning("a worker has seen epoch %d, ours is %d; leading again", newer, epoch)
                    self._resign(f"a worker has seen epoch {newer}, this leader had epoch {epoch}")
                    return newer
                performer.perform(effects, now)
            except (LedgerContentError, CoreFault) as error:
                log.error("a batch was refused: %s; nothing of it was done", error, exc_info=error.__cause__)
                outbox.close()
                if len(batch) > 1:
                    events = [*batch, *events]
                else:
                    self._reject(performer, ledger, batch, error)
                singly_until = now.mono + SUSPICION
                state = self._rebuild(ledger, epoch, _now())
                events = [*self._beginning(), *events]
                continue
            self.is_leading, self.trouble, self._fenced = True, "", ""
            self._begun.set()
            self.progress = clock.boot_seconds()
            self.lag = self.progress - now.mono
            if events:
                continue
            if self.is_upkeep_due:
                self.is_upkeep_due = ledger.maintain(now.utc)
            collector.wait(PATIENCE_MS)
            events = self._take(collector)
        return seen

    def _beginning(self, is_new: bool = False) -> list[Event]:
        """What a State that was just rebuilt is told first."""
        found = [self._found] if self._found is not None else []
        gained = LeadershipGained(is_new, socket.gethostname(), self._fenced)
        return [gained, HostBooted(clock.boot_id()), *found]

    def _reject(
        self,
        performer: Performer,
        ledger: Ledger,
        batch: Sequence[Event],
        error: LedgerContentError | CoreFault,
    ) -> None:
        """The one event that cannot be done: record it, answer or acknowledge it, so that it does not come back."""
        detail = f"{type(batch[0]).__name__ if batch else 'the time'}: {error}"[:2000]
        log.error("an event was rejected, it changes nothing: %s", detail)
        rejected = RecordEvent(type="rejected", time=clock.utc_now(), detail=detail)
        ledger.commit(self.epoch, [rejected])
        performer.show([rejected])
        for event in batch:
            if isinstance(event, CommandGiven):
                self.inbox.answer(event.token, CommandError("invalid", f"it was refused: {error}"))
            elif isinstance(event, FrameArrived) and isinstance(event.message, Result):
                address = self._address_of(event.envelope.sender)
                performer.acknowledge(address, event.envelope, event.message)

    def _address_of(self, worker: str) -> str:
        """Where discovery found this worker; empty when it did not tell."""
        found = self._found.workers if self._found is not None else ()
        return next((one.address for one in found if one.id == worker), "")

    def _take(self, collector: Collector) -> list[Event]:
        events = self.inbox.take(EVENTS)
        for event in events:
            if isinstance(event, AlarmRang):
                self.alarm.rang()
            elif isinstance(event, WorkersSeen):
                self._found = event
                self.has_workers = True
        if not self._trust.is_given and self._trust.look():
            events.insert(0, ClockTrusted())
        events.extend(FrameArrived(frame.envelope, frame.message) for frame in collector.take(EVENTS))
        return events

    def _rebuild(self, ledger: Ledger, epoch: int, now: Moment) -> State:
        results = f"tcp://{self._advertise}" if self._advertise else self.endpoint
        return rebuild(
            ledger.load(),
            epoch=epoch,
            leader=self._leader,
            results=results,
            output=self._output,
            timing=self._timing,
            now=now,
            doubts_clock=not self._trust.is_given,
        )


def _stepped(state: State, events: Sequence[Event], now: Moment) -> list[Effect]:
    """The core's step; anything it raises is a fault of ours that must not end the leader. Raises CoreFault."""
    try:
        return step(state, events, now)
    except Exception as error:
        raise CoreFault(f"the core failed with {type(error).__name__}: {error}") from error


def _now() -> Moment:
    return Moment(clock.utc_now(), clock.boot_seconds())
