"""The core on a real SQLite ledger, one step at a time, with takeovers in between."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from support.leading import BEGIN, EPOCH, at, found, inventory, row

from schedulerd.adapters.ledger.open import open_ledger
from schedulerd.core import effects as fx
from schedulerd.core.events import Event, HostBooted, LeadershipGained
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.model.job import Job
from schedulerd.protocol.timing import Timing

_RECORDS = fx.Record.__args__  # type: ignore[attr-defined]


class Leadership:
    """A leader whose every step is committed before its orders are looked at."""

    def __init__(self, place: Path, *jobs: Job, workers: Sequence[str] = ("w1",), slots: int = 2) -> None:
        """Leads from BEGIN on, with these jobs and workers."""
        self.url = f"sqlite://{place}/ledger.db"
        self._ledger = open_ledger(self.url)
        self._ledger.lead("a", EPOCH - 1, BEGIN)
        self._workers, self._slots = workers, slots
        self.keep([fx.RecordJobs(tuple(row(job) for job in jobs))])
        self.state: State
        self.take_over("02:00:00")

    def tell(self, events: Iterable[Event], now: str) -> list[fx.Effect]:
        """One step, committed."""
        return self.keep(step(self.state, list(events), at(now)))

    def keep(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        """Commit the records among `effects`."""
        records = [effect for effect in effects if isinstance(effect, _RECORDS)]
        if records:
            self._ledger.commit(EPOCH, records)
        return effects

    def take_over(
        self,
        now: str,
        running: Mapping[str, Sequence[str]] | None = None,
        nonce: str = "n1",
        *,
        doubts_clock: bool = False,
        boot: str = "",
    ) -> list[fx.Effect]:
        """Forget everything but the ledger, and lead again with the same workers, which hold what `running` says.

        `boot`: of the host that this leader is on; empty: it is not known yet.
        """
        self.state = rebuild(
            self._ledger.load(),
            epoch=EPOCH,
            leader="a",
            results="tcp://a:1",
            output="",
            timing=Timing(),
            now=at(now),
            doubts_clock=doubts_clock,
        )
        booted = [HostBooted(boot)] if boot else []
        effects = self.tell([LeadershipGained(), *booted, found(*self._workers)], now)
        for worker in self._workers:
            held = (running or {}).get(worker, ())
            answer = inventory(
                worker,
                now,
                slots=self._slots,
                running=held,
                nonce=nonce,
                former=["n1"] if nonce != "n1" else [],
            )
            effects += self.tell([answer], now)
        return effects

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()
