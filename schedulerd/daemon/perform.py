"""Carries out what the core ordered: one transaction for all records, and only after its commit everything else."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from schedulerd.adapters.alarm import Alarm
from schedulerd.adapters.election import Lease
from schedulerd.adapters.ledger.base import Ledger
from schedulerd.adapters.outbox import Outbox
from schedulerd.core import effects as fx
from schedulerd.core.events import GatherTooLarge, ResultsRepeated, SendFailed
from schedulerd.daemon import rows
from schedulerd.daemon.inbox import Inbox
from schedulerd.hostkit import failpoint
from schedulerd.model.moment import Moment
from schedulerd.protocol.codec import Envelope, encode
from schedulerd.protocol.messages import Dispatch, Message, Order, Result, ResultAck

GATHER_LIMIT = 3_500_000  # bytes a gather step may read; it travels in one frame of at most 4 MiB
COMPLAIN_EVERY = 60.0  # seconds between two lines about the same peer
COMPLAINTS = 10  # lines about different peers for one reason in that time

Watch = Callable[
    [Sequence[fx.Effect], float], None
]  # (effects of a committed batch, seconds its commit took)

_RECORDS = fx.Record.__args__
log = logging.getLogger(__name__)


class LeaseOver(Exception):
    """The lease ended; what is not committed was not done, and nothing more of this leadership is sent."""


class Performer:
    """The hands of one leadership; lives and ends with its epoch. Used by the loop's thread."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        outbox: Outbox,
        alarm: Alarm,
        inbox: Inbox,
        lease: Lease,
        epoch: int,
        leader: str,
        nonce: str,
        watches: Sequence[Watch],
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._alarm = alarm
        self._inbox = inbox
        self._lease = lease
        self._epoch = epoch
        self._leader = leader
        self._nonce = nonce
        self._watches = watches
        self._complained: dict[tuple[str, str], float] = {}
        self._is_muted = False  # a send found the lease over
        self.drops: Counter[str] = Counter()

    def perform(self, effects: Sequence[fx.Effect], now: Moment) -> None:
        """Commit, then the rest in order.

        Raises LedgerError and its children, then nothing was sent or answered; and LeaseOver when the lease had ended
        before the commit, then neither, or when it ended since, then what was committed was answered but not sent.
        """
        records = [effect for effect in effects if isinstance(effect, _RECORDS)]
        took = 0.0
        noted = fx.Noted()
        if records:
            self._require_lease()
            failpoint.each(rows.BEFORE_COMMIT, records)
            begun = time.perf_counter()
            noted = self._ledger.commit(self._epoch, records)
            took = time.perf_counter() - begun
            failpoint.each(rows.AFTER_COMMIT, records)
        for effect in effects[len(records) :]:
            self._order(effect, now)
        for watch in self._watches:
            watch(effects, took)
        if noted.events or noted.repeated:
            self._tell(noted)
        if self._is_muted:
            raise LeaseOver(self._lease.lost)

    def show(self, effects: Sequence[fx.Effect]) -> None:
        """Let the watches see what was written without the core."""
        for watch in self._watches:
            watch(effects, 0.0)

    def _tell(self, noted: fx.Noted) -> None:
        """What the ledger found out by itself is watched as well, and results that came again are tallied."""
        self.show(noted.events)
        if noted.repeated:
            self.show([fx.Count("duplicate_results", by=len(noted.repeated))])
            self._inbox.put(ResultsRepeated(noted.repeated))

    def acknowledge(self, peer: str, envelope: Envelope, result: Result) -> None:
        """Have the worker forget outcomes that cannot be recorded; `peer` may lead nowhere."""
        attempts = [outcome.attempt for outcome in result.outcomes]
        self._outbox.connect(peer, peer)
        self._send(peer, envelope.sender, envelope.sender_nonce, ResultAck(attempts))

    def _order(self, effect: fx.Effect, now: Moment) -> None:
        match effect:
            case fx.Send(peer, receiver, nonce, message):
                self._send(peer, receiver, nonce, message)
            case fx.SetAlarm(utc, mono):
                waits = []
                if utc is not None:
                    waits.append((utc - now.utc).total_seconds())
                if mono is not None:
                    waits.append(mono - now.mono)
                if waits and min(waits) <= 0:
                    self._inbox.wake()  # no detour through another thread
                elif waits:
                    self._alarm.set(min(waits))
            case fx.Reply(token, answer):
                self._inbox.answer(token, answer)
            case fx.Connect(peer, address):
                self._outbox.connect(peer, address)
            case fx.Disconnect(peer):
                self._outbox.disconnect(peer)
            case fx.SendGather():
                self._send_gather(effect)
            case fx.Count():
                pass  # for the watches
            case fx.Drop(reason, peer):
                self._complain(reason, peer)
            case _:
                raise AssertionError(f"a record stood behind an order: {effect!r}")

    def _require_lease(self) -> None:
        if not self._lease.holds():
            raise LeaseOver(self._lease.lost)

    def _send(self, peer: str, receiver: str, nonce: str, message: Message) -> None:
        frame = encode(Envelope(self._epoch, self._leader, self._nonce, receiver, nonce), message)
        failpoint.each(rows.BEFORE_SEND, (message,))
        # at each send: the commit before may have been slow, or this process stopped since
        if not self._lease.holds():
            self._is_muted = True
            return
        if not self._outbox.send(peer, frame):
            attempts = (
                tuple(order.attempt for order in message.orders) if isinstance(message, Dispatch) else ()
            )
            self._inbox.put(SendFailed(peer, attempts))
        failpoint.each(rows.AFTER_SEND, (message,))

    def _send_gather(self, effect: fx.SendGather) -> None:
        text, size = self._ledger.gather_input(effect.run, GATHER_LIMIT)
        old = effect.order
        if size > GATHER_LIMIT:
            self._inbox.put(GatherTooLarge(old.attempt, size, GATHER_LIMIT))
            return
        order = Order(old.attempt, 0, old.expiry_clock_ms, old.fence, old.item, text, old.previous, old.env)
        self._send(effect.peer, effect.receiver, effect.nonce, Dispatch([effect.spec], [order]))

    def _complain(self, reason: str, peer: str) -> None:
        self.drops[reason] += 1
        now = time.monotonic()
        for known, said_at in list(self._complained.items()):
            if now - said_at >= COMPLAIN_EVERY:
                del self._complained[known]
        about = sum(known[0] == reason for known in self._complained)
        # senders name themselves: whoever makes names up must not fill the log
        if (reason, peer) not in self._complained and about < COMPLAINTS:
            self._complained[(reason, peer)] = now
            sender = peer[:80].encode("unicode_escape").decode()
            log.warning("a frame was not acted on  reason=%s sender=%s", reason, sender)
