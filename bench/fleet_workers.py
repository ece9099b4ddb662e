"""Workers without slots to fill: real sockets that answer Hellos, beat every 2 s and stand in Consul. They run nothing.

`python -m bench.fleet_workers NUMBER COUNT CONSUL` prints its COUNT addresses on one line and goes on until killed; an
empty CONSUL registers nobody.
"""

import heapq
import sys
import threading
import time
import uuid

import zmq

from schedulerd.hostkit.clock import boot_ms
from schedulerd.hostkit.consul_client import ConsulClient, ConsulError
from schedulerd.protocol.codec import Envelope, decode, encode
from schedulerd.protocol.messages import Heartbeat, Hello, Inventory, Message
from workerd.adapters.registration import registration_of
from workerd.state import Identity

BEAT = 2.0
UPDATE = 5.0  # seconds between two passes of a check
REGISTER = 12  # of these passes until it registers anew
SLOTS = 8


class Beater:
    """One worker: a PULL that is bound, and a PUSH to whoever leads."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", number: int) -> None:
        self.identity = Identity(
            worker=str(uuid.uuid5(uuid.NAMESPACE_OID, f"bench {number}")),
            nonce=uuid.uuid4().hex,
            name=f"w{number}",
            slots=SLOTS,
            labels=(f"rack={number % 40}", "role=bench"),
            version="0",
        )
        self._context = context
        self.pull = context.socket(zmq.PULL)
        self.pull.bind("tcp://127.0.0.1:*")
        self.address = self.pull.get_string(zmq.LAST_ENDPOINT).removeprefix("tcp://")
        self._push: zmq.Socket[bytes] | None = None
        self._results = self._leader = ""
        self._epoch = self._beats = 0

    def read(self) -> None:
        """Answer what has come; only Hellos do."""
        while True:
            try:
                frame = decode([self.pull.recv(zmq.NOBLOCK)])
            except zmq.Again:
                return
            if isinstance(frame.message, Hello):
                self._greeted(frame.envelope, frame.message)

    def _greeted(self, envelope: Envelope, hello: Hello) -> None:
        self._leader, self._epoch = envelope.sender, max(self._epoch, envelope.epoch)
        if hello.results != self._results:
            self._results = hello.results
            if self._push is not None:
                self._push.close(linger=0)
            self._push = self._context.socket(zmq.PUSH)
            for option, value in {
                zmq.HEARTBEAT_IVL: 2000,
                zmq.HEARTBEAT_TIMEOUT: 6000,
                zmq.LINGER: 0,
            }.items():
                self._push.setsockopt(option, value)
            self._push.connect(hello.results)
        identity = self.identity
        if (envelope.receiver, envelope.receiver_nonce) != (identity.worker, identity.nonce):
            labels = list(identity.labels)
            self._send(
                Inventory(identity.name, SLOTS, labels, "0", boot_ms(), [], [], [], "ready", hello.link)
            )

    def beat(self) -> None:
        """Tell the leader that it lives, if there is one."""
        self._beats += 1
        self._send(Heartbeat(self._beats, boot_ms(), SLOTS, 0, 0, 0))

    def _send(self, message: Message) -> None:
        if self._push is not None:
            envelope = Envelope(self._epoch, self.identity.worker, self.identity.nonce, self._leader, "")
            try:
                self._push.send(encode(envelope, message), zmq.NOBLOCK)
            except zmq.Again:
                pass


def _register(beaters: list[Beater], consul: str) -> None:
    """As many calls as that many workerd would make, spread evenly."""
    client = ConsulClient(consul)
    rounds = 0
    due = time.monotonic()
    while True:
        for number, beater in enumerate(beaters):
            registration = registration_of(beater.identity, beater.address, "default")
            try:
                if rounds == 0 or rounds % REGISTER == number % REGISTER:
                    client.register(registration)
                client.check_pass(registration.check_id, "the worker's loop runs")
            except ConsulError as error:
                print(error, file=sys.stderr)
            due += UPDATE / len(beaters)
            time.sleep(max(0.0, due - time.monotonic()))
        rounds += 1


def main() -> None:
    """Beat until killed."""
    number, count, consul = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 4 * count + 100)
    beaters = [Beater(context, number * count + each) for each in range(count)]
    print(*(beater.address for beater in beaters), flush=True)
    if consul:
        threading.Thread(target=_register, args=(beaters, consul), daemon=True).start()
    poller = zmq.Poller()
    by_socket = {}
    for beater in beaters:
        poller.register(beater.pull, zmq.POLLIN)
        by_socket[beater.pull] = beater
    now = time.monotonic()
    due = [(now + BEAT * place / count, place) for place in range(count)]
    while True:
        for socket, _ in poller.poll(max(0, int((due[0][0] - time.monotonic()) * 1000))):
            by_socket[socket].read()
        while due[0][0] <= time.monotonic():
            at, place = heapq.heappop(due)
            beaters[place].beat()
            heapq.heappush(due, (at + BEAT, place))


if __name__ == "__main__":
    main()
