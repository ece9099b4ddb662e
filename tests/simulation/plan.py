"""What is to go wrong in a seed and who asks for what, as a list that can be shortened; how it is done is for others.

Each entry draws its details from its own number, so that leaving one out changes nothing in the others. A plan has a
text form, which is what a failing seed tells to be played again: `SEED`, or `SEED:EVENTS:ENDS:JOBS`.
"""

import random
from dataclasses import dataclass, replace

from simulation.weights import CALLS, FAULTS

CALM_EVERY = 20  # each 20th seed is a control: no faults, only callers
LONG_EVERY = 6  # each 6th seed is long: workers are called lost, clocks step by hours, terms run out
SIEGE_EVERY = 12  # each 12th seed, a long one: a worker that cannot be reached for longer than every term
MOST_EVENTS = 400


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault or one request."""

    number: int
    at: float  # seconds of the world
    what: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One seed, as it is to be played."""

    seed: int
    is_long: bool
    ends: float  # when the faults stop
    still: float  # seconds after that in which jobs go on to fire
    events: tuple[Planned, ...]
    jobs: tuple[int, ...] | None = None  # places in the seed's first job table; None = all
    is_cut: bool = False  # something has been left out

    @property
    def is_calm(self) -> bool:
        """No fault is planned: nothing may be lost, late or sent back."""
        return self.seed % CALM_EVERY == 0

    def rng(self, event: Planned) -> random.Random:
        """The chance of one event."""
        return random.Random(f"{self.seed} event {event.number}")

    def with_events(self, events: tuple[Planned, ...]) -> "Plan":
        """Only these happen."""
        return replace(self, events=events, is_cut=True)

    def with_ends(self, ends: float) -> "Plan":
        """The faults stop earlier."""
        return replace(self, ends=ends, events=tuple(e for e in self.events if e.at < ends), is_cut=True)

    def with_jobs(self, jobs: tuple[int, ...]) -> "Plan":
        """Only these jobs of the first table."""
        return replace(self, jobs=jobs, is_cut=True)

    @property
    def text(self) -> str:
        """What `plan_of` makes this plan from."""
        if not self.is_cut:
            return str(self.seed)
        events = ",".join(str(event.number) for event in self.events)
        jobs = "" if self.jobs is None else ",".join(map(str, self.jobs))
        return f"{self.seed}:{events}:{self.ends!r}:{jobs}"


def plan_of(text: str | int) -> Plan:
    """The plan with this text form."""
    seed, *rest = str(text).split(":")
    plan = _whole(int(seed))
    if not rest:
        return plan
    events, ends, jobs = rest
    kept = {int(number) for number in events.split(",") if number}
    plan = plan.with_events(tuple(event for event in plan.events if event.number in kept))
    plan = plan.with_ends(float(ends))
    return plan.with_jobs(tuple(map(int, jobs.split(",")))) if jobs else plan


def _whole(seed: int) -> Plan:
    rng = random.Random(f"{seed} plan")
    is_long = seed % LONG_EVERY == 0
    is_siege = seed % SIEGE_EVERY == LONG_EVERY and seed % CALM_EVERY > 0
    ends = rng.uniform(70.0, 170.0) if is_long else rng.uniform(8.0, 26.0)
    pace = rng.choice(
        (5.0, 12.0, 30.0, 60.0) if is_long else (1.0, 2.5, 6.0)
    )  # seconds between two faults, on average
    moments: list[tuple[float, str]] = []
    if is_siege:
        pace = 60.0
        begins = rng.uniform(15.0, 40.0)
        ends = begins + rng.uniform(70.0, 115.0)
        moments.append((begins, "siege"))
    if seed % CALM_EVERY:
        moments.append((0.0, "weather"))
        moments += _stream(rng, rng.random() * (5.0 if is_long else 2.0), ends, pace, FAULTS)
    moments += _stream(rng, 1.0, ends, 6.0 if is_long else 3.0, CALLS)
    events = [Planned(number, at, what) for number, (at, what) in enumerate(moments)]
    events.sort(key=lambda event: event.at)
    return Plan(seed, is_long, ends, 45.0 if is_long else 8.0, tuple(events[:MOST_EVENTS]))


def _stream(
    rng: random.Random, begin: float, end: float, pace: float, weights: dict[str, int]
) -> list[tuple[float, str]]:
    names, numbers = list(weights), list(weights.values())
    moments = []
    at = begin
    while (at := at + rng.expovariate(1 / pace)) < end:
        moments.append((at, rng.choices(names, numbers)[0]))
    return moments
