"""Counts what the daemon does, for Prometheus. Knows neither HTTP nor the loop; both hand it plain facts."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from schedulerd.core import effects as fx
from schedulerd.core.requests import WorkerView
from schedulerd.model.run import RunState
from schedulerd.protocol.messages import Outcome

_SECONDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0)
_OF_WORKERS = {  # field of a worker's counts -> (name, text); the label is the worker's name
    "duplicate_dispatches": ("duplicate_dispatches", "Orders for attempts that the worker had already."),
    "stale_frames": ("worker_stale_frames", "Frames of an older epoch that the worker refused."),
    "refused_orders": ("worker_refused_orders", "Orders that the worker did not take."),
    "results_resent": ("worker_results_resent", "Results that the worker sent again."),
    "fenced": ("worker_fenced", "Attempts that the worker ended because it heard no leader."),
    "rival_hellos": (
        "worker_rival_hellos",
        "Hellos of a second leader of its epoch, which the worker ignored.",
    ),
    "helper_deaths": ("worker_helper_deaths", "Ends of the worker's process that starts children."),
}
_SHORT = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class _JobSeries(Collector):
    """What is told of each job by its name: plain numbers, so that a run that ends costs the loop next to nothing."""

    def __init__(self) -> None:
        self.next_fire: dict[str, float] = {}
        self.last_success: dict[str, float] = {}
        self.failures: dict[str, int] = {}
        self.runs: dict[tuple[str, str], int] = {}  # (job, result)

    def collect(self) -> Iterator[Metric]:
        """For the registry, from any thread: what stands in the dicts now."""
        for name, text, values in (
            ("next_fire_timestamp_seconds", "When the job fires next (Unix time).", self.next_fire),
            ("last_success_timestamp_seconds", "When the job last succeeded (Unix time).", self.last_success),
            ("consecutive_failures", "Runs of the job that failed since it last succeeded.", self.failures),
        ):
            gauge = GaugeMetricFamily(f"schedulerd_job_{name}", text, labels=("job_name",))
            for job, value in list(values.items()):
                gauge.add_metric((job,), value)
            yield gauge
        ended = CounterMetricFamily("schedulerd_runs", "Runs that ended.", labels=("job_name", "result"))
        for labels, count in list(self.runs.items()):
            ended.add_metric(labels, count)
        yield ended

    def forget(self, job: str) -> None:
        """Drop the series of a job that is gone, so that they do not pile up."""
        for values in (self.next_fire, self.last_success, self.failures):
            values.pop(job, None)
        for state in RunState:
            self.runs.pop((job, state.value), None)


class Metrics:
    """All of schedulerd's metrics, in a registry of their own; callable from any thread."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._jobs = _JobSeries()
        self.registry.register(self._jobs)
        self._make_gauges()
        self._make_counters()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"schedulerd_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"schedulerd_{name}", text, labels, registry=self.registry)

    def _make_gauges(self) -> None:
        self.leader = self._gauge("leader", "1 while this daemon leads.")
        self.epoch = self._gauge("epoch", "Which leadership this is.")
        self.lease_age = self._gauge(
            "lease_age_seconds", "Since the renewal that the lease rests on was sent."
        )
        self.jobs = self._gauge("jobs", "Jobs of the table.", "state")
        self.workers = self._gauge("workers", "Workers that are known.", "state")
        self.pending = self._gauge("subtasks_pending", "Subtasks that wait for a worker.")
        self.inflight = self._gauge("subtasks_inflight", "Attempts that workers hold.")
        self.watch_age = self._gauge("watch_age_seconds", "Since discovery last answered.")
        self.loop_lag = self._gauge("loop_lag_seconds", "How long the newest batch waited for the loop.")
        self.journal_depth = OfWorkers(
            self.registry,
            GaugeMetricFamily,
            "worker_journal_depth",
            "Attempts in the worker's journal that are not tombstones.",
        )
        self.worker_lag = OfWorkers(
            self.registry, GaugeMetricFamily, "worker_lag_seconds", "How late the worker's loop was."
        )

    def _make_counters(self) -> None:
        self.fires = self._counter("fires", "Runs that were made.", "trigger")
        self.skips = self._counter("skips", "Fire times without a run.", "reason")
        self.lost = self._counter("attempts_lost", "Attempts of which nobody knows how they ended.")
        self.attempts = self._counter("attempts", "Attempts that ended.", "state")
        self.retries = self._counter("retries", "Subtasks that were given out again.", "after")
        self.late_results = self._counter("late_results", "Results of attempts that had been called lost.")
        self.unknown_results = self._counter("unknown_results", "Results of attempts the ledger lacks.")
        self.duplicate_results = self._counter("duplicate_results", "Results that came again.")
        self.resent = self._counter("dispatches_resent", "Orders sent again: no worker had answered.")
        self.revocations = self._counter("revocations", "Askings for a worker's word on an attempt.")
        self.takeovers = self._counter("takeovers", "Times that this daemon began to lead.")
        self.events = self._counter("events", "Events that were recorded.", "type")
        self.fenced = self._counter(
            "fenced", "Leaderships and attempts that were ended because somebody else may act."
        )
        self.followed = self._counter(
            "leaderships_followed", "Leaderships after which this daemon led, by how they ended.", "how"
        )
        self.leaderships_lost = self._counter("leaderships_lost", "Leaderships that ended.", "reason")
        self.discovery_errors = self._counter("consul_errors", "Calls of Consul that failed.")
        self.clock_jumps = self._counter("clock_jumps", "Steps of the wall clock, and suspends of the host.")
        self.bad_frames = self._counter("bad_frames", "Frames that were dropped because they made no sense.")
        self.dropped = self._counter("dropped_frames", "Well-formed frames that were not acted on.", "reason")
        self._of_workers = {
            field: OfWorkers(self.registry, CounterMetricFamily, name, text)
            for field, (name, text) in _OF_WORKERS.items()
        }
        self._connections = self._counter(
            "connections", "Connections with workers, by what became of them.", "socket", "event"
        )
        self.fire_delay = self._histogram(
            "fire_delay_seconds", "From a fire time to its recorded run.", _SECONDS
        )
        self.run_duration = self._histogram(
            "run_duration_seconds", "From the first start to the end.", _SECONDS
        )
        self.commit = self._histogram("ledger_commit_seconds", "One transaction of the ledger.", _SHORT)
        self.dispatch = self._histogram(
            "dispatch_seconds", "From a recorded run to its first start.", _SECONDS
        )

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"schedulerd_{name}", text, registry=self.registry, buckets=buckets)

    def connection(self, socket: str, event: str) -> None:
        """A connection stands, has ended, or did not come to be; see hostkit.monitors."""
        self._connections.labels(socket, event).inc()

    # ---- what the loop tells --------------------------------------------------------------------------------

    def watch(self, effects: Iterable[object], took: float) -> None:
        """`on_effects` with the seconds that the commit of these effects took (0 = nothing was written)."""
        if took:
            self.commit.observe(took)
        self.on_effects(effects)

    def on_effects(self, effects: Iterable[object]) -> None:
        """Count what was recorded; call it after the commit. Effects that nobody counts are passed over."""
        for effect in effects:
            match effect:
                case fx.RecordRuns(runs=runs):
                    for run in runs:
                        self.fires.labels(run.cause.value).inc()
                        if run.cause.value == "schedule":
                            delay = (run.created_at - run.fire_time).total_seconds()
                            self.fire_delay.observe(max(0.0, delay))
                case fx.RecordSkips(skips=skips):
                    for skip in skips:
                        self.skips.labels(skip.reason.value).inc(skip.count)
                case fx.RecordOutcomes(outcomes=outcomes):
                    self._attempts_ended(outcomes)
                case fx.RecordEvent(type=kind):
                    self._event(kind)
                case fx.Count(what, label, by):
                    self._count(what, label, by)
                case fx.CloseRun():
                    self._run_closed(effect)
                case fx.RecordRemovals(jobs=jobs):
                    for job in jobs:
                        self._jobs.forget(job)
                case fx.Drop(reason):
                    self.bad_frames.inc()
                    self.dropped.labels(reason).inc()
                case _:
                    pass

    def _attempts_ended(self, outcomes: Sequence[Outcome]) -> None:
        ends = Tally([outcome.state for outcome in outcomes])  # thousands in a batch: one pass, no branches
        for state, count in ends.items():
            self.attempts.labels(state).inc(count)
        if ends["lost"]:
            self.lost.inc(ends["lost"])
            self.fenced.inc(sum(1 for outcome in outcomes if outcome.reason == "fenced"))

    def _event(self, kind: str) -> None:
        self.events.labels(kind).inc()
        if kind == "late_result":
            self.late_results.inc()
        elif kind == "unknown_result":
            self.unknown_results.inc()
        elif kind == "takeover":
            self.takeovers.inc()

    def _count(self, what: str, label: str, by: int) -> None:
        if what == "retries":
            self.retries.labels(label).inc(by)
        elif what == "dispatches_resent":
            self.resent.inc(by)
        elif what == "revocations":
            self.revocations.inc(by)
        elif what == "duplicate_results":
            self.duplicate_results.inc(by)

    def _run_closed(self, run: fx.CloseRun) -> None:
        series, ending = self._jobs, (run.job, run.state.value)
        series.runs[ending] = series.runs.get(ending, 0) + 1
        if run.started_at is not None:
            self.run_duration.observe(max(0.0, (run.finished_at - run.started_at).total_seconds()))
            if run.rounds == 1:  # a retry starts whenever somebody asks for it
                self.dispatch.observe(max(0.0, (run.started_at - run.created_at).total_seconds()))
        if run.state is RunState.SUCCEEDED:
            series.last_success[run.job] = run.finished_at.timestamp()
            series.failures[run.job] = 0
        elif run.state is RunState.FAILED:
            series.failures[run.job] = series.failures.get(run.job, 0) + 1

    def leadership_lost(self, reason: str) -> None:
        """This daemon leads no more; the reason in a word."""
        self.leaderships_lost.labels(reason).inc()

    def leadership_followed(self, how: str) -> None:
        """This daemon leads after another leadership; how that ended, in a word."""
        self.followed.labels(how).inc()

    # ---- what is looked up when somebody reads the metrics --------------------------------------------------

    def show_leadership(self, is_leading: bool, epoch: int) -> None:
        """Whether this daemon leads, and which leadership it knows of."""
        self.leader.set(int(is_leading))
        self.epoch.set(epoch)

    def show_work(self, pending: int, inflight: int) -> None:
        """Subtasks that wait, and attempts that workers hold."""
        self.pending.set(pending)
        self.inflight.set(inflight)

    def show_counts(self, jobs: Mapping[str, int], workers: Mapping[str, int]) -> None:
        """How many jobs and workers there are in each state; states that are missing have none."""
        for state in ("active", "paused", "done"):
            self.jobs.labels(state).set(jobs.get(state, 0))
        for state in ("ready", "suspect", "lost", "draining", "gone"):
            self.workers.labels(state).set(workers.get(state, 0))

    def show_workers(self, views: Iterable[WorkerView]) -> None:
        """What workers say of themselves in heartbeats, counted since they started; who is gone has no series."""
        beats = [(view.name, view.newest) for view in views if view.newest is not None]
        for field, series in self._of_workers.items():
            series.show((name, getattr(beat.counts, field)) for name, beat in beats)
        self.journal_depth.show((name, beat.journal_depth) for name, beat in beats)
        self.worker_lag.show((name, beat.lag_ms / 1000) for name, beat in beats)

    def show_next_fires(self, fires: Mapping[str, datetime]) -> None:
        """When jobs fire next; all others lose their series."""
        self._jobs.next_fire = {job: instant.timestamp() for job, instant in fires.items()}

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


class OfWorkers(Collector):
    """One series a worker, by name; what the workers said last takes the place of all that was said before."""

    _labelnames = ("worker",)

    def __init__(
        self,
        registry: CollectorRegistry,
        kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        text: str,
    ) -> None:
        self._kind, self._name, self._text = kind, f"schedulerd_{name}", text
        self._values: dict[str, float] = {}
        registry.register(self)

    def show(self, values: Iterable[tuple[str, float]]) -> None:
        """(worker, value) of all there are; those of one name are added up."""
        sums: dict[str, float] = {}
        for worker, value in values:
            sums[worker] = sums.get(worker, 0) + value
        self._values = sums

    def describe(self) -> list[Metric]:
        """The name, for the registry."""
        return [self._make()]

    def collect(self) -> list[Metric]:
        """As it stands."""
        family = self._make()
        for worker, value in self._values.items():
            family.add_metric([worker], value)
        return [family]

    def _make(self) -> CounterMetricFamily | GaugeMetricFamily:
        return self._kind(self._name, self._text, labels=self._labelnames)
