"""One seed from its beginning to its verdict. The same plan gives the same event list in every process."""

import gc
import tempfile
from dataclasses import dataclass
from pathlib import Path

from simulation import chaos
from simulation.checker import check
from simulation.chronicle import Broken, Chronicle
from simulation.plan import Plan, plan_of
from simulation.planted import Planted
from simulation.world import World

from schedulerd.core.requests import DeleteJob

PATIENCE = 6000.0  # seconds after the last fire time in which every run must become final; most need far less
LOOK = 5.0  # seconds between two looks at whether all is done
MOST_LINES = 3000

SHARED = Path("/dev/shm")


@dataclass(slots=True)
class Verdict:
    """What came of a seed."""

    plan: Plan
    chronicle: Chronicle
    starts: int
    frames: dict[str, int]

    @property
    def violations(self) -> list[tuple[str, str]]:
        """(property, what happened)."""
        return self.chronicle.violations

    @property
    def props(self) -> set[str]:
        """The properties that were violated."""
        return {prop for prop, _ in self.violations}

    @property
    def text(self) -> str:
        """For people: what was violated, and all that happened."""
        lines = self.chronicle.lines
        found = "\n".join(f"  {prop}: {text}" for prop, text in self.violations)
        cut = f"({len(lines) - MOST_LINES} lines left out)\n" if len(lines) > MOST_LINES else ""
        told = "\n".join(f"{time:9.3f} {who:7} {text}" for time, who, text in lines[-MOST_LINES:])
        again = f"play it again with: make sim SEED={self.plan.text}"
        return f"seed {self.plan.seed}, {again}\n{found}\n{cut}{told}\n{found}\n{again}"


def play(plan: Plan | int, directory: Path, planted: Planted | None = None) -> Verdict:
    """Play one seed with its ledger and journals in `directory`."""
    if isinstance(plan, int):
        plan = plan_of(plan)
    had_gc = gc.isenabled()
    gc.disable()  # a seed is short, and its objects die together
    try:
        return _play(plan, directory, planted or Planted())
    finally:
        if had_gc:
            gc.enable()


def _play(plan: Plan, directory: Path, planted: Planted) -> Verdict:
    world = World(plan, directory, planted)
    try:
        _run(world, plan)
    except Broken:
        pass
    world.close()
    return Verdict(plan, world.chronicle, len(world.witness.sights), world.network.counts)


def _run(world: World, plan: Plan) -> None:
    agenda = world.agenda
    world.begin()
    chaos.begin(world, plan)
    agenda.at(plan.ends + plan.still, _stop_firing, world)
    until = plan.ends + plan.still + LOOK
    last = until + PATIENCE
    agenda.run(until)
    while not world.is_done() and until < last:
        until += LOOK
        agenda.run(until)
    agenda.run(until + LOOK)
    check(world, plan)


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A directory for ledgers and journals, in memory where the machine has one."""
    return tempfile.TemporaryDirectory(dir=SHARED if SHARED.is_dir() else None)


def _stop_firing(world: World) -> None:
    world.stops_firing_at = world.agenda.now
    world.reload([])
    world.ask(DeleteJob(job="api", by="sim"))
