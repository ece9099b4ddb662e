"""A network in memory that loses, repeats, delays, reorders and replays frames, and can be cut, also in one direction.

It carries bytes, as the codec made them, from a host to whatever listens at an address when they arrive.
"""

import random
from collections import deque
from typing import Protocol

from simulation.agenda import Agenda

NOTICE = 6.0  # seconds after which heartbeats of the transport have told that a peer is silent
KEPT = 300  # frames that may be replayed
SETTLE = 0.05  # seconds a connection needs until it stands


class Port(Protocol):
    """What listens at an address."""

    host: str
    is_alive: bool
    alive_since: float
    died_at: float
    paused_since: float | None

    def receive(self, frame: bytes) -> None: ...


class Network:
    """All hosts and what lies between them; `loss`, `repeat` and `slow` are probabilities for each frame."""

    def __init__(self, agenda: Agenda, rng: random.Random) -> None:
        self.agenda = agenda
        self.ports: dict[str, Port] = {}
        self.loss = self.repeat = self.slow = 0.0
        self.counts = {"sent": 0, "lost": 0, "repeated": 0, "slow": 0, "refused": 0, "replayed": 0}
        self.mirrors: dict[str, str] = {}  # address -> where a copy of each of its frames goes as well
        self._rng = rng
        self._past: deque[tuple[str, str, bytes]] = deque(maxlen=KEPT)
        self._cuts: dict[tuple[str, str], float] = {}  # (from, to) -> since
        self._healed: dict[tuple[str, str], float] = {}  # where the cut was long enough to be noticed

    def cut(self, source: str, target: str) -> None:
        """Nothing gets from `source` to `target` any more."""
        self._cuts.setdefault((source, target), self.agenda.now)

    def heal(self, source: str, target: str) -> None:
        """Undo `cut`; a connection that was given up needs a moment to stand again."""
        since = self._cuts.pop((source, target), None)
        if since is not None and self.agenda.now - since > NOTICE:
            self._healed[(source, target)] = self.agenda.now

    def heal_all(self) -> None:
        """No cut is left."""
        for source, target in list(self._cuts):
            self.heal(source, target)

    def is_connected(self, source: str, address: str) -> bool:
        """What `source` believes of its connection: a silent peer is noticed late, a dead one soon."""
        port = self.ports.get(address)
        now = self.agenda.now
        if port is None:
            return False
        if not port.is_alive:
            return now - port.died_at < SETTLE
        if now - port.alive_since < SETTLE:
            return False
        if port.paused_since is not None and now - port.paused_since > NOTICE:
            return False
        for way in ((source, port.host), (port.host, source)):
            since = self._cuts.get(way)
            if since is not None and now - since > NOTICE:
                return False
            if now - self._healed.get(way, -9.0) < 1.0:
                return False
        return True

    def send(self, source: str, address: str, frame: bytes) -> None:
        """Give `frame` on its way; what becomes of it nobody is told."""
        port = self.ports.get(address)
        self.counts["sent"] += 1
        if port is None or (source, port.host) in self._cuts:
            self.counts["lost"] += 1
            return
        rng = self._rng
        if self.loss and rng.random() < self.loss:
            self.counts["lost"] += 1
            return
        self._past.append((source, address, frame))
        self.agenda.after(self._delay(), self._deliver, source, address, frame)
        if address in self.mirrors:
            self.agenda.after(self._delay(), self._deliver, source, self.mirrors[address], frame)
        if self.repeat and rng.random() < self.repeat:
            self.counts["repeated"] += 1
            self.agenda.after(self._delay() + rng.random() * 20, self._deliver, source, address, frame)

    def replay(self, rng: random.Random, count: int) -> None:
        """Frames that went on their way some time ago arrive (again) soon."""
        for source, address, frame in rng.sample(list(self._past), min(count, len(self._past))):
            self.counts["replayed"] += 1
            self.agenda.after(rng.random() * 3, self._deliver, source, address, frame)

    def _delay(self) -> float:
        rng = self._rng
        if self.slow and rng.random() < self.slow:
            self.counts["slow"] += 1
            return rng.choice((0.3, 2.0, 14.0, 40.0)) * rng.random()
        return 0.0005 + rng.random() * 0.004

    def _deliver(self, source: str, address: str, frame: bytes) -> None:
        port = self.ports[address]
        if port.is_alive and (source, port.host) not in self._cuts:
            port.receive(frame)
        else:
            self.counts["lost"] += 1
