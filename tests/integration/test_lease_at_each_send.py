"""The lease is asked before each commit and at each send: after a slow commit or a stop nothing is sent any more."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import zmq

from schedulerd.adapters.alarm import Alarm
from schedulerd.adapters.election import Lease
from schedulerd.adapters.ledger.sqlite import SqliteLedger
from schedulerd.adapters.ledger.sqlite_reader import SqliteReader
from schedulerd.adapters.outbox import Outbox
from schedulerd.core import effects as fx
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.perform import LeaseOver, Performer
from schedulerd.hostkit import clock
from schedulerd.model.moment import Moment
from schedulerd.protocol.codec import decode
from schedulerd.protocol.messages import Drain

SECONDS = 20_000  # milliseconds that a frame may take on loopback


class Rig:
    """A performer with a real ledger and a link that is connected to a real socket."""

    def __init__(self, place: Path, lease: Lease, ledger: SqliteLedger | None = None) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.worker = self.context.socket(zmq.PULL)
        port = self.worker.bind_to_random_port("tcp://127.0.0.1")
        self.path = place / "ledger.db"
        self.ledger = ledger or SqliteLedger(self.path)
        self.epoch = self.ledger.lead("alpha", 0, clock.utc_now())
        self.outbox = Outbox(self.context)
        self.lease = lease
        self.outbox.connect("w", f"127.0.0.1:{port}")
        self.performer = self.performer_of(lease)
        probe = self.performer_of(Lease())  # the link takes frames only once it is connected
        while True:
            probe.perform([self.send], self.now)
            if self.worker.poll(50):
                break
        while self.worker.poll(50):
            self.worker.recv_multipart()

    def performer_of(self, lease: Lease) -> Performer:
        """Another one with the same link."""
        return Performer(
            ledger=self.ledger,
            outbox=self.outbox,
            alarm=Alarm(lambda: None),
            inbox=Inbox(),
            lease=lease,
            epoch=self.epoch,
            leader="alpha",
            nonce="n",
            watches=(),
        )

    @property
    def now(self) -> Moment:
        return Moment(clock.utc_now(), clock.boot_seconds())

    @property
    def record(self) -> fx.RecordEvent:
        return fx.RecordEvent(type="test", time=clock.utc_now())

    @property
    def send(self) -> fx.Send:
        return fx.Send("w", "worker", "nonce", Drain())

    def recorded(self) -> int:
        reader = SqliteReader(self.path)
        found = [event for event in reader.events(2**62, 100) if event.type == "test"]
        reader.close()
        return len(found)

    def close(self) -> None:
        self.ledger.close()
        self.context.destroy(linger=0)


class SlowLedger(SqliteLedger):
    """Its commits are as slow as a disk can be: they come back when the lease is over."""

    lease: Lease

    def commit(self, epoch: int, records: Sequence[fx.Record]) -> fx.Noted:
        noted = super().commit(epoch, records)
        while self.lease.holds():
            pass
        return noted


@pytest.fixture
def rigs() -> Iterator[list[Rig]]:
    made: list[Rig] = []
    yield made
    for rig in made:
        rig.close()


def test_while_the_lease_holds_a_batch_is_committed_and_sent(tmp_path: Path, rigs: list[Rig]) -> None:
    rigs.append(rig := Rig(tmp_path, Lease(clock.boot_seconds(), 60.0)))
    rig.performer.perform([rig.record, rig.send], rig.now)
    assert rig.worker.poll(SECONDS)
    assert decode(rig.worker.recv_multipart()).envelope.epoch == rig.epoch
    assert rig.recorded() == 1


def test_a_lease_that_is_over_commits_nothing_and_sends_nothing(tmp_path: Path, rigs: list[Rig]) -> None:
    lease = Lease(clock.boot_seconds(), 60.0)
    rigs.append(rig := Rig(tmp_path, lease))
    lease.end("the test says so")
    for effects in ([rig.record, rig.send], [rig.send, rig.send]):
        with pytest.raises(LeaseOver, match="the test says so"):
            rig.performer.perform(effects, rig.now)
    assert not rig.worker.poll(300)
    assert rig.recorded() == 0


def test_a_lease_that_ends_while_the_commit_is_slow_answers_but_sends_nothing(
    tmp_path: Path, rigs: list[Rig]
) -> None:
    ledger = SlowLedger(tmp_path / "ledger.db")
    ledger.lease = lease = Lease()
    rigs.append(rig := Rig(tmp_path, lease, ledger))
    ledger.lease = lease = Lease(clock.boot_seconds(), 0.3)
    performer = rig.performer_of(lease)
    with pytest.raises(LeaseOver, match="the lease ran out"):
        performer.perform([rig.record, rig.send, fx.Reply(1, "done")], rig.now)
    assert rig.recorded() == 1  # it is true, and the ledger's epoch stands for it
    assert not rig.worker.poll(300)
