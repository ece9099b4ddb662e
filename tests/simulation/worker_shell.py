"""A simulated worker: the real core of workerd, a journal that survives, and a process that may die at any step."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace
from simulation.agenda import Agenda
from simulation.children import Helper
from simulation.chronicle import Chronicle
from simulation.fence_watch import FenceWatch
from simulation.journal import SimulatedJournal
from simulation.network import Network
from simulation.process import Died, Process
from simulation.witness import Witness

from schedulerd.protocol.codec import decode, encode
from schedulerd.protocol.messages import Heartbeat
from workerd.adapters.journal import JournalError
from workerd.core import WorkerMoment, WorkerState, boot, envelope_of, snapshot, step
from workerd.effects import (
    ConnectResults,
    Effect,
    Exit,
    Journal,
    Kill,
    RenewLease,
    Send,
    SetAlarm,
    Spawn,
)
from workerd.events import DrainAsked, Event, FrameArrived, HelperDied, LinkUp, Tick
from workerd.records import AttemptsEnded, Record
from workerd.state import Identity, Limits

RESTART = 2.0  # seconds after which one that has ended by itself is started again
EPOCH_UTC_MS = 1_795_000_000_000


class WorkerProcess(Process):
    """A worker's host: what a restart keeps (id, address, journal) and the process of the moment."""

    limits = Limits()
    core = staticmethod(step)
    helper: type[Helper] = Helper

    def __init__(
        self,
        worker: str,
        host: str,
        *,
        seed: int,
        agenda: Agenda,
        network: Network,
        rng: random.Random,
        witness: Witness,
        chronicle: Chronicle,
        directory: Path,
        slots: int,
        labels: tuple[str, ...],
    ) -> None:
        self.worker = worker
        self.address = f"{host}:7482"
        super().__init__(host, self.address, agenda, network, rng, chronicle)
        self.slots = slots
        self.labels = labels
        self.is_copy = False  # of another worker's state directory
        self.is_gone = False  # it is not started any more
        self.copies = 0  # how often its own was copied
        self.journal_fault = False  # the next fsync fails
        self.utc_offset_ms = 0
        self.exec_takes = 0.0  # seconds from an order to its process, on a busy host
        self.journal: SimulatedJournal
        self._file = directory / f"journal-{host}"
        self._file.unlink(missing_ok=True)
        self.state: WorkerState
        self.fence = FenceWatch(host, chronicle)
        self._seed = seed
        self._witness = witness
        self._offset_ms = rng.randrange(1_000_000)
        self._host_boots = 1
        self._inbox: list[Event] = []
        self._is_connected = False
        self._connection = 0
        self._helper: Helper

    # ---- life

    def start(self) -> None:
        """Boot from the journal."""
        if self.is_alive or self.is_gone:
            return
        self.boots += 1
        if self._rng.random() < 0.1:
            self._offset_ms = self._rng.randrange(1_000_000)  # the host itself was started anew
            self._host_boots += 1
        self.is_alive, self.alive_since = True, self._agenda.now
        self.fuse = None
        self._inbox = []
        self._is_connected = False
        self._connection += 1
        self.journal = SimulatedJournal(self._file)
        self._helper = self._new_helper()
        identity = Identity(
            worker=self.worker,
            nonce=f"{self.host}-{self.boots}",
            name=self.name,
            slots=self.slots,
            labels=self.labels,
            version="1",
            place=f"{self.host} {self._host_boots}",
            endpoint=self.address,
        )
        self._chronicle.log(self.name, f"starts, boot {self.boots}")
        records, self.journal.records = self.journal.records, []
        self.state, effects = boot(identity, self.remembered(records), self._moment(), self.limits)
        try:
            self._perform(effects)
            self.journal.compact(snapshot(self.state, self._clock_ms()))
        except Died:
            return
        except JournalError as error:
            self._chronicle.log(self.name, f"ends: {error}")
            self.crash()
            self._agenda.after(RESTART, self.start)
            return
        self._wake(0.001)

    def crash(self) -> None:
        """KILL, or the host loses its power: what was not synced is lost, whole, half written, or is there."""
        if not self.is_alive:
            return
        self._chronicle.log(self.name, "is killed")
        self.is_alive, self.died_at = False, self._agenda.now
        self.paused_since = None
        self.journal.tear(self._rng)
        self._helper.die("its worker is gone", is_told=False)

    def hurry(self) -> None:
        """Its host is not busy any more."""
        self.exec_takes = 0.0

    def remembered(self, records: list[Record]) -> list[Record]:
        """What it reads from its journal at its start."""
        return records

    def take_journal(self, worker: "WorkerProcess") -> None:
        """Its state directory is a copy of another worker's."""
        shutil.copyfile(worker.journal.path, self._file)

    def drain(self) -> None:
        """The host asks it to end."""
        if self.is_alive:
            self._chronicle.log(self.name, "is asked to end")
            self._put(DrainAsked())

    def lose_helper(self) -> None:
        """Its helper process is killed."""
        if self.is_alive:
            self._chronicle.log(self.name, "loses its helper process")
            self._helper.die("killed", is_told=True)

    # ---- facts

    def receive(self, frame: bytes) -> None:
        """A frame has arrived at its socket."""
        read = decode([frame])
        self._put(FrameArrived(read.envelope, read.message))

    def reachable(self) -> None:
        """Something in the network or at the leader has changed: look at the connection for results anew."""
        if not self.is_alive or not self.state.results:
            return
        is_up = self._network.is_connected(self.host, self.state.results)
        if self._is_connected and not is_up:
            self._is_connected = False
        elif not self._is_connected and is_up:
            self._connection += 1
            self._agenda.after(0.005 + self._rng.random() * 0.4, self._link_up, self._connection)

    def _link_up(self, connection: int) -> None:
        if self.is_alive and connection == self._connection and not self._is_connected:
            if self._network.is_connected(self.host, self.state.results):
                self._is_connected = True
                self._put(LinkUp())
            else:
                self._agenda.after(0.3, self._link_up, connection)

    def _put(self, event: Event) -> None:
        if not self.is_alive:
            return
        if isinstance(event, HelperDied):
            self._helper = self._new_helper()
        self._inbox.append(event)
        self._wake(0.0002 + self._rng.random() * 0.003)

    # ---- the loop

    def turn(self) -> None:
        """See `Process`."""
        events, self._inbox = self._inbox or [Tick()], []
        try:
            self._perform(self.step(events))
        except Died:
            return
        if self.is_alive:
            self._wake_after(max((self.state.alarm_ms - self._clock_ms()) / 1000 + 0.001, 0.0))

    def step(self, events: Sequence[Event]) -> list[Effect]:
        """The core's answer to `events`, and a look at whether it kept the fence."""
        forbidden = self.fence.forbidden(events, f"{self.host}-{self.boots}")
        effects = self.core(self.state, events, self._moment())
        for effect in effects:
            if isinstance(effect, Journal):
                for record in effect.records:
                    self.fence.look_at(record, forbidden)
        return effects

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            self._burn()
            match effect:
                case Journal(records, sync):
                    self.write(records, sync)
                case Spawn(order, spec, _):
                    self._chronicle.log(self.name, f"spawns {order.attempt}")
                    self._helper.spawn(order, spec, self.exec_takes)
                case Kill(attempt, kill_now, kill_after_ms):
                    self._chronicle.log(self.name, f"ends {attempt} now={kill_now}")
                    self._helper.kill(attempt, kill_now, kill_after_ms)
                case Send():
                    self._send(effect)
                case ConnectResults():
                    self._is_connected = False
                    self._connection += 1
                    self._agenda.after(0.005 + self._rng.random() * 0.2, self._link_up, self._connection)
                case RenewLease(seconds):
                    self._helper.renew(seconds)
                case SetAlarm():
                    pass
                case Exit(reason):
                    self._chronicle.log(self.name, f"ends: {reason}")
                    self.is_alive, self.died_at = False, self._agenda.now
                    self.journal.close()
                    self._helper.die("its worker has ended", is_told=False)
                    self._agenda.after(RESTART, self.start)
        self._burn()

    def write(self, records: Sequence[Record], sync: bool) -> None:
        """Append to the journal; a crash may come between the write and its fsync."""
        if sync and self.fuse == 0:
            self.journal.append(records, sync=False)
            self._burn()
        self.journal.has_fault, self.journal_fault = self.journal_fault, self.journal_fault and not sync
        try:
            self.journal.append(records, sync=sync)
        except JournalError as error:
            self._chronicle.log(self.name, f"ends: {error}")
            self.crash()
            raise Died from error
        if sync:
            for record in records:
                if isinstance(record, AttemptsEnded):
                    self._chronicle.kept(record.outcomes)

    def _send(self, effect: Send) -> None:
        envelope = envelope_of(self.state)
        message = effect.message
        if type(message) is not Heartbeat:
            self._chronicle.tell(self.name, "says %s", message)
        if effect.endpoint:
            frame = encode(replace(envelope, receiver=effect.receiver), message)
            self._network.send(self.host, effect.endpoint, frame)
        elif self._is_connected and self._network.is_connected(self.host, self.state.results):
            self._network.send(self.host, self.state.results, encode(envelope, message))

    def _new_helper(self) -> Helper:
        boot_number = self.boots

        def tell(event: Event) -> None:
            if self.boots == boot_number:
                self._put(event)

        return self.helper(
            self._agenda, self._seed, self.name, self._witness, self._clock_ms, self._utc_ms, tell
        )

    def _clock_ms(self) -> int:
        return int(self._agenda.now * 1000) + self._offset_ms

    def _utc_ms(self) -> int:
        return EPOCH_UTC_MS + int(self._agenda.now * 1000) + self.utc_offset_ms

    def _moment(self) -> WorkerMoment:
        return WorkerMoment(self._clock_ms(), self._utc_ms())
