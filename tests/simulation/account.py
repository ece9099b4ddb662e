"""A virtual week of one leader after another over a real ledger, and a book of what its rows must say in the end.

The book knows which definition of each job was in force from when to when, and asks the oracle for the fire times. It
learns nothing from how the core walks: only when a change took hold, and where the job's mark stood then.
"""

import heapq
import random
import sqlite3
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from properties.oracle import enumerate_fires
from support.leading import MONO, a_job, answer, defined, found

from schedulerd.adapters.ledger.sqlite import SqliteLedger
from schedulerd.core import effects as fx
from schedulerd.core import requests as rq
from schedulerd.core.events import AlarmRang, CommandGiven, Event, FrameArrived, LeadershipGained
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.errors import CommandError
from schedulerd.model.job import At, Cron, Definition, Every, Items, Misfire, Overlap, Trigger
from schedulerd.model.moment import Moment
from schedulerd.protocol import messages as msg
from schedulerd.protocol.codec import Envelope, digest_of
from schedulerd.protocol.timing import Timing

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
RECORDS = fx.Record.__args__
LATE = timedelta(seconds=10)
EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Segment:
    """A definition in force: its fire times in (after, until] belong to the job."""

    definition: Definition
    anchor: datetime | None
    after: datetime
    until: datetime | None = None


@dataclass
class Page:
    """The book's page of one job."""

    segments: list[Segment] = field(default_factory=list)
    pauses: list[tuple[datetime, datetime | None]] = field(default_factory=list)  # (since, until]

    def close_pause(self, at: datetime) -> None:
        """Whatever pause is open ends at `at`, or ended by itself before."""
        if self.pauses:
            since, until = self.pauses[-1]
            self.pauses[-1] = (since, at if until is None else min(until, at))


class Week:
    """Plays one week; `account()` compares the ledger with the book."""

    def __init__(
        self, seed: int, directory: Path, *, start: datetime, jobs: int, hours: float, minutely: bool
    ) -> None:
        self.rng = random.Random(seed)
        self.start = start
        self.end = hours * 3600
        self.seconds = 0.0
        self.offset = 0.0  # of the wall clock
        self.highest = start  # that the wall clock has ever shown
        self.minutely = minutely
        self.file = directory / f"account-{seed}.db"
        self.ledger = SqliteLedger(self.file)
        self.pages: dict[str, Page] = {}
        self.away: list[tuple[datetime, datetime]] = []  # when nobody looked, or the clock jumped over it
        self.removed: dict[str, bool] = {}  # name -> made by a file
        self.alarm: datetime | None = None
        self.running: dict[str, float] = {}  # attempt -> when its result comes
        self.results: list[tuple[float, str]] = []
        self.inbox: list[Event] = []
        self.beats = 0
        self.token = 0
        self.counts: Counter[str] = Counter()
        self.commits = 0
        self.state: State
        self.names = [f"job-{number}" for number in range(jobs)]
        self.filed = set(self.names[: jobs // 20])
        self.lead()
        self.put_all()

    # ---- the week

    def play(self) -> None:
        """From the first second to the last."""
        rate = len(self.names) * 1.5 / self.end  # changes of jobs a second
        upheavals = 50
        action = self.rng.expovariate(rate)
        upheaval = self.rng.expovariate(upheavals / self.end)
        while self.seconds < self.end:
            wake = min(self.next_wake(), action, upheaval, self.end)
            self.seconds = max(self.seconds, wake)
            if self.seconds >= upheaval:
                self.upheaval()
                upheaval = self.seconds + self.rng.expovariate(upheavals / self.end)
            elif self.seconds >= action:
                self.change()
                action = self.seconds + self.rng.expovariate(rate)
            else:
                self.seconds += self.rng.choice(
                    (0.0, 3.0, 9.0, 9.0, 9.0)
                )  # a busy loop: fewer, larger batches
                self.tick()
        self.tick()

    def next_wake(self) -> float:
        """When the core wants to be called: for fire times, held runs; or when the worker has something to tell."""
        wakes = [self.end]
        if self.alarm is not None:
            wakes.append((self.alarm - self.start).total_seconds() - self.offset)
        if self.state.held_turns:
            wakes.append(self.state.next_release - MONO)
        if self.results:
            wakes.append(self.results[0][0])
        return min(wakes)

    def upheaval(self) -> None:
        """Nobody looks for a while, another one leads at once, or the clock moves."""
        before = self.now.utc
        what = self.rng.choice(("outage", "outage", "outage", "failover", "clock"))
        self.counts[what] += 1
        if what == "outage":
            self.seconds += min(self.rng.lognormvariate(6, 2), 8 * 3600)
        elif what == "clock":
            self.offset += self.rng.choice((-3600, 3600, self.rng.uniform(-600, 600)))
        if self.now.utc > before:
            self.away.append((before - LATE, self.now.utc))
        if what != "clock":
            self.lead()
        self.tick()

    def lead(self) -> None:
        """A State anew from the ledger, as after a crash."""
        epoch = self.ledger.lead("a", 0, self.now.utc)
        self.state = rebuild(
            self.ledger.load(),
            epoch=epoch,
            leader="a",
            results="tcp://a:1",
            output="",
            timing=Timing(),
            now=self.now,
        )
        told = msg.Inventory(
            name="w1",
            slots=100_000,
            labels=[],
            version="1",
            clock_ms=self.clock_ms,
            accepted=[],
            running=list(self.running),
            ended=[],
            link="w1:7482",
        )
        self.inbox += [LeadershipGained(), found("w1"), self.said(told)]

    # ---- changes

    def put_all(self) -> None:
        """The first table: some jobs of files, most made through the API."""
        self.replace({name: self.definition(name) for name in self.names if name in self.filed})
        for name in self.names:
            if name not in self.filed:
                self.put(name)

    def change(self) -> None:
        """Somebody does something to a job."""
        name = self.rng.choice(self.names)
        entry = self.state.jobs.get(name)
        if entry is None:
            self.counts["added again"] += 1
            if name in self.filed:
                self.replace({**self.in_files(), name: self.definition(name)})
            else:
                self.put(name)
            return
        what = self.rng.choice(("pause", "pause for", "resume", "resume", "edit", "edit", "remove"))
        self.counts[what] += 1
        match what:
            case "pause" | "pause for":
                length = timedelta(seconds=self.rng.uniform(300, 12 * 3600))
                until = self.now.utc + length if what == "pause for" else None
                since = self.boundary(name)
                self.ask(rq.PauseJob(job=name, by="x", until=until))
                page = self.pages[name]
                page.close_pause(since)
                page.pauses.append((since, until))
            case "resume":
                self.pages[name].close_pause(self.boundary(name))
                self.ask(rq.ResumeJob(job=name, by="x"))
            case "edit":
                self.edit(name)
            case "remove":
                self.end_segment(name)
                self.pages[name].close_pause(self.boundary(name))
                if name in self.filed:
                    self.replace({key: value for key, value in self.in_files().items() if key != name})
                else:
                    self.ask(rq.DeleteJob(job=name, by="x"))

    def edit(self, name: str) -> None:
        """Another trigger, another zone, or only another policy."""
        old = self.state.jobs[name].definition
        if self.rng.random() < 0.3:
            policy = self.rng.choice(tuple(Misfire))
            new = defined(a_job(**{**_fields(old), "misfire": policy}), old.origin.file)
        else:
            new = self.definition(name)
        if name in self.filed:
            self.replace({**self.in_files(), name: new})
        else:
            self.put(name, new)

    def put(self, name: str, definition: Definition | None = None) -> None:
        """Through the API."""
        definition = definition or self.definition(name)
        after = self.boundary(name)
        self.end_segment(name)
        self.ask(rq.PutJob(definition=definition, by="x", filled=()))
        self.begin_segment(name, definition, after)

    def replace(self, definitions: dict[str, Definition]) -> None:
        """A table of files."""
        changed = [
            name
            for name, definition in definitions.items()
            if name not in self.state.jobs or self.state.jobs[name].definition.version != definition.version
        ]
        after = {name: self.boundary(name) for name in changed}
        for name in changed:
            self.end_segment(name)
        self.ask(rq.ReplaceTable(definitions=tuple(definitions.values())))
        for name in changed:
            self.begin_segment(name, definitions[name], after[name])

    def in_files(self) -> dict[str, Definition]:
        """The files' part of the table in force."""
        return {
            name: entry.definition for name, entry in self.state.jobs.items() if entry.definition.origin.file
        }

    def definition(self, name: str) -> Definition:
        """Any job that fires about once an hour (or a minute)."""
        rng = self.rng
        is_slow = rng.random() < 0.04
        job = a_job(
            name,
            trigger=self.trigger(),
            timezone=rng.choice(ZONES),
            misfire=rng.choice(tuple(Misfire)),
            catchup=timedelta(seconds=rng.choice((0, 600, 3600, 4 * 3600))),
            catchup_max=rng.choice((0, 1, 3, 10)),
            overlap=rng.choice(tuple(Overlap)),
            split=None if is_slow else Items(items=()),  # a run without subtasks ends as it begins
        )
        return defined(job, "jobs.toml" if name in self.filed else "")

    def trigger(self) -> Trigger:
        rng = self.rng
        kind = rng.random()
        minute = rng.randrange(0, 60, 6)
        if kind < 0.1:
            period = (60 if self.minutely else 3600) + rng.choice((-7, 0, 0, 30))
            return Every(period=timedelta(seconds=period))
        if kind < 0.15:
            steps = [rng.randrange(-3, 200) for _ in range(100)]
            first = self.now.utc.replace(microsecond=0)
            return At(instants=tuple(sorted({first + timedelta(hours=step) for step in steps if step > 0})))
        if self.minutely:
            return Cron(expressions=(rng.choice(("* * * * *", "*/1 0-23 * * *", "0-59 * * * *")),))
        return Cron(
            expressions=rng.choice(
                (
                    (f"{minute} * * * *",),
                    (f"{minute} 0-23 * * *",),
                    (f"{minute},{minute + 3} */2 * * *",),
                    (f"{minute} 1-23/2 * * *", f"{minute} */2 * * *"),
                )
            )
        )

    # ---- the book

    def boundary(self, name: str) -> datetime:
        """From where on a change counts: now, or the mark if the clock was set back behind it."""
        entry = self.state.jobs.get(name)
        mark = entry.mark if entry is not None else self.state.removed.get(name, self.now.utc)
        self.highest = max(self.highest, self.now.utc)
        assert mark <= self.highest, f"the mark of {name}, {mark}, lies behind {self.highest}"
        return max(self.now.utc, mark)

    def end_segment(self, name: str) -> None:
        """What is in force ends now."""
        page = self.pages.setdefault(name, Page())
        if page.segments and page.segments[-1].until is None:
            page.segments[-1].until = self.boundary(name)

    def begin_segment(self, name: str, definition: Definition, after: datetime) -> None:
        """Now in force."""
        anchor = self.state.jobs[name].anchor
        old = self.pages[name].segments
        if (
            old
            and isinstance(definition.job.trigger, Every)
            and old[-1].definition.job.trigger == definition.job.trigger
            and old[-1].until == after
        ):
            assert anchor == old[-1].anchor, "an edit of something else moved the anchor"
        self.pages[name].segments.append(Segment(definition, anchor, after))

    # ---- means

    @property
    def now(self) -> Moment:
        """By the clocks of the leader's host."""
        return Moment(self.start + timedelta(seconds=self.seconds + self.offset), MONO + self.seconds)

    @property
    def clock_ms(self) -> int:
        """The worker's clock is the same."""
        return int((MONO + self.seconds) * 1000)

    def ask(self, request: rq.Request) -> None:
        """One order; it must not be refused."""
        self.token += 1
        refusal = answer(self.tick(CommandGiven(self.token, request)))
        assert not isinstance(refusal, CommandError), refusal

    def tick(self, *events: Event) -> list[fx.Effect]:
        """Step with what the worker has to say, commit, obey."""
        self.highest = max(self.highest, self.now.utc)
        done = []
        while self.results and self.results[0][0] <= self.seconds:
            attempt = heapq.heappop(self.results)[1]
            del self.running[attempt]
            done.append(msg.Outcome(attempt, "succeeded", "exit"))
        facts = [*self.inbox, *events]
        self.inbox = []
        if done:
            facts.insert(0, self.said(msg.Result(done)))
            if any(isinstance(fact, LeadershipGained) for fact in facts):
                facts.append(facts.pop(0))
        facts.append(self.beat())
        effects = step(self.state, facts or [AlarmRang()], self.now)
        records = [effect for effect in effects if isinstance(effect, RECORDS)]
        if records:
            self.ledger.commit(self.state.epoch, records)
            self.commits += 1
        taken: list[str] = []
        for effect in effects[len(records) :]:
            if isinstance(effect, fx.Send) and isinstance(effect.message, msg.Dispatch):
                taken += [order.attempt for order in effect.message.orders]
            elif isinstance(effect, fx.SetAlarm):
                self.alarm = effect.utc
        for attempt in taken:
            if attempt not in self.running:
                ends = self.seconds + self.rng.expovariate(1 / 1200)
                self.running[attempt] = ends - ends % 60 + 61  # with the minute's fire times
                heapq.heappush(self.results, (self.running[attempt], attempt))
        if taken:
            self.inbox += [self.said(msg.Accepted(taken))]
        return effects

    def said(self, message: msg.Message) -> FrameArrived:
        return FrameArrived(Envelope(self.state.epoch, "w1", "n1", "a", ""), message)

    def beat(self) -> FrameArrived:
        self.beats += 1
        digest = 0
        for attempt in self.running:
            digest ^= digest_of(attempt)
        return self.said(msg.Heartbeat(self.beats, self.clock_ms, 0, digest, 0, 0))

    # ---- the account

    def account(self) -> Counter[str]:
        """How many rows of each kind there are. Fails at the first job whose rows are not its fire times."""
        self.ledger.close()
        connection = sqlite3.connect(self.file)
        rows: dict[str, list[tuple[datetime, datetime, int, str, str, datetime]]] = {}
        found_rows = connection.execute(
            "SELECT s.job, s.first, s.last, s.count, coalesce(s.reason, ''), coalesce(runs.cause, ''), "
            "coalesce(runs.created_at, 0) "
            "FROM slots AS s LEFT JOIN runs ON runs.n = s.run ORDER BY s.job, s.first"
        )
        for job, first, last, count, reason, cause, created in found_rows:
            rows.setdefault(job, []).append((_at(first), _at(last), count, reason, cause, _at(created)))
        connection.close()
        kinds: Counter[str] = Counter()
        oracle = Oracle(self.start - timedelta(hours=2), self.highest)
        for name, page in self.pages.items():
            expected = [instant for segment in page.segments for instant in oracle.of(segment, self.now.utc)]
            assert expected == sorted(set(expected)), name
            kinds.update(self.compare(name, page, expected, rows.get(name, [])))
        return kinds

    def compare(
        self,
        name: str,
        page: Page,
        expected: list[datetime],
        rows: list[tuple[datetime, datetime, int, str, str, datetime]],
    ) -> Counter[str]:
        kinds: Counter[str] = Counter()
        place = 0
        for first, last, count, reason, cause, created in rows:
            here = expected[place : place + count]
            assert here, f"{name}: a row too many: {first} {reason or cause}"
            assert (here[0], here[-1], len(here)) == (first, last, count), (
                f"{name}: expected {here[0]}, found {first}"
            )
            place += count
            kinds[reason or cause] += count
            for instant in here:
                self.check_reason(name, page, instant, reason, cause, created)
        assert place == len(expected), f"{name}: without a row: {expected[place]}"
        return kinds

    def check_reason(
        self, name: str, page: Page, instant: datetime, reason: str, cause: str, created: datetime
    ) -> None:
        is_paused = any(
            since < instant and (until is None or instant <= until) for since, until in page.pauses
        )
        assert (reason == "paused") == is_paused, f"{name} {instant}: {reason or cause}, paused: {is_paused}"
        if reason in ("misfire", "too_old") or cause == "catchup":
            assert any(begin <= instant <= end for begin, end in self.away), (
                f"{name} {instant}: {reason} {cause}"
            )
        elif cause == "schedule":
            assert timedelta(0) <= created - instant <= LATE, f"{name} {instant}: created {created}"
        else:
            allowed = ["paused", "overlap"]
            if any(segment.definition.job.overlap is Overlap.QUEUE for segment in page.segments):
                allowed.append("queue_full")
            assert reason in allowed, f"{name} {instant}: {reason} {cause}"


class Oracle:
    """Fire times by the brute-force walk, each (expression, zone) once."""

    def __init__(self, start: datetime, end: datetime) -> None:
        self._span = start, end
        self._known: dict[tuple[str, str], list[datetime]] = {}

    def of(self, segment: Segment, end: datetime) -> list[datetime]:
        """The fire times of a segment, ascending."""
        after, until = segment.after, segment.until if segment.until is not None else end
        job = segment.definition.job
        match job.trigger:
            case Cron(expressions=expressions):
                lists = [self._walk(expression, job.timezone) for expression in expressions]
                return sorted(
                    {at for one in lists for at in one[bisect_right(one, after) : bisect_right(one, until)]}
                )
            case Every(period=period):
                assert segment.anchor is not None
                return list(_multiples(segment.anchor, period, after, until))
            case At(instants=instants):
                return list(instants[bisect_right(instants, after) : bisect_right(instants, until)])
        raise AssertionError(job.trigger)

    def _walk(self, expression: str, timezone: str) -> list[datetime]:
        key = (expression, timezone)
        if key not in self._known:
            self._known[key] = enumerate_fires(expression, timezone, *self._span)
        return self._known[key]


def _multiples(anchor: datetime, period: timedelta, after: datetime, until: datetime) -> Iterable[datetime]:
    instant = anchor + period
    while instant <= until:
        if instant > after:
            yield instant
        instant += period


def _at(micros: int) -> datetime:
    return EPOCH_START + timedelta(microseconds=micros)


def _fields(definition: Definition) -> dict[str, object]:
    return {key: getattr(definition.job, key) for key in definition.job.__struct_fields__}
