"""What the world has seen of leaders: who led, what was committed, which definitions were in force when."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from simulation.agenda import Agenda

from schedulerd.core import effects as fx
from schedulerd.core.requests import Triggered
from schedulerd.core.state import State
from schedulerd.model.job import Definition
from schedulerd.model.moment import Moment
from schedulerd.protocol.messages import Outcome

RECORDS = frozenset(fx.Record.__args__)


ENOUGH = 40  # violations after which a seed is given up


class Broken(Exception):
    """So much is broken that going on would tell nothing more."""


@dataclass(slots=True)
class Reign:
    """A definition of a job in force: its fire times in (since, until] must each have one row."""

    definition: Definition
    anchor: datetime | None
    since: datetime
    until: datetime | None = None


@dataclass
class Chronicle:
    """The event list of a seed, its violations, and the records as they were committed."""

    agenda: Agenda
    notes: list[tuple[float, str, str, tuple[object, ...]]] = field(default_factory=list)
    violations: list[tuple[str, str]] = field(default_factory=list)
    epochs: list[tuple[int, str]] = field(default_factory=list)
    reigns: dict[str, list[Reign]] = field(default_factory=dict)
    marks: dict[str, datetime] = field(default_factory=dict)
    attempts: dict[str, float] = field(default_factory=dict)  # id -> when it was recorded
    ends: dict[str, str] = field(default_factory=dict)  # attempt -> how it was first recorded to have ended
    fences: dict[str, int] = field(default_factory=dict)  # attempt -> its fence
    rounds: dict[str, list[int]] = field(
        default_factory=dict
    )  # run -> first fence of each round after the first
    words: dict[str, str] = field(default_factory=dict)  # attempt -> its end, as a worker has made it durable
    promised: list[str] = field(default_factory=list)  # runs that callers were told of
    resignations: list[tuple[str, int]] = field(default_factory=list)
    newest_utc: datetime | None = None  # of any committed step

    def log(self, who: str, text: str) -> None:
        """A line of the event list."""
        self.notes.append((self.agenda.now, who, text, ()))

    def tell(self, who: str, form: str, *values: object) -> None:
        """A line that is put into words only if somebody reads it: most seeds nobody reads."""
        self.notes.append((self.agenda.now, who, form, values))

    @property
    def lines(self) -> list[tuple[float, str, str]]:
        """The event list in words."""
        return [
            (when, who, (text % values)[:400] if values else text) for when, who, text, values in self.notes
        ]

    def violation(self, prop: str, text: str) -> None:
        """Something that must never happen has happened."""
        self.log("!!!", f"{prop}: {text}")
        self.violations.append((prop, text))
        if len(self.violations) >= ENOUGH:
            raise Broken

    def led(self, leader: str, epoch: int) -> None:
        """A leadership has begun."""
        self.log(leader, f"leads in epoch {epoch}")
        if self.epochs and epoch <= self.epochs[-1][0]:
            self.violation("P4", f"epoch {epoch} of {leader} is not newer than {self.epochs[-1]}")
        self.epochs.append((epoch, leader))

    def stepped(self, leader: str, state: State, effects: Sequence[fx.Effect]) -> None:
        """What must hold after every step of a leader."""
        for worker in state.workers.values():
            if worker.nonce and len(worker.attempts) > worker.slots:
                text = (
                    f"{leader} has given {worker.id} {len(worker.attempts)} attempts for {worker.slots} slots"
                )
                self.violation("credits", text)
        is_past = False
        for effect in effects:
            is_record = type(effect) in RECORDS
            if is_record and is_past:
                self.violation("order", f"a record behind an order: {effect!r}")
            is_past = is_past or not is_record

    def committed(self, leader: str, epoch: int, now: Moment, records: Sequence[fx.Record]) -> None:
        """These are in the ledger."""
        if epoch != self.epochs[-1][0]:
            self.violation(
                "P4", f"the ledger took records of epoch {epoch} after epoch {self.epochs[-1][0]} began"
            )
        self.newest_utc = max(self.newest_utc or now.utc, now.utc)
        for record in records:
            self.tell(leader, "%s", _Brief(record))
            match record:
                case fx.RecordAttempts(attempts):
                    for attempt in attempts:
                        self.attempts.setdefault(attempt.id, self.agenda.now)
                        self.fences[attempt.id] = attempt.fence
                case fx.RecordRound(run, first_fence, _):
                    self.rounds.setdefault(run, []).append(first_fence)
                case fx.RecordOutcomes(outcomes):
                    for outcome in outcomes:
                        self.ends.setdefault(outcome.attempt, outcome.state)
                case fx.RecordLateResults(outcomes):
                    for outcome in outcomes:
                        self.ends.setdefault(outcome.attempt, outcome.state)
                case fx.RecordJobs(rows):
                    for row in rows:
                        self._enthrone(row.definition, row.anchor, row.mark, now)
                case fx.RecordRemovals(jobs):
                    for job in jobs:
                        self._end(job, max(now.utc, self.marks[job]))
                case fx.RecordMarks(marks):
                    for job, mark in marks:
                        self.marks[job] = max(self.marks.get(job, mark), mark)

    def round_of(self, attempt: str) -> int:
        """Which round of its run an attempt belongs to, from 1; a retry of the whole run begins another one."""
        firsts = self.rounds.get(attempt.partition("~")[0], ())
        return 1 + sum(first <= self.fences.get(attempt, 0) for first in firsts)

    def newest_round(self, run: str) -> int:
        """How many rounds of the run have begun."""
        return 1 + len(self.rounds.get(run, ()))

    def is_recorded(self, attempt: str) -> bool:
        """It is in the ledger."""
        return attempt in self.attempts

    def kept(self, outcomes: Sequence[Outcome]) -> None:
        """A worker has these in its journal: whatever happens, they may not be lost any more."""
        for outcome in outcomes:
            self.words[outcome.attempt] = outcome.state

    def acknowledged(self, worker: str, attempt: str) -> None:
        """A worker has been told to forget this result."""
        if attempt not in self.ends and attempt in self.attempts:
            self.violation(
                "P3", f"{worker} was told to forget the result of {attempt}, which is not recorded"
            )

    def replied(self, token: int, answer: object) -> None:
        """A caller has its answer."""
        if isinstance(answer, Triggered) and answer.outcome == "started" and answer.run is not None:
            self.promised.append(answer.run)

    def resigned(self, leader: str, seen: int) -> None:
        """A leader has learnt that it leads no more; the world looks here now and then."""
        self.resignations.append((leader, seen))

    def _enthrone(self, definition: Definition, anchor: datetime | None, mark: datetime, now: Moment) -> None:
        name = definition.job.name
        reigns = self.reigns.setdefault(name, [])
        if reigns and reigns[-1].until is None and reigns[-1].definition.version == definition.version:
            return
        is_back = bool(reigns) and reigns[-1].until is not None
        latest = max(now.utc, self.marks.get(name, now.utc))
        if not now.utc <= mark <= latest:
            self.violation("P1", f"{name} counts from {mark}, expected between {now.utc} and {latest}")
        if not is_back:
            self._end(name, mark)
        reigns.append(Reign(definition, anchor, mark))
        # one that comes back counts from its newest row, at least
        self.marks[name] = mark if is_back else max(self.marks.get(name, mark), mark)

    def _end(self, name: str, until: datetime) -> None:
        reigns = self.reigns[name]
        if reigns and reigns[-1].until is None:
            reigns[-1].until = until
        self.marks[name] = max(self.marks.get(name, until), until)


class _Brief:
    """A record in few words, when they are asked for."""

    __slots__ = ("_record",)

    def __init__(self, record: fx.Record) -> None:
        self._record = record

    def __str__(self) -> str:
        return _brief(self._record)


def _brief(record: fx.Record) -> str:
    match record:
        case fx.RecordJobs(rows):
            return "records jobs " + " ".join(row.definition.job.name for row in rows)
        case fx.RecordRuns(runs):
            return "records runs " + " ".join(f"{run.id}({run.cause.value})" for run in runs)
        case fx.RecordAttempts(attempts):
            return "records attempts " + " ".join(f"{attempt.id}->{attempt.worker}" for attempt in attempts)
        case fx.RecordOutcomes(outcomes) | fx.RecordLateResults(outcomes):
            told = " ".join(f"{outcome.attempt}={outcome.state}/{outcome.reason}" for outcome in outcomes)
            return f"{type(record).__name__} {told}"
        case fx.CloseRun():
            return f"closes {record.run} {record.state.value} {record.reason}"
        case fx.RecordEvent():
            return (
                f"event {record.type} {record.attempt or record.run or record.worker or ''} {record.detail}"
            )
        case _:
            return str(record)[:300]
