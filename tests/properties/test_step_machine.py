"""Whatever workers, callers and clocks do to the leader's mind, some things hold after every step.

Its records go into the real ledger, and a takeover may come at any moment.
"""

import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.leading import BEGIN, MONO, a_job, defined, found

from schedulerd.adapters.ledger.sqlite import SqliteLedger
from schedulerd.adapters.ledger.sqlite_reader import SqliteReader
from schedulerd.core import clock_doubt, firing, placement
from schedulerd.core import effects as fx
from schedulerd.core import requests as rq
from schedulerd.core.events import (
    AlarmRang,
    ClockTrusted,
    CommandGiven,
    Event,
    FrameArrived,
    LeadershipGained,
    SendFailed,
)
from schedulerd.core.placement import able_workers
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.model.job import (
    Argv,
    Every,
    Items,
    ListedItems,
    Misfire,
    OnLost,
    Overlap,
    PerWorker,
    Pool,
    Shards,
    Share,
)
from schedulerd.model.moment import Moment
from schedulerd.protocol import messages as msg
from schedulerd.protocol.codec import Envelope, digest_of
from schedulerd.protocol.timing import Timing

RECORDS = fx.Record.__args__
WORKERS = ("w1", "w2", "w3")
SLOTS = 2
COLLECT = Argv(argv=("collect",))
JOBS = (
    a_job("plain", trigger=Every(period=timedelta(seconds=7)), retry_max=1),
    a_job("beside", trigger=Every(period=timedelta(seconds=20)), overlap=Overlap.ALLOW, misfire=Misfire.ALL),
    a_job("shards", split=Shards(count=3), gather=COLLECT, on_lost=OnLost.RETRY),
    a_job("items", split=Items(items=('"x"',)), gather=COLLECT, requires=("gpu",)),
    a_job(
        "listed", split=ListedItems(work=Argv(argv=("list",))), on_lost=OnLost.RETRY, overlap=Overlap.ALLOW
    ),
    a_job("broadcast", split=PerWorker(), dispatch_timeout=timedelta(seconds=15)),
    a_job(
        "queued",
        trigger=Every(period=timedelta(seconds=6)),
        overlap=Overlap.QUEUE,
        queue_max=2,
        pools=("few",),
    ),
    a_job("newest", trigger=Every(period=timedelta(seconds=9)), overlap=Overlap.REPLACE, misfire=Misfire.ALL),
    a_job(
        "staged",
        trigger=Every(period=timedelta(seconds=30)),
        split=ListedItems(work=Argv(argv=("list",))),
        setup=COLLECT,
        gather=COLLECT,
        teardown=COLLECT,
        retry_max=1,
        run_timeout=timedelta(seconds=60),
    ),
    a_job(
        "narrow",
        split=Shards(count=4),
        max_parallel=2,
        fail_fast=True,
        need=Share(millionths=500_000),
        teardown=COLLECT,
        overlap=Overlap.QUEUE,
    ),
    a_job("pooled", split=Shards(count=3), gather=COLLECT, overlap=Overlap.ALLOW, pools=("few", "some")),
)
POOLS = (Pool(name="few", max=1), Pool(name="some", max=2))
workers = st.sampled_from(WORKERS)
jobs = st.sampled_from([job.name for job in JOBS])
places = st.integers(0, 30)


class Leaders(RuleBasedStateMachine):
    """One leadership after another over one ledger, and workers of which little is expected."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.ledger = SqliteLedger(Path(self.scratch.name) / "ledger.db")
        self.seconds = 0.0
        self.beats = 0
        self.boots = dict.fromkeys(WORKERS, 1)
        self.held: dict[str, dict[str, str]] = {worker: {} for worker in WORKERS}  # attempt -> phase
        self.mail: list[tuple[str, int, msg.Message]] = []  # worker, boot, message on its way
        self.past: list[FrameArrived] = []
        self.assigned: set[str] = set()
        self.closed: dict[str, None] = {}  # runs that are final, newest last
        self.marks: dict[str, object] = {}
        self.token = 0
        self.pool_use: dict[str, int] = {}
        self.state: State
        self.take_over()
        definitions = tuple(map(defined, JOBS))
        self.step(
            [
                CommandGiven(1, rq.ReplaceTable(definitions=definitions, pools=POOLS)),
                *map(self.inventory, WORKERS),
            ]
        )

    def teardown(self) -> None:
        """Away with the ledger."""
        self.ledger.close()
        self.scratch.cleanup()

    # ---- what happens

    @rule(away=st.sampled_from([0, 45]))
    def take_over(self, away: int = 0, doubts_clock: bool = False) -> None:
        self.seconds += away
        epoch = self.ledger.lead("a", 0, BEGIN)
        self.state = rebuild(
            self.ledger.load(),
            epoch=epoch,
            leader="a",
            results="tcp://a:1",
            output="",
            timing=Timing(),
            now=self.now,
            doubts_clock=doubts_clock,
        )
        self.step([LeadershipGained(), found(*WORKERS)])

    @rule(seconds=st.sampled_from([0.2, 14.0]), is_answered=st.booleans())
    def host_boots_and_its_clock_is_doubted(self, seconds: float, is_answered: bool) -> None:
        self.take_over(45, doubts_clock=True)
        self.seconds += seconds
        self.step([AlarmRang()])
        if is_answered:
            self.clock_is_believed()

    @rule()
    def clock_is_believed(self) -> None:
        self.step([ClockTrusted()])

    @rule(seconds=st.sampled_from([0.2, 1.0, 2.0, 5.0]), silent=st.sets(workers))
    def time_passes(self, seconds: float, silent: set[str]) -> None:
        self.seconds += seconds
        self.step([self.beat(worker) for worker in WORKERS if worker not in silent] or [AlarmRang()])

    @rule()
    def a_minute_passes_in_silence(self) -> None:
        for _ in range(32):
            self.seconds += 2
            self.step([AlarmRang()])

    @rule(worker=workers)
    def worker_tells_what_it_holds(self, worker: str) -> None:
        self.step([self.inventory(worker)])

    @rule(worker=workers)
    def worker_restarts(self, worker: str) -> None:
        """What had started is told as lost, the rest is handed back."""
        self.boots[worker] += 1
        self.held[worker] = dict.fromkeys(self.held[worker], "ended")
        self.seconds += 7
        self.step([self.inventory(worker)])
        for attempt in list(self.held[worker]):
            self.step([self.result(worker, attempt, "lost")])

    @precondition(lambda self: self.mail)
    @rule(place=places, is_lost=st.booleans(), has_room=st.booleans())
    def a_message_arrives_or_is_lost(self, place: int, is_lost: bool, has_room: bool) -> None:
        worker, boot, message = self.mail.pop(place % len(self.mail))
        if is_lost or boot != self.boots[worker]:
            return
        held = self.held[worker]
        if isinstance(message, msg.Dispatch):
            for order in message.orders:
                if order.attempt in held or order.expiry_clock_ms < self.clock_ms:
                    continue
                if has_room and len(held) < SLOTS:
                    held[order.attempt] = "running"
                    self.step([self.said(worker, msg.Accepted([order.attempt]))])
                else:
                    refusal = msg.Refused([msg.Refusal(order.attempt, "full")], self.state.epoch)
                    self.step([self.said(worker, refusal)])
        elif isinstance(message, msg.ResultAck):
            for attempt in message.attempts:
                if held.get(attempt) == "ended":
                    del held[attempt]
        elif isinstance(message, msg.Revoke):
            for attempt in message.attempts:
                if attempt not in held:
                    held[attempt] = "ended"
                    self.step([self.result(worker, attempt, "unstarted")])

    @rule(worker=workers, place=places, state=st.sampled_from(["succeeded", "failed", "timeout", "lost"]))
    def an_attempt_ends(self, worker: str, place: int, state: msg.OutcomeState) -> None:
        running = [attempt for attempt, phase in self.held[worker].items() if phase == "running"]
        if running:
            attempt = running[place % len(running)]
            self.held[worker][attempt] = "ended"
            self.step([self.result(worker, attempt, state)])

    @precondition(lambda self: self.past)
    @rule(place=places)
    def an_old_frame_comes_again(self, place: int) -> None:
        self.step([self.past[-1 - place % len(self.past)]])

    @rule(job=jobs)
    def caller_triggers(self, job: str) -> None:
        self.ask(rq.TriggerJob(job=job, key=f"{self.token}", by="x"))

    @rule(job=jobs, cancel=st.booleans())
    def caller_pauses(self, job: str, cancel: bool) -> None:
        self.ask(rq.PauseJob(job=job, by="x", cancel_running=cancel))

    @rule(job=jobs)
    def caller_resumes(self, job: str) -> None:
        self.ask(rq.ResumeJob(job=job, by="x"))

    @precondition(lambda self: self.state.runs)
    @rule(place=places)
    def caller_cancels(self, place: int) -> None:
        runs = list(self.state.runs)
        self.ask(rq.CancelRun(run=runs[place % len(runs)], by="x"))

    @precondition(lambda self: self.closed)
    @rule(place=places, failed_only=st.booleans())
    def caller_retries(self, place: int, failed_only: bool) -> None:
        """A run that has ended, as the ledger has it."""
        runs = list(self.closed)
        with closing(SqliteReader(Path(self.scratch.name) / "ledger.db")) as reader:
            found = reader.recorded_run(runs[-1 - place % len(runs)])
        assert found is not None
        self.ask(rq.RetryRun(found=found, by="x", failed_only=failed_only))

    @rule(kept=st.sets(jobs), retries=st.integers(0, 2), some=st.integers(1, 3))
    def the_table_changes(self, kept: set[str], retries: int, some: int) -> None:
        changed = [a_job(job.name, trigger=job.trigger, retry_max=retries) for job in JOBS[:1]]
        table = [*changed, *(job for job in JOBS[1:] if job.name in kept)]
        pools = (POOLS[0], Pool(name="some", max=some))
        self.ask(rq.ReplaceTable(definitions=tuple(map(defined, table)), pools=pools))

    # ---- what must hold

    @invariant()
    def credits_are_never_exceeded(self) -> None:
        for worker in self.state.workers.values():
            assert len(worker.attempts) <= worker.slots, worker
            assert set(worker.unaccepted) <= set(worker.attempts)
            digest = 0
            for attempt in worker.attempts.values():
                digest ^= digest_of(attempt.id) if attempt.is_accepted else 0
            assert worker.digest == digest

    @invariant()
    def every_open_run_has_something_that_drives_it(self) -> None:
        state = self.state
        held = {run.id for queue in state.held.values() for run in queue}
        held |= {run.id for run in state.runs.values() if run.is_held and run.job.name in state.lines}
        for run in state.runs.values():
            listed = run.id in state.waiting.get(run.lane, {})
            assert run.live or listed or run.id in held, run
            assert not run.is_waiting or listed or run.id in held, run
            if run.is_held and not run.awaits_release:
                assert any(
                    other.job.name == run.job.name and not other.is_held for other in state.runs.values()
                )
            if listed and not run.live and not able_workers(state, run.job.requires):
                assert run.unable_since is not None, run
                assert any(run_id == run.id for _, run_id in state.deadlines), run
            assert run.open_subtasks == sum(
                subtask.index >= 0 and not subtask.state.is_final for subtask in run.subtasks.values()
            )
            stages = {min(attempt.subtask.index, 0) for attempt in run.live.values()}
            assert len(stages) <= 1, run
            if run.job.max_parallel is not None:
                assert len(run.live) <= run.job.max_parallel
            if run.ends_at is not None and not run.is_cancelled:
                assert (run.ends_at, run.id) in state.terms
        for name, entry in state.jobs.items():
            assert list(entry.open_runs) == [run.id for run in state.runs.values() if run.job.name == name]
            if entry.next_fire is not None:
                assert (entry.next_fire.instant, name) in state.fires or name in state.doubted
        assert state.doubted.keys() <= state.jobs.keys()
        assert not state.doubted or state.doubts_since is not None
        assert all(name in state.held_turns or _blocked(state, name) for name in state.held)

    @invariant()
    def pools_hold(self) -> None:
        """Places are counted right, and no attempt is added beyond them (a smaller `max` ends none)."""
        use: dict[str, int] = {}
        for attempt in self.state.attempts.values():
            for pool in attempt.run.job.pools:
                use[pool] = use.get(pool, 0) + 1
        assert use == self.state.pool_use
        for pool, count in use.items():
            assert count <= max(self.state.pools[pool].max, self.pool_use.get(pool, 0)), pool
        self.pool_use = use

    @invariant()
    def runs_that_may_not_overlap_do_not(self) -> None:
        for name, entry in self.state.jobs.items():
            begun = [run_id for run_id in entry.open_runs if not self.state.runs[run_id].is_held]
            assert entry.job.overlap is Overlap.ALLOW or len(begun) <= 1, (name, begun)
            waiting = [self.state.runs[run_id] for run_id in entry.open_runs if run_id not in begun]
            queued = [run for run in waiting if not run.awaits_release]
            assert len(queued) <= {Overlap.QUEUE: entry.job.queue_max, Overlap.REPLACE: 1}.get(
                entry.job.overlap, 0
            )

    # ---- means

    @property
    def now(self) -> Moment:
        return Moment(BEGIN + timedelta(seconds=self.seconds), MONO + self.seconds)

    @property
    def clock_ms(self) -> int:
        return int((MONO + self.seconds) * 1000)

    def ask(self, request: rq.Request) -> None:
        """One caller, one answer."""
        self.token += 1
        effects = self.step([CommandGiven(self.token, request)])
        assert [effect.token for effect in effects if isinstance(effect, fx.Reply)] == [self.token]

    def step(self, events: list[Event]) -> list[fx.Effect]:
        """Step, commit, send."""
        effects = step(self.state, events, self.now)
        records = [effect for effect in effects if isinstance(effect, RECORDS)]
        assert effects[: len(records)] == records
        assert isinstance(effects[-1], fx.SetAlarm)
        self.past += [event for event in events if isinstance(event, FrameArrived)]
        for record in records:
            self._look_at(record)
        self.ledger.commit(self.state.epoch, records)
        for effect in effects[len(records) :]:
            if isinstance(effect, fx.Send):
                self._post(effect.receiver, effect.peer, effect.message)
            elif isinstance(effect, fx.SendGather):
                self._post(effect.receiver, effect.peer, msg.Dispatch([effect.spec], [effect.order]))
        return effects

    def _post(self, worker: str, peer: str, message: msg.Message) -> None:
        if isinstance(message, msg.Dispatch):
            assert {order.attempt for order in message.orders} <= self.assigned
        if worker and not isinstance(message, msg.Hello):
            self.mail.append((worker, self.boots[worker], message))

    def _look_at(self, record: fx.Record) -> None:
        match record:
            case fx.RecordAttempts(attempts):
                for attempt in attempts:
                    assert attempt.id not in self.assigned
                    self.assigned.add(attempt.id)
            case fx.CloseRun():
                assert record.run not in self.closed
                self.closed[record.run] = None
            case fx.RecordReopening():
                del self.closed[record.run]
            case fx.RecordMarks(marks):
                for job, mark in marks:
                    assert mark >= self.marks.get(job, mark)  # type: ignore[operator]
                    self.marks[job] = mark

    def said(self, worker: str, message: msg.Message) -> FrameArrived:
        """A frame of the worker's boot of now."""
        return FrameArrived(Envelope(self.state.epoch, worker, str(self.boots[worker]), "a", ""), message)

    def beat(self, worker: str) -> FrameArrived:
        """A heartbeat that tells the truth."""
        self.beats += 1
        digest = 0
        for attempt in self.held[worker]:
            digest ^= digest_of(attempt)
        return self.said(worker, msg.Heartbeat(self.beats, self.clock_ms, 0, digest, 0, 0))

    def inventory(self, worker: str) -> FrameArrived:
        """Everything it holds."""
        held = self.held[worker]
        told = msg.Inventory(
            name=worker,
            slots=SLOTS,
            labels=[],
            version="1",
            clock_ms=self.clock_ms,
            accepted=[],
            running=[attempt for attempt, phase in held.items() if phase == "running"],
            ended=[attempt for attempt, phase in held.items() if phase == "ended"],
            link=f"{worker}:7482",
        )
        return self.said(worker, told)

    def result(self, worker: str, attempt: str, state: msg.OutcomeState) -> FrameArrived:
        """How an attempt ended; a split command lists two items."""
        output = msg.Captured(b"one\ntwo\n" if "~-4~" in attempt else b"")
        return self.said(worker, msg.Result([msg.Outcome(attempt, state, "exit", stdout=output)]))


class LeadersInParts(Leaders):
    """The same with steps that do next to nothing at once, so that everything is cut into parts."""

    def __init__(self) -> None:
        self.usual = {place: getattr(*place) for place in PARTS}
        for (module, name), part in PARTS.items():
            setattr(module, name, part)
        super().__init__()

    def teardown(self) -> None:
        """Usual steps again."""
        super().teardown()
        for (module, name), part in self.usual.items():
            setattr(module, name, part)

    def step(self, events: list[Event]) -> list[fx.Effect]:
        """Step until nothing is left to be done at once: it must come to an end."""
        effects = super().step(events)
        for _ in range(500):
            alarm = effects[-1]
            assert isinstance(alarm, fx.SetAlarm)
            is_due = alarm.utc is not None and alarm.utc <= self.now.utc
            if not (is_due or self.state.is_unfinished):
                assert not (self.state.is_clock_believed and self.state.doubted)
                return effects
            effects = [*effects[:-1], *super().step([AlarmRang()])]
        raise AssertionError("there is always more to be done at once")


PARTS = {
    (firing, "FIRES_A_STEP"): 2,
    (firing, "WAITED_A_STEP"): 1,
    (clock_doubt, "LOOKS_A_STEP"): 1,
    (placement, "PLACES_A_STEP"): 2,
    (placement, "PLACES_BEHIND"): 1,
    (placement, "PARTS_A_STEP"): 1,
}


def _blocked(state: State, name: str) -> bool:
    """Another run of the job is under way; the next catch-up run is begun when it closes."""
    return any(run.job.name == name and not run.is_held for run in state.runs.values())


TestLeaders = Leaders.TestCase
TestLeaders.settings = settings(max_examples=40, stateful_step_count=40)
TestLeadersInParts = LeadersInParts.TestCase
TestLeadersInParts.settings = settings(max_examples=15, stateful_step_count=40)


def test_a_send_that_failed_is_no_reason_to_forget() -> None:
    machine = Leaders()
    try:
        machine.caller_triggers("plain")
        (attempt,) = machine.state.attempts
        worker = machine.state.attempts[attempt].worker
        machine.step([SendFailed(f"{worker}:7482", (attempt,))])
        machine.credits_are_never_exceeded()
        machine.every_open_run_has_something_that_drives_it()
        assert attempt not in machine.state.attempts
        assert len(machine.state.attempts) == 1
    finally:
        machine.teardown()
