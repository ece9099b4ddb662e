"""A leader for event-list tests: its state at a moment, facts to tell it, and what to pick out of its orders."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from schedulerd.adapters.jobfiles import version_of
from schedulerd.core import effects as fx
from schedulerd.core.events import (
    CommandGiven,
    Event,
    FoundWorker,
    FrameArrived,
    LeadershipGained,
    WorkersSeen,
)
from schedulerd.core.requests import Request
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.model.job import Argv, Definition, Job, Manual, Origin
from schedulerd.model.moment import Moment
from schedulerd.model.run import JobRow, OpenRun, OpenWork
from schedulerd.protocol import messages as msg
from schedulerd.protocol.codec import Envelope
from schedulerd.protocol.timing import Timing

EPOCH = 7
BEGIN = datetime(2026, 11, 23, 2, 0, 0, tzinfo=UTC)
MONO = 5000.0  # of the boot-time clocks, at BEGIN

T = TypeVar("T")


def instant(text: str) -> datetime:
    """`02:00:35` or `02:00:35.5`, on the day of BEGIN."""
    hours, minutes, seconds = text.split(":")
    return BEGIN.replace(hour=0) + timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds))


def at(text: str) -> Moment:
    """A reading of both clocks."""
    utc = instant(text)
    return Moment(utc, MONO + (utc - BEGIN).total_seconds())


def a_job(name: str = "backup", **changes: object) -> Job:
    """A job that fires only when it is triggered, unless `changes` say otherwise."""
    return Job(**{"name": name, "trigger": Manual(), "work": Argv(argv=("true",)), **changes})  # type: ignore[arg-type]


def defined(job: Job, file: str = "jobs.toml") -> Definition:
    """As the reader of job files makes it; without a file, as the API does."""
    return Definition(job=job, origin=Origin(file=file, line=1 if file else 0), version=version_of(job))


def row(job: Job, mark: str = "02:00:00", **changes: object) -> JobRow:
    """A job as the ledger keeps it."""
    known = {"definition": defined(job), "first_seen": instant(mark), "mark": instant(mark), "anchor": BEGIN}
    return JobRow(**{**known, **changes})  # type: ignore[arg-type]


def rebuilt(
    *rows: JobRow,
    runs: Sequence[OpenRun] = (),
    now: str = "02:00:00",
    removed: dict[str, datetime] | None = None,
) -> State:
    """What a leader remembers before its first step."""
    work = OpenWork(jobs=rows, runs=tuple(runs), next_fence=1, removed=tuple((removed or {}).items()))
    return rebuild(
        work, epoch=EPOCH, leader="a", results="tcp://a:1", output="", timing=Timing(), now=at(now)
    )


def leading(
    *jobs: Job | JobRow,
    workers: Sequence[str] = ("w1", "w2"),
    slots: int = 2,
    labels: Sequence[str] = (),
    now: str = "02:00:00",
) -> State:
    """A leader at `now` that has these jobs, and these workers, which have answered it."""
    state = rebuilt(*(row(job, now) if isinstance(job, Job) else job for job in jobs), now=now)
    step(state, [LeadershipGained(), found(*workers)], at(now))
    step(state, [inventory(worker, now, slots=slots, labels=labels) for worker in workers], at(now))
    return state


# ---- facts


def found(*workers: str) -> WorkersSeen:
    """Discovery lists these."""
    return WorkersSeen(tuple(FoundWorker(address=f"{worker}:7482") for worker in workers))


def said(worker: str, message: msg.Message, epoch: int = EPOCH, nonce: str = "n1") -> FrameArrived:
    """A frame of a worker."""
    return FrameArrived(Envelope(epoch, worker, nonce, "a", ""), message)


def clock_ms(now: str) -> int:
    """A worker's boot-time clock; here it is the leader's own."""
    return int(at(now).mono * 1000)


def inventory(
    worker: str,
    now: str,
    *,
    slots: int = 2,
    labels: Sequence[str] = (),
    accepted: Sequence[str] = (),
    running: Sequence[str] = (),
    ended: Sequence[str] = (),
    state: str = "ready",
    epoch: int = EPOCH,
    nonce: str = "n1",
    link: str = "",
    place: str = "",
    former: Sequence[str] = (),
) -> FrameArrived:
    """A worker tells what it is and holds."""
    told = msg.Inventory(
        name=worker,
        slots=slots,
        labels=list(labels),
        version="1",
        clock_ms=clock_ms(now),
        accepted=list(accepted),
        running=list(running),
        ended=list(ended),
        state=state,
        link=link or f"{worker}:7482",
        place=place,
        former=list(former),
    )
    return said(worker, told, epoch, nonce)


def beat(worker: str, number: int, now: str, *, digest: int = 0, state: str = "ready") -> FrameArrived:
    """A heartbeat."""
    return said(worker, msg.Heartbeat(number, clock_ms(now), 2, digest, 0, 0, state))


def took(worker: str, *attempts: str) -> FrameArrived:
    """Accepted."""
    return said(worker, msg.Accepted(list(attempts)))


def began(worker: str, *attempts: str) -> FrameArrived:
    """Started."""
    return said(worker, msg.Started([msg.Start(attempt, 1_795_399_200_000) for attempt in attempts]))


def ended(
    worker: str, attempt: str, state: msg.OutcomeState = "succeeded", output: bytes = b""
) -> FrameArrived:
    """A result."""
    reason = "exit" if state in ("succeeded", "failed") else state
    return said(worker, msg.Result([msg.Outcome(attempt, state, reason, stdout=msg.Captured(output))]))


def refused(worker: str, attempt: str, reason: str, seen: int = EPOCH) -> FrameArrived:
    """A refusal."""
    return said(worker, msg.Refused([msg.Refusal(attempt, reason)], seen))


def asked(request: Request, token: int = 1) -> CommandGiven:
    """A caller asks."""
    return CommandGiven(token, request)


# ---- orders


def of(kind: type[T], effects: Iterable[fx.Effect]) -> list[T]:
    """The orders of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(kind: type[T], effects: Iterable[fx.Effect]) -> list[tuple[str, T]]:
    """(worker, message) of what is sent of one kind."""
    return [
        (effect.peer.partition(":")[0], effect.message)
        for effect in effects
        if isinstance(effect, fx.Send) and isinstance(effect.message, kind)
    ]


def given(effects: Iterable[fx.Effect]) -> list[tuple[str, str]]:
    """(worker, attempt) of the work that is sent."""
    orders = [
        (peer, order.attempt) for peer, dispatch in sent(msg.Dispatch, effects) for order in dispatch.orders
    ]
    gathers = [
        (effect.peer.partition(":")[0], effect.order.attempt)
        for effect in effects
        if isinstance(effect, fx.SendGather)
    ]
    return orders + gathers


def closed(effects: Iterable[fx.Effect]) -> list[tuple[str, str, str]]:
    """(run, state, reason) of the runs that end."""
    return [(end.run, end.state.value, end.reason) for end in of(fx.CloseRun, effects)]


def skipped(effects: Iterable[fx.Effect]) -> list[tuple[str, str, str, int]]:
    """(first, last, reason, count) of the fire times that get no run."""
    return [
        (f"{skip.first:%T}", f"{skip.last:%T}", skip.reason.value, skip.count)
        for record in of(fx.RecordSkips, effects)
        for skip in record.skips
    ]


def fired(effects: Iterable[fx.Effect]) -> list[str]:
    """Ids of new runs."""
    return [run.id for record in of(fx.RecordRuns, effects) for run in record.runs]


def outcomes(effects: Iterable[fx.Effect]) -> list[tuple[str, str]]:
    """(attempt, state) of what is recorded as ended."""
    return [
        (outcome.attempt, outcome.state)
        for record in of(fx.RecordOutcomes, effects)
        for outcome in record.outcomes
    ]


def events_of(effects: Iterable[fx.Effect]) -> list[str]:
    """Types of the events for people."""
    return [event.type for event in of(fx.RecordEvent, effects)]


def answer(effects: Iterable[fx.Effect]) -> object:
    """What the one caller is answered."""
    (reply,) = of(fx.Reply, effects)
    return reply.answer


def told(state: State, events: Sequence[Event], now: str) -> list[fx.Effect]:
    """One step."""
    return step(state, events, at(now))
