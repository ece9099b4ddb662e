"""Draws faults from a seed, makes them one after the other, and logs when each began and ended.

The log is a plan as well: played again, the same faults come at the same seconds with the same arguments. What a
fault is stands in faults.py.
"""

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from acceptance.faults.kit.cluster import Cluster
from acceptance.faults.kit.cluster import boot_now as now
from acceptance.faults.kit.doing import Args, Stage
from acceptance.faults.kit.faults import KINDS
from acceptance.faults.kit.history import Fault

CALM = 8.0  # seconds after a fault and its recovery in which everything is required, before the next one
JOINED = 0.3  # how often a second fault comes while one lasts


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault to be made: `at` seconds from the beginning, for `hold` seconds."""

    name: str
    kind: str
    at: float
    hold: float
    args: Args = field(default_factory=dict)


def plan(seed: int, seconds: float, cluster: Cluster, kinds: Sequence[str] = ()) -> list[Planned]:
    """Faults for so many seconds: no kind comes again before all others did, each has time to recover after it."""
    rng = random.Random(seed)
    usable = [name for name in kinds or KINDS if KINDS[name].applies(cluster)]
    if not kinds:  # those that last longer than a minute would fill the time: one of them
        long = [name for name in usable if name.endswith("_for_long")]
        kept = rng.choice(long)
        usable = [name for name in usable if name not in long or name == kept]
    planned: list[Planned] = []
    deck: list[str] = []
    at = CALM
    while True:
        if not deck:
            deck = rng.sample(usable, len(usable))
        one = _draw(rng, cluster, deck.pop(), at, len(planned))
        together = [one]
        joining = [name for name in usable if KINDS[name].may_join and name != one.kind]
        if joining and KINDS[one.kind].may_join and rng.random() < JOINED:
            together.append(
                _draw(rng, cluster, rng.choice(joining), at + rng.uniform(0, 3), len(planned) + 1)
            )
        over = max(fault.at + fault.hold + KINDS[fault.kind].recovery(fault.args) for fault in together)
        if over > seconds:
            if len(planned) < len(usable) and deck:  # a shorter one may still fit
                continue
            return planned
        planned += together
        at = over + CALM


def _draw(rng: random.Random, cluster: Cluster, kind: str, at: float, number: int) -> Planned:
    found = KINDS[kind]
    hold = round(rng.uniform(*found.hold), 1)
    return Planned(f"f{number}", kind, round(at, 1), hold, found.draw(rng, cluster))


def read_plan(path: Path) -> list[Planned]:
    """The faults of a log."""
    told = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Planned(line["name"], line["kind"], line["at"], line["hold"], line["args"])
        for line in told
        if line["what"] == "end"
    ]


class Nemesis:
    """Makes planned faults on a stage; `log` gets a line of JSON as each begins and ends."""

    def __init__(self, stage: Stage, log: Path) -> None:
        self._stage = stage
        self._log = log
        self.done: list[Fault] = []
        self.clock_steps: list[
            tuple[float, float]
        ] = []  # of the first scheduler's host: (moment, seconds ahead)

    def run(self, planned: Sequence[Planned], *, in_a_hurry: bool = False) -> None:
        """Make them all; returns when the last one has ended. Later ones wait for earlier ones that take longer.

        Unless `in_a_hurry` they also wait until those before them have recovered.
        """
        began = now()
        shift = 0.0  # what took longer than planned moves all that follows
        open_faults: list[
            tuple[float, Planned, Args, float]
        ] = []  # (end, fault, its arguments, its beginning)
        waiting = sorted(planned, key=lambda fault: fault.at)
        while waiting or open_faults:
            next_at = waiting[0].at + shift if waiting else float("inf")
            open_faults.sort(key=lambda fault: fault[0])
            if open_faults and open_faults[0][0] <= next_at:
                due, fault, args, begun = open_faults.pop(0)
                _wait(lambda due=due: now() - began >= due)  # type: ignore[misc]
                self._end(fault, args, begun)
            else:
                fault = waiting.pop(0)
                _wait(lambda due=next_at: now() - began >= due)  # type: ignore[misc]
                args = dict(fault.args)
                begun = self._begin(fault, args)
                shift += now() - begun
                open_faults.append((now() - began + fault.hold, fault, args, begun))
            if waiting and not open_faults and not in_a_hurry:
                last = self.done[-1]
                shift = max(shift, last.over - began + CALM - waiting[0].at)

    def _begin(self, fault: Planned, args: Args) -> float:
        begun = now()
        self._write(what="begin", fault=fault, args=args, moment=begun)
        KINDS[fault.kind].begin(self._stage, fault.name, args)
        self._note_clock(fault, begun)
        return begun

    def _end(self, fault: Planned, args: Args, begun: float) -> None:
        moved = now()
        KINDS[fault.kind].end(self._stage, fault.name, args)
        self._note_clock(fault, moved)
        ended = now()
        self._write(what="end", fault=fault, args=args, moment=ended)
        recovery = KINDS[fault.kind].recovery(args)
        if KINDS[fault.kind].hits_leader and len(self._stage.cluster.schedulers) > 1:
            recovery = max(
                0.0, recovery - (ended - begun)
            )  # the standby has taken over, whatever the old one does
        self.done.append(
            Fault(name=fault.name, kind=fault.kind, began=begun, ended=ended, recovery=recovery, args=args)
        )

    def _note_clock(self, fault: Planned, moment: float) -> None:
        host = self._stage.cluster.schedulers[0]
        if host in fault.args.get("hosts", ()):
            self.clock_steps.append((moment, self._stage.cluster.ahead(host)))

    def _write(self, *, what: str, fault: Planned, args: Args, moment: float) -> None:
        line = {**asdict(fault), "what": what, "args": args, "moment": round(moment, 3)}
        with self._log.open("a") as log:
            log.write(json.dumps(line) + "\n")


def _wait(claim: Callable[[], bool]) -> None:
    pause = threading.Event()  # never set
    while not claim():
        pause.wait(0.02)
