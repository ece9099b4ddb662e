"""A simulated scheduler: the real core over the real ledger, in a process that may die or stop between any two effects.

Obeys effects as daemon/perform.py does: one commit, then everything else in order. What it forgets at a crash, a
deposition or a ledger's refusal it rebuilds from the ledger by the real takeover.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NoReturn

from simulation.agenda import Agenda
from simulation.chronicle import RECORDS, Chronicle
from simulation.network import Network
from simulation.process import Died, Process

from schedulerd.adapters.ledger.base import Ledger
from schedulerd.core import effects as fx
from schedulerd.core.events import (
    AlarmRang,
    CommandGiven,
    Event,
    FrameArrived,
    GatherTooLarge,
    LeadershipGained,
    SendFailed,
    WorkersSeen,
)
from schedulerd.core.requests import Request
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.errors import CommandError, LedgerContentError, LedgerError, StaleEpoch
from schedulerd.model.moment import Moment
from schedulerd.protocol.codec import Envelope, decode, encode
from schedulerd.protocol.messages import Dispatch, Hello, Message, Order
from schedulerd.protocol.timing import Timing

GATHER_LIMIT = 3_500_000
CONNECT = 0.02  # seconds until a new link stands


class LeaderProcess(Process):
    """A scheduler's host and the process of the moment; it leads when it is told that it was elected."""

    def __init__(
        self,
        host: str,
        *,
        agenda: Agenda,
        network: Network,
        rng: random.Random,
        chronicle: Chronicle,
        open_ledger: Callable[[], Ledger],
        utc_base: datetime,
    ) -> None:
        self.endpoint = f"tcp://{host}:7481"
        super().__init__(host, self.endpoint, agenda, network, rng, chronicle)
        self.stall: tuple[int, float] | None = None  # boundaries until it stands still, for how long
        self.ambush: Callable[[], float] | None = (
            None  # at its next Dispatch: how long it stands still before it
        )
        self.disk_fault = ""  # at the next commit: before | after it
        self.utc_offset = rng.random() * 0.4  # seconds; clocks of hosts differ a little
        self.state: State | None = None
        self.epoch = 0
        self._open_ledger = open_ledger
        self._utc_base = utc_base
        self._mono_offset = rng.random() * 10_000
        self._ledger: Ledger | None = None
        self._inbox: list[Event] = []
        self._batch: tuple[list[fx.Record], Moment] | None = None  # not committed yet
        self._rest: list[fx.Effect] = []  # not obeyed yet
        self._links: dict[str, float] = {}  # address -> when it was opened
        self._found: WorkersSeen | None = None

    # ---- life

    def start(self) -> None:
        """A process that does not lead yet."""
        self.boots += 1
        self._chronicle.log(self.name, "starts")
        self.is_alive, self.alive_since = True, self._agenda.now
        self.fuse = self.stall = self.ambush = None
        self._forget()
        self._ledger = self._open_ledger()

    def crash(self) -> None:
        """KILL."""
        if not self.is_alive:
            return
        self._chronicle.log(self.name, "is killed")
        self.is_alive, self.died_at = False, self._agenda.now
        self.paused_since = None
        self.fuse = self.stall = self.ambush = None
        self._forget()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def lead(self, seen: int = 0) -> None:
        """It holds the lock: take the next epoch and rebuild the State."""
        if not self.is_alive:
            return
        assert self._ledger is not None
        self._forget()
        now = self._now()
        self.epoch = self._ledger.lead(self.name, seen, now.utc)
        self._chronicle.led(self.name, self.epoch)
        self.state = rebuild(
            self._ledger.load(),
            epoch=self.epoch,
            leader=self.name,
            results=self.endpoint,
            output="",
            timing=Timing(),
            now=now,
        )
        self._inbox = [LeadershipGained()]
        if self._found is not None:
            self._inbox.append(self._found)
        self._wake(0.0)

    def depose(self) -> None:
        """The lock is somebody else's: forget everything."""
        if self.state is not None:
            self._chronicle.log(self.name, "does not lead any more")
            self._forget()

    # ---- facts

    def receive(self, frame: bytes) -> None:
        """A frame has arrived at its socket."""
        read = decode([frame])
        self._put(FrameArrived(read.envelope, read.message))

    def discover(self, found: WorkersSeen) -> None:
        """Discovery told something."""
        self._found = found
        self._put(found)

    def ask(self, token: int, request: Request) -> None:
        """A caller asks; nobody is answered by one that does not lead."""
        if self.state is not None:
            self._put(CommandGiven(token, request))

    def _put(self, event: Event) -> None:
        if self.is_alive and self.state is not None:
            self._inbox.append(event)
            self._wake(0.0002 + self._rng.random() * 0.004)

    # ---- the loop

    def turn(self) -> None:
        """See `Process`."""
        if self.state is None:
            return
        try:
            self._go_on()
            events, self._inbox = self._inbox or [AlarmRang()], []
            now = self._now()
            effects = step(self.state, events, now)
            self._chronicle.stepped(self.name, self.state, effects)
            self.perform(effects, now)
        except Died:
            pass
        except StaleEpoch:
            self._resign(0)
        except LedgerContentError as error:
            self._chronicle.violation("content", f"{self.name}: the ledger refused a batch: {error}")
            self.lead()
        except LedgerError as error:
            self._chronicle.log(self.name, str(error))
            self._resign(0)

    def perform(self, effects: Sequence[fx.Effect], now: Moment) -> None:
        """Commit, then the rest in order."""
        if effects and isinstance(effects[0], fx.StepDown):
            self._resign(effects[0].seen)
            return
        records = [effect for effect in effects if isinstance(effect, RECORDS)]
        self._batch = (records, now)
        self._rest = list(effects[len(records) :])
        self._go_on()

    def _go_on(self) -> None:
        """Do what is left of the newest batch; also after it has stood still."""
        if self._batch is not None:
            self._burn()
            records, now = self._batch
            self._batch = None
            self.commit(records, now)
        while self._rest:
            self._burn()
            self._fall_into_ambush()
            self.order(self._rest.pop(0))

    def commit(self, records: Sequence[fx.Record], now: Moment) -> None:
        """One transaction for all of them."""
        if not records or self._ledger is None:
            return
        fault, self.disk_fault = self.disk_fault, ""
        if fault == "before":
            raise LedgerError("the disk failed, and nothing was written")
        self._ledger.commit(self.epoch, records)
        self._chronicle.committed(self.name, self.epoch, now, records)
        if fault == "after":
            raise LedgerError("the disk failed, and nobody knows that everything was written")

    def order(self, effect: fx.Effect) -> None:
        """Carry out what is not a record."""
        match effect:
            case fx.Send(peer, receiver, nonce, message):
                self._send(peer, receiver, nonce, message)
            case fx.SendGather():
                assert self._ledger is not None
                text, size = self._ledger.gather_input(effect.run, GATHER_LIMIT)
                old = effect.order
                if size > GATHER_LIMIT:
                    self._put(GatherTooLarge(old.attempt, size, GATHER_LIMIT))
                    return
                order = Order(
                    old.attempt, 0, old.expiry_clock_ms, old.fence, old.item, text, old.previous, old.env
                )
                self._send(effect.peer, effect.receiver, effect.nonce, Dispatch([effect.spec], [order]))
            case fx.SetAlarm(utc, mono):
                self._set_alarm(utc, mono)
            case fx.Reply(token, answer):
                if isinstance(answer, CommandError):
                    self._chronicle.log(self.name, f"refuses command {token}: {answer}")
                self._chronicle.replied(token, answer)
            case fx.Connect(peer, _):
                self._links[peer] = self._agenda.now
            case fx.Disconnect(peer):
                self._links.pop(peer, None)
            case fx.Count():
                pass
            case fx.Drop(reason, peer):
                self._chronicle.log(self.name, f"drops a frame of {peer}: {reason}")
            case _:
                raise AssertionError(f"a record stood behind an order: {effect!r}")

    def _send(self, peer: str, receiver: str, nonce: str, message: Message) -> None:
        if not isinstance(message, Hello):
            self._chronicle.log(self.name, f"sends {receiver} {message}"[:400])
        attempts: tuple[str, ...] = ()
        if isinstance(message, Dispatch):
            attempts = tuple(order.attempt for order in message.orders)
            for attempt in attempts:
                if not self._chronicle.is_recorded(attempt):
                    self._chronicle.violation("order", f"{attempt} was sent before it was recorded")
        opened = self._links.get(peer)
        is_up = opened is not None and self._agenda.now - opened >= CONNECT
        if is_up and self._network.is_connected(self.host, peer):
            frame = encode(Envelope(self.epoch, self.name, str(self.boots), receiver, nonce), message)
            self._network.send(self.host, peer, frame)
        else:
            self._network.counts["refused"] += 1
            self._put(SendFailed(peer, attempts))

    def _set_alarm(self, utc: datetime | None, mono: float | None) -> None:
        now = self._now()
        waits = []
        if utc is not None:
            waits.append((utc - now.utc).total_seconds())
        if mono is not None:
            waits.append(mono - now.mono)
        if waits:
            self._wake_after(max(min(waits), 0.001))

    def _resign(self, seen: int) -> None:
        self._chronicle.log(self.name, f"steps down, seen {seen}")
        self._forget()
        self._chronicle.resigned(self.name, seen)

    def _forget(self) -> None:
        self.state = None
        self._batch = None
        self._inbox, self._rest, self._links = [], [], {}
        self._alarm += 1

    def _fall_into_ambush(self) -> None:
        effect = self._rest[0]
        if self.ambush is not None and isinstance(effect, fx.Send) and isinstance(effect.message, Dispatch):
            spring, self.ambush = self.ambush, None
            self._stand_still(spring())

    def _stand_still(self, seconds: float) -> NoReturn:
        self.pause()
        self._agenda.after(seconds, self.unpause)
        raise Died

    def _burn(self) -> None:
        super()._burn()
        if self.stall is not None:
            left, seconds = self.stall
            self.stall = (left - 1, seconds)
            if left <= 0:
                self.stall = None
                self._stand_still(seconds)

    def utc(self) -> datetime:
        """What its clock on the wall shows."""
        return self._utc_base + timedelta(seconds=self._agenda.now + self.utc_offset)

    def _now(self) -> Moment:
        return Moment(self.utc(), self._agenda.now + self._mono_offset)
