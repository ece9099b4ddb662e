"""A failing plan made small: faults, requests and jobs are left out as long as the same promise is still broken.

Delta debugging: halves first, then smaller pieces, then one by one; bounded by processor time, for a smaller plan is a
help and not a proof.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from simulation.plan import Plan, Planned
from simulation.planted import Planted
from simulation.play import Verdict, play

_T = TypeVar("_T")

SECONDS = 40.0  # of processor time, at most
MOST_JOBS = 6  # of a seed's first table; places beyond its end do not count
QUIET = 0.5  # seconds between the last event and the end of the faults


def shrunk(
    verdict: Verdict, directory: Path, planted: Planted | None = None, seconds: float = SECONDS
) -> Verdict:
    """The verdict on the smallest plan found that breaks the first promise that `verdict` says was broken."""
    return _Search(verdict, directory, planted, seconds).best


class _Search:
    def __init__(self, verdict: Verdict, directory: Path, planted: Planted | None, seconds: float) -> None:
        self.best = verdict
        self._prop = verdict.violations[0][0]
        self._directory = directory
        self._planted = planted
        self._until = time.process_time() + seconds
        before = -1
        while self._size() != before and not self._is_over():
            before = self._size()
            self._fewer_events()
            self._sooner()
            self._fewer_jobs()

    def _size(self) -> int:
        plan = self.best.plan
        return len(plan.events) * 100 + (len(plan.jobs) if plan.jobs is not None else 10)

    def _is_over(self) -> bool:
        return time.process_time() >= self._until

    def _try(self, plan: Plan) -> bool:
        if self._is_over():
            return False
        verdict = play(plan, self._directory, self._planted)
        if self._prop not in verdict.props:
            return False
        self.best = verdict
        return True

    def _fewer_events(self) -> None:
        def attempt(events: Sequence[Planned]) -> bool:
            return self._try(self.best.plan.with_events(tuple(events)))

        fewer(list(self.best.plan.events), attempt)

    def _fewer_jobs(self) -> None:
        plan = self.best.plan
        jobs = list(plan.jobs if plan.jobs is not None else range(MOST_JOBS))
        fewer(jobs, lambda kept: bool(kept) and self._try(self.best.plan.with_jobs(tuple(kept))))

    def _sooner(self) -> None:
        """The faults stop right after the last of them."""
        plan = self.best.plan
        last = max((event.at for event in plan.events), default=0.0)
        for after in (QUIET, 5.0):
            if last + after < plan.ends and self._try(plan.with_ends(round(last + after, 3))):
                return


def fewer(elements: list[_T], fails: Callable[[Sequence[_T]], bool]) -> list[_T]:
    """A sublist of `elements` for which `fails` is still true, from which no piece that was tried can be left out."""
    size = max(1, len(elements) // 2)
    while elements:
        at = 0
        while at < len(elements):
            kept = elements[:at] + elements[at + size :]
            if fails(kept):
                elements = kept
            else:
                at += size
        if size == 1:
            break
        size = max(1, size // 2)
    return elements
