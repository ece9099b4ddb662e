"""Which process of a scheduler led which epochs, by the ledger's word and the moments of both. Judges nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from acceptance.faults.kit.history import NOTICED, EpochRow, History, Life


@dataclass(frozen=True, slots=True)
class Led:
    """A process and its leaderships; `terms` are their moments, from the taking of each to that of the next."""

    life: Life
    epochs: tuple[int, ...]
    terms: tuple[tuple[float, float], ...]

    def was_leading_at_the_end(self, moment: float) -> bool:
        """It may have led, and written, after this moment."""
        return any(until > moment for _, until in self.terms)


def ways_to_lead(history: History) -> list[Led]:
    """Every process of a scheduler with the epochs it led, in the order of their beginnings."""
    found: dict[int, list[tuple[int, float]]] = {life.pid: [] for life in history.lives}
    newest = 0.0
    begins: list[float] = []
    for row in history.epochs:
        pid, newest = _taken(history, row, newest)
        begins.append(newest)
        if pid is not None:
            found[pid].append((row.epoch, newest))
    led = []
    for life in sorted(history.lives, key=lambda life: life.began):
        terms = [(since, _end(life, since, begins)) for _, since in found[life.pid]]
        led.append(Led(life, tuple(epoch for epoch, _ in found[life.pid]), tuple(terms)))
    return led


def _taken(history: History, row: EpochRow, newest: float) -> tuple[int | None, float]:
    """(pid, moment) of the taking of an epoch; not before `newest`, the taking of the one before."""
    for moment in history.clock.moments(row.since):
        if moment < newest - NOTICED:
            continue
        for life in history.lives:
            is_alive = life.began - NOTICED <= moment and (
                life.ended is None or moment <= life.ended + NOTICED
            )
            if life.leader == row.leader and is_alive:
                return life.pid, moment
    return None, newest


def _end(life: Life, since: float, begins: Sequence[float]) -> float:
    later = min((begin for begin in begins if begin > since), default=float("inf"))
    return min(later, float("inf") if life.ended is None else life.ended)
