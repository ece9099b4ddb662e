"""One seed from its beginning to its verdict. The same seed gives the same event list in every process."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from simulation.chaos import Chaos
from simulation.checker import Checker
from simulation.planted import Planted
from simulation.world import World

from schedulerd.adapters.ledger import invariants, whole
from schedulerd.core.requests import DeleteJob

CALM_EVERY = 20  # each 20th seed is a control: no faults, only callers
CHAOS = (60.0, 160.0)  # seconds of faults
STILL = 60.0  # seconds after the last fault after which no job fires any more
PATIENCE = 1200.0  # seconds after that, in which every run must become final; most need far less
LOOK = 20.0  # seconds between two looks at whether all is done
MOST_LINES = 3000

SHARED = Path("/dev/shm")


@dataclass(slots=True)
class Verdict:
    """What came of a seed."""

    seed: int
    violations: list[tuple[str, str]]
    lines: list[tuple[float, str, str]]
    starts: int
    frames: dict[str, int]

    @property
    def text(self) -> str:
        """For people: what was violated, and all that happened."""
        found = "\n".join(f"  {prop}: {text}" for prop, text in self.violations)
        cut = f"({len(self.lines) - MOST_LINES} lines left out)\n" if len(self.lines) > MOST_LINES else ""
        told = "\n".join(f"{time:9.3f} {who:7} {text}" for time, who, text in self.lines[-MOST_LINES:])
        return f"seed {self.seed} (replay it with SEED={self.seed}):\n{found}\n{cut}{told}\n{found}"


def play(seed: int, directory: Path, planted: Planted | None = None) -> Verdict:
    """Play one seed with its ledger in `directory`."""
    world = World(seed, directory, planted or Planted())
    rng, agenda = world.rng, world.agenda
    is_calm = seed % CALM_EVERY == 0
    world.begin()
    chaos = Chaos(world)
    ends = rng.uniform(*CHAOS)
    if is_calm:
        world.network.loss = world.network.repeat = world.network.slow = 0.0
        agenda.at(2.0, chaos.begin_callers)
    else:
        agenda.at(rng.random() * 5, chaos.begin)
    agenda.at(ends, chaos.calm)
    agenda.at(ends + STILL, _stop_firing, world)
    until = ends + STILL + LOOK
    agenda.run(until)
    while not world.is_done() and until < ends + STILL + PATIENCE:
        until += LOOK
        agenda.run(until)
    for worker in world.workers:
        if worker.is_alive and worker.state.ended:
            world.chronicle.violation("stuck", f"{worker.name} has results that nobody acknowledges")
    Checker(world.ledger_file, world.chronicle, world.witness, is_calm).check()
    with whole.reading(f"sqlite://{world.ledger_file}") as ledger:
        for text in invariants.violations(ledger):
            world.chronicle.violation("ledger", text)
    for leader in world.leaders:
        leader.crash()
    return Verdict(
        seed,
        world.chronicle.violations,
        world.chronicle.lines,
        len(world.witness.sights),
        world.network.counts,
    )


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A directory for ledgers, in memory where the machine has one."""
    return tempfile.TemporaryDirectory(dir=SHARED if SHARED.is_dir() else None)


def _stop_firing(world: World) -> None:
    world.reload([])
    world.ask(DeleteJob(job="api", by="sim"))
