"""The hands of a simulated scheduler: what is not a record is sent, connected, answered, or set as an alarm."""

from datetime import datetime, timedelta
from typing import Any

from simulation.process import Process

from schedulerd.adapters.ledger.base import Ledger
from schedulerd.core import effects as fx
from schedulerd.core.events import Event, GatherTooLarge, SendFailed
from schedulerd.errors import CommandError
from schedulerd.model.moment import Moment
from schedulerd.protocol.codec import Envelope, encode
from schedulerd.protocol.messages import Dispatch, Hello, Message, Order

GATHER_LIMIT = 3_500_000
CONNECT = 0.02  # seconds until a new link stands


class LeaderHands(Process):
    """A scheduler's host: its links, its clocks, and the effects that come after a commit."""

    def __init__(self, host: str, endpoint: str, utc_base: datetime, *args: Any) -> None:
        super().__init__(host, endpoint, *args)
        self.epoch = 0
        self.utc_offset = self._rng.random() * 0.4  # seconds; clocks of hosts differ a little
        self._utc_base = utc_base
        self._mono_offset = self._rng.random() * 10_000
        self._ledger: Ledger | None = None
        self._links: dict[str, float] = {}  # address -> when it was opened

    def put(self, event: Event) -> None:
        """A fact for the inbox."""
        raise NotImplementedError

    def order(self, effect: fx.Effect) -> None:
        """Carry out what is not a record."""
        match effect:
            case fx.Send(peer, receiver, nonce, message):
                self.send(peer, receiver, nonce, message)
            case fx.SetAlarm(utc, mono):
                self._set_alarm(utc, mono)
            case fx.Reply(token, answer):
                if isinstance(answer, CommandError):
                    self._chronicle.log(self.name, f"refuses command {token}: {answer}")
                self._chronicle.replied(token, answer)
            case fx.SendGather():
                self._send_gather(effect)
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

    def send(self, peer: str, receiver: str, nonce: str, message: Message) -> None:
        """Into the link, or back as a failure if there is none."""
        attempts: tuple[str, ...] = ()
        if type(message) is not Hello:
            self._chronicle.tell(self.name, "sends %s %s", receiver, message)
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
            self.put(SendFailed(peer, attempts))

    def _send_gather(self, effect: fx.SendGather) -> None:
        assert self._ledger is not None
        text, size = self._ledger.gather_input(effect.run, GATHER_LIMIT)
        old = effect.order
        if size > GATHER_LIMIT:
            self.put(GatherTooLarge(old.attempt, size, GATHER_LIMIT))
            return
        order = Order(old.attempt, 0, old.expiry_clock_ms, old.fence, old.item, text, old.previous, old.env)
        self.send(effect.peer, effect.receiver, effect.nonce, Dispatch([effect.spec], [order]))

    def _set_alarm(self, utc: datetime | None, mono: float | None) -> None:
        now = self.moment()
        wait = 3600.0
        if utc is not None:
            wait = (utc - now.utc).total_seconds()
        if mono is not None:
            wait = min(wait, mono - now.mono)
        self._wake_after(max(wait, 0.001))

    def set_clock(self, by: float) -> None:
        """Its clock on the wall steps by so many seconds; the clock guard re-arms the alarm after each step."""
        self.utc_offset += by
        self._wake(0.01)

    def utc(self) -> datetime:
        """What its clock on the wall shows."""
        return self._utc_base + timedelta(seconds=self._agenda.now + self.utc_offset)

    def moment(self) -> Moment:
        """Both of its clocks."""
        return Moment(self.utc(), self._agenda.now + self._mono_offset)
