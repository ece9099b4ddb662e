"""The helper process of a simulated worker: its children take virtual time, fail, hang, and tell the witness.

Keeps the promises of the real one: the expiry is looked at right before exec, a child ends with its helper, and the
helper ends with its worker or when the lease it was given has run out.
"""

import random
from collections.abc import Callable

from simulation.agenda import Agenda
from simulation.table import LONG
from simulation.witness import Sight, Witness

from schedulerd.protocol.ids import SPLIT, split_attempt_id
from schedulerd.protocol.messages import Captured, Order, Outcome, OutcomeState, Spec
from workerd.events import ChildEnded, ChildExpired, ChildStarted, Event, HelperDied

STATES: dict[str, OutcomeState] = {  # how the helper tells a child's end
    "succeeded": "succeeded",
    "failed": "failed",
    "timeout": "timeout",
    "killed": "cancelled",
}
EXEC_MS = 15  # from the look at the expiry to the child's first instruction, at most


class Child:
    """One process and what it is going to do."""

    def __init__(self, sight: Sight, spec: Spec, started_utc_ms: int) -> None:
        self.sight = sight
        self.spec = spec
        self.started_utc_ms = started_utc_ms
        self.is_told = False


class Helper:
    """Lives as long as its worker's process, or shorter. `tell` puts an event into the worker's inbox."""

    def __init__(
        self,
        agenda: Agenda,
        seed: int,
        worker: str,
        witness: Witness,
        clock_ms: Callable[[], int],
        utc_ms: Callable[[], int],
        tell: Callable[[Event], None],
    ) -> None:
        self.children: dict[str, Child] = {}
        self.is_alive = True
        self._waiting: dict[str, None] = {}  # told to be spawned, no process yet
        self._agenda = agenda
        self._seed = seed
        self._worker = worker
        self._witness = witness
        self._clock_ms = clock_ms
        self._utc_ms = utc_ms
        self._tell = tell
        self._lease_until: float | None = None

    def renew(self, seconds: float) -> None:
        """Live on for `seconds` without a further word."""
        if self._lease_until is None:
            self._agenda.after(seconds, self._look_at_lease)
        self._lease_until = self._agenda.now + seconds

    def spawn(self, order: Order, spec: Spec, takes: float) -> None:
        """Start a child a moment from now, or so many seconds."""
        rng = random.Random(f"{self._seed} {order.attempt} {self._worker}")
        if not self.is_alive:
            self._tell(ChildEnded(Outcome(order.attempt, "failed", "spawn", finished_utc_ms=self._utc_ms())))
            return
        self._waiting[order.attempt] = None
        self._agenda.after(takes + 0.0005 + rng.random() * EXEC_MS / 1000, self._exec, order, spec, rng)

    def kill(self, attempt: str, kill_now: bool, kill_after_ms: int) -> None:
        """TERM (half of the children mind it only when KILL comes), or KILL."""
        if attempt in self._waiting:
            del self._waiting[attempt]
            self._tell(ChildEnded(Outcome(attempt, "cancelled", "cancelled", finished_utc_ms=self._utc_ms())))
        child = self.children.get(attempt)
        if child is None:
            return
        rng = random.Random(f"{self._seed} {attempt} kill")
        delay = 0.01 if kill_now or rng.random() < 0.5 else kill_after_ms / 1000
        self._agenda.after(delay, self._finish, child, "killed")

    def die(self, detail: str, is_told: bool) -> None:
        """The helper process ends and its children with it; `is_told` when there is a worker to learn of it."""
        if not self.is_alive:
            return
        self.is_alive = False
        for child in list(self.children.values()):
            self._end(child, "killed")
        if is_told:
            self._tell(HelperDied(detail))

    def _look_at_lease(self) -> None:
        if not self.is_alive or self._lease_until is None:
            return
        if self._agenda.now >= self._lease_until:
            self.die("its lease ran out", is_told=True)
        else:
            self._agenda.at(self._lease_until, self._look_at_lease)

    def _exec(self, order: Order, spec: Spec, rng: random.Random) -> None:
        if not self.is_alive or order.attempt not in self._waiting:
            return
        del self._waiting[order.attempt]
        if self._is_over(order):
            self._tell(ChildExpired(order.attempt))
            return
        late_ms = self._clock_ms() - order.expiry_clock_ms
        sight = Sight(order.attempt, spec.job, self._worker, self._agenda.now, spec.guarded, late_ms)
        self._witness.began(sight)
        child = Child(sight, spec, self._utc_ms())
        self.children[order.attempt] = child
        self._tell(ChildStarted(order.attempt, child.started_utc_ms))
        takes = rng.choice((0.05, 0.5, 3.0, 8.0)) * (0.2 + rng.random())
        ends = "failed" if rng.random() < 0.15 else "succeeded"
        if rng.random() < 0.05:
            takes = 1000.0  # hangs until its timeout
        limit = spec.timeout_ms / 1000
        if limit >= LONG and rng.random() < 0.7:
            takes = rng.choice((0.3, 0.6, 0.9)) * limit
        if takes > limit:
            takes, ends = limit + rng.random() * spec.kill_after_ms / 1000, "timeout"
        if ends == "succeeded":
            sight.output = self._output(order.attempt, rng)
        self._agenda.after(takes, self._finish, child, ends)

    def _is_over(self, order: Order) -> bool:
        """Its expiry has passed."""
        return self._clock_ms() >= order.expiry_clock_ms

    def _output(self, attempt: str, rng: random.Random) -> bytes:
        if split_attempt_id(attempt)[1] == SPLIT:
            return b"".join(b"item %d\n" % number for number in range(rng.randrange(5)))
        return f"{attempt} {rng.getrandbits(32):08x}".encode()

    def _finish(self, child: Child, end: str) -> None:
        if not self.is_alive or child.sight.ended is not None:
            return
        self._end(child, end)
        is_good = end == "succeeded"
        self._tell(
            ChildEnded(
                Outcome(
                    child.sight.attempt,
                    STATES[end],
                    {"killed": "cancelled", "timeout": "timeout"}.get(end, "exit"),
                    exit_code=0 if is_good else None if end == "killed" else 1,
                    started_utc_ms=child.started_utc_ms,
                    finished_utc_ms=self._utc_ms(),
                    stdout=Captured(child.sight.output if is_good else b""),
                )
            )
        )

    def _end(self, child: Child, end: str) -> None:
        child.sight.ended = self._agenda.now
        child.sight.end = end
        if self.children.get(child.sight.attempt) is child:
            del self.children[child.sight.attempt]
