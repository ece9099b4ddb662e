"""The loop: it leads while the election's lease holds, and stands by otherwise. Owns State, ledger and sockets.

What leading is stands in leadership.py; here is when it begins, what ends it, and who is asked to lead next.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Sequence

from schedulerd.adapters.alarm import Alarm
from schedulerd.adapters.collector import Collector
from schedulerd.adapters.election import Election, LeaderCard, who_leads
from schedulerd.adapters.ledger.base import Ledger
from schedulerd.adapters.outbox import Outbox
from schedulerd.core.events import AlarmRang, CommandGiven, WorkersSeen
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.leadership import EVENTS, PATIENCE_MS, ForeignLedger, Leadership, Means, SteppedDown
from schedulerd.daemon.perform import LeaseOver, Watch
from schedulerd.daemon.pulse import TAKEOVER, Pulse
from schedulerd.daemon.rivals import Rivals
from schedulerd.daemon.succession import Succession
from schedulerd.errors import CommandError, LedgerError, StaleEpoch
from schedulerd.protocol.timing import Timing

RETRY = 1.0  # seconds between two tries to lead after the ledger failed or had a newer leader
ASIDE = 5.0  # seconds for which a leader that stepped down leaves the lead to others

log = logging.getLogger(__name__)


class Loop(Pulse):
    """Runs in a thread of its own from start() to stop(). What other threads may read stands in the public fields."""

    def __init__(
        self,
        *,
        open_ledger: Callable[[], Ledger],
        election: Election,
        inbox: Inbox,
        card: LeaderCard,
        listen: str,
        advertise: str,
        output: str,
        timing: Timing,
        trust: ClockTrust,
        watches: Sequence[Watch] = (),
        on_bad_frame: Callable[[], None] = lambda: None,
        on_fenced: Callable[[], None] = lambda: None,
        on_connection: Callable[[str, str], None] = lambda socket, event: None,
        on_lost: Callable[[str], None] = lambda reason: None,
        on_followed: Callable[[str], None] = lambda how: None,
        on_gained: Callable[[bool], None] = lambda has_table: None,
    ) -> None:
        """`card`: who this scheduler is.

        `on_lost` gets the reason of each leadership's end, `on_gained` at each begin whether the ledger has a table,
        and `on_followed` how the leadership before it ended.
        """
        super().__init__()
        self.inbox = inbox
        self.endpoint = ""  # where results come in, with the real port
        self.alarm = Alarm(self._ring)
        self.rivals = Rivals()
        self._open_ledger = open_ledger
        self._leader = card.id
        self._nonce = uuid.uuid4().hex[:16]
        self._listen = listen
        self._advertise = advertise
        self._output = output
        self._timing = timing
        self._trust = trust
        self._watches = watches
        self._on_bad_frame = on_bad_frame
        self._on_fenced = on_fenced
        self._on_connection = on_connection
        self._on_gained = on_gained
        self._election = election
        self._succession = Succession(election, card, on_lost, on_followed)
        self._stopping = threading.Event()
        self._begun = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="loop", daemon=True)

    def start(self, timeout: float = 60.0) -> None:
        """Bind, open the ledger, lead; or stand by, if it was not elected. Raises SettingsError or LedgerError."""
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

    def step_down(self, by: str) -> None:
        """From any thread: end this leadership after the round under way, so that another can lead."""
        self.asked_down = by
        self.inbox.wake()

    @property
    def is_alive(self) -> bool:
        """The loop's thread runs."""
        return self._thread.is_alive()

    def _ring(self) -> None:
        self.inbox.put(AlarmRang())

    def _main(self) -> None:
        try:
            collector = Collector(self._listen, self._on_bad_frame, self._on_connection)
            collector.watch(self.inbox.fileno())
            try:
                self.endpoint = collector.endpoint
                self._take_part(self._means(collector))
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

    def _means(self, collector: Collector) -> Means:
        return Means(
            collector=collector,
            inbox=self.inbox,
            alarm=self.alarm,
            pulse=self,
            trust=self._trust,
            succession=self._succession,
            timing=self._timing,
            leader=self._leader,
            nonce=self._nonce,
            results=f"tcp://{self._advertise}" if self._advertise else self.endpoint,
            output=self._output,
            watches=self._watches,
            stopping=self._stopping,
            begun=self._begun,
            on_fenced=self._on_fenced,
            on_gained=self._on_gained,
        )

    def _take_part(self, means: Means) -> None:
        seen = 0
        while not self._stopping.is_set():
            lease = self._election.lease
            if lease is None or not lease.holds():
                self._stand_by(means)
                continue
            self.finished()
            self.allowance = TAKEOVER
            outbox = Outbox(means.collector.context, means.collector.monitors)
            ledger: Ledger | None = None
            why_aside, retry = "", 0.0
            try:
                ledger = self._open_ledger()
                seen = Leadership(means, ledger, outbox, lease).lead(seen)
                self._deposed()
            except SteppedDown as error:
                why_aside = str(error)
            except ForeignLedger as error:
                self._begun.set()
                self._election.refuse(error.own, error.before)
            except LeaseOver as error:
                means.resign("lease", str(error))
            except StaleEpoch as error:
                means.resign("newer_epoch", str(error))
                self._deposed()
                why_aside, retry = "a newer leader has written to the ledger", RETRY
            except LedgerError as error:
                if not self._begun.is_set():
                    raise
                log.error("the ledger failed: %s; nothing was sent, the state is rebuilt from it", error)
                means.resign("ledger", str(error))
                why_aside, retry = "the ledger failed", RETRY
            finally:
                self.finished()
                outbox.close()
                if ledger is not None:
                    _close(ledger)
            if why_aside and not self._election.give_up(why_aside, ASIDE):
                self._stopping.wait(retry)  # there is nobody else who could lead

    def _deposed(self) -> None:
        """A newer epoch ended us. Where the election can have one leader only, that is another scheduler's."""
        if self._election.kind == "file" and not self._stopping.is_set():
            self.rivals.deposed()
            self._succession.warn(self.rivals.words())

    def _stand_by(self, means: Means) -> None:
        """Wait for news, and let nothing pile up that is a leader's business."""
        self._begun.set()
        if self._election.leader is not None:
            self.trouble = ""
        self.alarm.rang()
        means.collector.wait(PATIENCE_MS)
        for event in self.inbox.take(EVENTS):
            if isinstance(event, WorkersSeen):
                means.found = event
                self.has_workers = True
            elif isinstance(event, CommandGiven):
                self.inbox.answer(event.token, CommandError("unavailable", who_leads(self._election)))
        means.collector.take(EVENTS)  # their senders keep them until a leader acknowledges
        self._trust.look()
        self.asked_down = ""
        self.finished()
        self.lag = 0.0


def _close(ledger: Ledger) -> None:
    try:
        ledger.close()
    except LedgerError as error:
        log.warning("%s", error)
