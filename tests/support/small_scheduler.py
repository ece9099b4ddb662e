"""The real core on the real SQLite ledger behind the API's door, with a clock and workers in the test's hands."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import structs

from schedulerd.adapters import jobfiles
from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.api.door import DoorStatus
from schedulerd.core import effects as fx
from schedulerd.core import events as ev
from schedulerd.core import requests as rq
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.errors import CommandError, JobFileError
from schedulerd.model.job import At
from schedulerd.model.moment import Moment
from schedulerd.protocol import messages as msg
from schedulerd.protocol.api_types import ReloadAnswer
from schedulerd.protocol.codec import Envelope
from schedulerd.protocol.timing import Timing

NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
_RECORDS = fx.Record.__args__  # type: ignore[attr-defined]

Ending = Callable[[msg.Spec, msg.Order], msg.Outcome | None]  # None: it goes on


def succeeds(spec: msg.Spec, order: msg.Order) -> msg.Outcome | None:
    """Every attempt prints one line and ends well."""
    return msg.Outcome(order.attempt, "succeeded", exit_code=0, stdout=msg.Captured(tail=b"done\n"))


class SmallScheduler:
    """A `Door`; all of it happens in one thread, in the order it is asked for."""

    def __init__(self, place: Path, workers: Sequence[str] = ("w1",), start: datetime = NIGHT) -> None:
        self.jobs_dir = place / "jobs.d"
        self.jobs_dir.mkdir(exist_ok=True)
        self.url = f"sqlite://{place}/ledger.db"
        self.ending: Ending = succeeds
        self.now = start
        self.known = DoorStatus(
            is_leading=True, epoch=1, ready=True, reasons=(), started_at=start, version="1.2.3"
        )
        self._workers = list(workers)
        self._mono = 1000.0
        self._replies: dict[int, object] = {}
        self._token = 0
        self._beats = 0
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._thread.submit(self._open).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._ledger.close).result()
        self._thread.shutdown()

    # ---- the door -------------------------------------------------------------------------------------------

    def ask(self, request: rq.Request, timeout: float) -> object:
        """See `Door`."""
        if not self.known.is_leading:
            raise CommandError("unavailable", "nobody leads")
        if isinstance(request, rq.PutJob) and isinstance(request.definition.job.trigger, At):
            job, instants = request.definition.job, request.definition.job.trigger.instants
            with closing(self.reader()) as reader:
                filled = tuple(instant for instant in instants if reader.has_slot(job.name, instant))
            request = structs.replace(request, filled=filled)
        answer = self._thread.submit(self._ask, request).result()
        if isinstance(answer, CommandError):
            raise answer
        return answer

    def status(self) -> DoorStatus:
        """See `Door`."""
        return self.known

    def reload(self, timeout: float) -> ReloadAnswer:
        """See `Door`."""
        try:
            table = jobfiles.load_table(self.jobs_dir)
        except JobFileError as error:
            return ReloadAnswer(faults=error.faults)
        done = self.ask(rq.ReplaceTable(definitions=table.definitions, pools=table.pools), timeout)
        assert isinstance(done, rq.TableReplaced)
        return ReloadAnswer(
            added=list(done.added),
            changed=list(done.changed),
            removed=list(done.removed),
            unchanged=done.unchanged,
        )

    # ---- what tests do --------------------------------------------------------------------------------------

    def reader(self) -> LedgerReader:
        """A reader of its own of the same ledger."""
        return open_reader(self.url)

    def table(self, text: str, file: str = "jobs.toml") -> None:
        """Write a job file and take it."""
        (self.jobs_dir / file).write_text(text)
        assert not self.reload(10).faults

    def advance(self, seconds: float) -> None:
        """Let time pass, second by second, with a heartbeat of every worker."""
        self._thread.submit(self._advance, seconds).result()

    def finish(self, attempt: str, state: str = "succeeded", **more: object) -> None:
        """Let an attempt that goes on end."""
        outcome = msg.Outcome(attempt, state, finished_utc_ms=self._utc_ms(), **more)  # type: ignore[arg-type]
        self._thread.submit(self._step, [self._frame(self._workers[0], msg.Result([outcome]))]).result()

    # ---- inside ---------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._ledger = open_ledger(self.url)
        self._epoch = self._ledger.lead("tower", 0, self.now)
        self._state = rebuild(
            self._ledger.load(),
            epoch=self._epoch,
            leader="tower",
            results="tcp://127.0.0.1:1",
            output="",
            timing=Timing(),
            now=self._moment(),
        )
        found = ev.WorkersSeen(
            tuple(
                ev.FoundWorker(address=f"127.0.0.1:{7001 + i}", name=name)
                for i, name in enumerate(self._workers)
            )
        )
        self._step([ev.LeadershipGained(), found])

    def _ask(self, request: rq.Request) -> object:
        self._token += 1
        self._step([ev.CommandGiven(self._token, request)])
        return self._replies.pop(self._token)

    def _advance(self, seconds: float) -> None:
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now += timedelta(seconds=1)
            self._mono += 1
            self._beats += 1
            beat = msg.Heartbeat(self._beats, self._clock_ms(), 4, 0, 0, 0)
            self._step([ev.AlarmRang(), *(self._frame(name, beat) for name in self._workers)])

    def _step(self, events: Sequence[ev.Event]) -> None:
        """One step after another until the workers have nothing more to say."""
        following = list(events)
        while following:
            effects = step(self._state, following, self._moment())
            records = [effect for effect in effects if isinstance(effect, _RECORDS)]
            if records:
                self._ledger.commit(self._epoch, records)
            following = [event for effect in effects for event in self._answers(effect)]

    def _answers(self, effect: fx.Effect) -> list[ev.Event]:
        match effect:
            case fx.Reply(token, answer):
                self._replies[token] = answer
            case fx.Send(peer, _, nonce, msg.Hello(link=link)) if not nonce:
                name = self._workers[int(peer.rpartition(":")[2]) - 7001]
                inventory = msg.Inventory(
                    name, 4, ["role=db"], "1.2.3", self._clock_ms(), [], [], [], link=link
                )
                return [self._frame(name, inventory)]
            case fx.Send(peer, _, _, msg.Dispatch(specs, orders)):
                name = self._workers[int(peer.rpartition(":")[2]) - 7001]
                return self._take(name, specs, orders)
            case fx.SendGather(peer, _, _, run, spec, order):
                name = self._workers[int(peer.rpartition(":")[2]) - 7001]
                text, _ = self._ledger.gather_input(run, 1 << 22)
                return self._take(name, [spec], [structs.replace(order, stdin=text)])
            case fx.Send(peer, _, _, msg.Cancel(attempts)):
                name = self._workers[int(peer.rpartition(":")[2]) - 7001]
                ends = [
                    msg.Outcome(one.attempt, "cancelled", "cancelled", finished_utc_ms=self._utc_ms())
                    for one in attempts
                ]
                return [self._frame(name, msg.Result(ends))]
            case _:
                pass
        return []

    def _take(self, name: str, specs: list[msg.Spec], orders: list[msg.Order]) -> list[ev.Event]:
        taken = [order.attempt for order in orders]
        starts = [msg.Start(attempt, self._utc_ms()) for attempt in taken]
        ends = []
        for order in orders:
            end = self.ending(specs[order.spec], order)
            if end is not None:
                times = {"started_utc_ms": self._utc_ms(), "finished_utc_ms": self._utc_ms()}
                ends.append(msg.Outcome(**{f: getattr(end, f) for f in end.__struct_fields__} | times))
        frames: list[msg.Message] = [msg.Accepted(taken), msg.Started(starts)]
        return [self._frame(name, message) for message in [*frames, msg.Result(ends)]]

    def _frame(self, name: str, message: msg.Message) -> ev.FrameArrived:
        return ev.FrameArrived(Envelope(self._epoch, f"id-{name}", f"boot-{name}", "tower", ""), message)

    def _moment(self) -> Moment:
        return Moment(self.now, self._mono)

    def _clock_ms(self) -> int:
        return int(self._mono * 1000)

    def _utc_ms(self) -> int:
        return int(self.now.timestamp() * 1000)
