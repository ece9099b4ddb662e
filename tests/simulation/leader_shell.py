"""A simulated scheduler: the real core over the real ledger, in a process that may die or stop between any two effects.

Obeys effects as daemon/perform.py does: one commit, then everything else in order. What it forgets at a crash, a
deposition or a ledger's refusal it rebuilds from the ledger by the real takeover.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NoReturn

from simulation.agenda import Agenda
from simulation.chronicle import RECORDS, Chronicle
from simulation.leader_orders import LeaderHands
from simulation.network import Network
from simulation.process import Died

from schedulerd.adapters.ledger.base import Ledger
from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang, CommandGiven, Event, FrameArrived, LeadershipGained, WorkersSeen
from schedulerd.core.requests import Request
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.errors import LedgerContentError, LedgerError, StaleEpoch
from schedulerd.model.moment import Moment
from schedulerd.model.run import OpenWork
from schedulerd.protocol.codec import decode
from schedulerd.protocol.messages import Dispatch
from schedulerd.protocol.timing import Timing

LIMBO = (0.0, 0.1, 0.4)  # seconds after which a server commits what its client was told has failed


class LeaderProcess(LeaderHands):
    """A scheduler's host and the process of the moment; it leads when it is told that it was elected."""

    timing = Timing()

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
        super().__init__(host, self.endpoint, utc_base, agenda, network, rng, chronicle)
        self.stall: tuple[int, float] | None = None  # boundaries until it stands still, for how long
        # At its next Dispatch: how long it stands still before it.
        self.ambush: Callable[[], float] | None = None
        self.disk_fault = ""  # at the next commit: before | after | limbo
        self.commit_takes = 0.0  # seconds
        self.state: State | None = None
        self._open_ledger = open_ledger
        self._inbox: list[Event] = []
        self._batch: tuple[list[fx.Record], Moment] | None = None  # not committed yet
        self._rest: list[fx.Effect] = []  # not obeyed yet
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
        now = self.moment()
        self.epoch = self._ledger.lead(self.name, seen, now.utc)
        self._chronicle.led(self.name, self.epoch)
        self.state = self.rebuilt(self._ledger.load(), now)
        self._inbox = [LeadershipGained()]
        if self._found is not None:
            self._inbox.append(self._found)
        self._wake(0.0)

    def rebuilt(self, work: OpenWork, now: Moment) -> State:
        """What it remembers at first."""
        return rebuild(
            work,
            epoch=self.epoch,
            leader=self.name,
            results=self.endpoint,
            output="",
            timing=self.timing,
            now=now,
        )

    def depose(self) -> None:
        """The lock is somebody else's: forget everything."""
        if self.state is not None:
            self._chronicle.log(self.name, "does not lead any more")
            self._forget()

    # ---- facts

    def receive(self, frame: bytes) -> None:
        """A frame has arrived at its socket."""
        if self.state is not None:
            read = decode([frame])
            self.put(FrameArrived(read.envelope, read.message))

    def discover(self, found: WorkersSeen) -> None:
        """Discovery told something."""
        self._found = found
        self.put(found)

    def ask(self, token: int, request: Request) -> None:
        """A caller asks; nobody is answered by one that does not lead."""
        if self.state is not None:
            self.put(CommandGiven(token, request))

    def put(self, event: Event) -> None:
        """See `LeaderHands`."""
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
            now = self.moment()
            effects = self.step(events, now)
            self._chronicle.stepped(self.name, self.state, effects)
            self.perform(effects, now)
        except Died:
            pass
        except StaleEpoch:
            self._resign(0)
        except LedgerContentError as error:
            self._chronicle.violation("content", f"{self.name}: the ledger refused a batch: {error}")
            self._resign(0)
        except LedgerError as error:
            self._chronicle.log(self.name, str(error))
            self._resign(0)

    def step(self, events: Sequence[Event], now: Moment) -> list[fx.Effect]:
        """The core's answer."""
        assert self.state is not None
        return step(self.state, events, now)

    def perform(self, effects: Sequence[fx.Effect], now: Moment) -> None:
        """Commit, then the rest in order."""
        if effects and isinstance(effects[0], fx.StepDown):
            self._resign(effects[0].seen)
            return
        records = [effect for effect in effects if type(effect) in RECORDS]
        self._batch = (records, now)  # type: ignore[assignment]
        self._rest = list(effects[len(records) :])
        self._go_on()

    def _go_on(self) -> None:
        """Do what is left of the newest batch; also after it has stood still."""
        if self._batch is not None:
            self._burn()
            records, now = self._batch
            self._batch = None
            self.commit(records, now)
            if records and self.commit_takes:
                self._stand_still(self.commit_takes)
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
        if fault == "limbo":
            self._agenda.after(self._rng.choice(LIMBO), self._commit_late, self.epoch, records, now)
            raise LedgerError("the server went away at COMMIT, and may write yet")
        self._ledger.commit(self.epoch, records)
        self._chronicle.committed(self.name, self.epoch, now, records)
        if fault == "after":
            raise LedgerError("the disk failed, and nobody knows that everything was written")

    def _commit_late(self, epoch: int, records: Sequence[fx.Record], now: Moment) -> None:
        """The server does what its client has given up; a newer epoch would have kept it from that."""
        server = self._open_ledger()
        try:
            server.commit(epoch, records)
        except StaleEpoch:
            self._chronicle.log(self.name, "a commit in limbo is refused")
        else:
            self._chronicle.log(self.name, "a commit in limbo is written after all")
            self._chronicle.committed(self.name, epoch, now, records)
        server.close()

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
