"""What simulated processes of both kinds have in common: they live, die between two effects, stop and go on."""

import random

from simulation.agenda import Agenda
from simulation.chronicle import Chronicle
from simulation.network import Network


class Died(Exception):
    """The process is gone, or stands still, in the middle of what it did."""


class Process:
    """A host and its process of the moment; `boots` counts those."""

    def __init__(
        self,
        host: str,
        address: str,
        agenda: Agenda,
        network: Network,
        rng: random.Random,
        chronicle: Chronicle,
    ) -> None:
        self.host = self.name = host
        self.boots = 0
        self.is_alive = False
        self.alive_since = self.died_at = -100.0
        self.paused_since: float | None = None
        self.fuse: int | None = None  # boundaries between effects until it dies
        self._agenda = agenda
        self._network = network
        self._rng = rng
        self._chronicle = chronicle
        self._is_woken = False
        self._alarm = 0
        network.ports[address] = self

    def start(self) -> None:
        """A new process."""
        raise NotImplementedError

    def receive(self, frame: bytes) -> None:
        """A frame has arrived at its socket."""
        raise NotImplementedError

    def crash(self) -> None:
        """KILL."""
        raise NotImplementedError

    def turn(self) -> None:
        """Take what has arrived, step once, obey."""
        raise NotImplementedError

    def pause(self) -> None:
        """STOP: frames wait in its sockets."""
        if self.is_alive and self.paused_since is None:
            self._chronicle.log(self.name, "is stopped")
            self.paused_since = self._agenda.now

    def unpause(self) -> None:
        """CONT: it goes on exactly where it was."""
        if self.paused_since is not None:
            self._chronicle.log(self.name, "goes on")
            self.paused_since = None
            self._wake(0.0)

    def _wake(self, delay: float) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._agenda.after(delay, self._woken, self.boots)

    def _woken(self, boots: int) -> None:
        self._is_woken = False
        if boots != self.boots:
            self._wake(0.0)
        elif self.is_alive and self.paused_since is None:
            self.turn()

    def _wake_after(self, delay: float) -> None:
        """Set the alarm; an earlier one does not ring any more."""
        self._alarm += 1
        self._agenda.after(delay, self._ring, self._alarm)

    def _ring(self, alarm: int) -> None:
        if alarm == self._alarm and self.is_alive:
            self._wake(0.0)

    def _burn(self) -> None:
        """A boundary between two effects: here it may die."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.fuse = None
                self.crash()
                raise Died
