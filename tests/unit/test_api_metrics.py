"""What the metrics count, told by effects as the core gives them."""

from datetime import UTC, datetime, timedelta

from msgspec import structs

from schedulerd.adapters.metrics import Metrics
from schedulerd.core import effects as fx
from schedulerd.core.requests import WorkerView
from schedulerd.model.run import Cause, NewRun, RunState, Skip, SkipReason
from schedulerd.protocol.messages import Counted, Heartbeat, Outcome

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def _run(cause: Cause, late_seconds: float) -> NewRun:
    return NewRun(
        id="x@1",
        job="x",
        version="v",
        cause=cause,
        fire_time=NOW,
        has_slot=True,
        created_at=NOW + timedelta(seconds=late_seconds),
    )


def _closed(state: RunState, job: str = "x") -> fx.CloseRun:
    return fx.CloseRun(
        run=f"{job}@1",
        job=job,
        cause="schedule",
        fire_time=NOW,
        created_at=NOW,
        started_at=NOW + timedelta(seconds=1),
        state=state,
        reason="",
        finished_at=NOW + timedelta(seconds=21),
    )


def _worker(name: str, duplicates: int, id: str = "") -> WorkerView:
    return WorkerView(
        id=id or name,
        name=name,
        state="ready",
        slots=2,
        running=0,
        labels=(),
        address="h:1",
        version="1",
        last_seen=NOW,
        newest=Heartbeat(1, 5, 2, 0, 250, 7, "ready", Counted(duplicate_dispatches=duplicates)),
    )


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"schedulerd_{name}", labels)


def test_fires_and_skips_are_counted_with_their_reasons() -> None:
    metrics = Metrics()
    skip = Skip(job="x", version="v", first=NOW, last=NOW, count=40, reason=SkipReason.PAUSED)
    runs = (_run(Cause.SCHEDULE, 0.2), _run(Cause.MANUAL, 0.0))
    metrics.watch([fx.RecordRuns(runs), fx.RecordSkips((skip,))], 0.004)
    assert _value(metrics, "fires_total", trigger="schedule") == 1
    assert _value(metrics, "fires_total", trigger="manual") == 1
    assert _value(metrics, "skips_total", reason="paused") == 40
    assert _value(metrics, "fire_delay_seconds_count") == 1
    assert _value(metrics, "fire_delay_seconds_sum") == 0.2
    assert _value(metrics, "ledger_commit_seconds_count") == 1


def test_ends_of_runs_move_the_job_gauges() -> None:
    metrics = Metrics()
    metrics.on_effects([_closed(RunState.FAILED), _closed(RunState.FAILED)])
    assert _value(metrics, "job_consecutive_failures", job_name="x") == 2
    metrics.on_effects([_closed(RunState.SUCCEEDED)])
    assert _value(metrics, "job_consecutive_failures", job_name="x") == 0
    assert _value(metrics, "job_last_success_timestamp_seconds", job_name="x") == NOW.timestamp() + 21
    assert _value(metrics, "runs_total", job_name="x", result="failed") == 2
    assert _value(metrics, "run_duration_seconds_sum") == 60


def test_lost_and_late_are_counted() -> None:
    metrics = Metrics()
    lost, done = Outcome("x@1~0~1", "lost"), Outcome("x@1~1~1", "succeeded")
    fenced = Outcome("x@1~2~1", "lost", "fenced")
    told = [fx.RecordEvent(type=kind, time=NOW) for kind in ("late_result", "unknown_result", "takeover")]
    metrics.on_effects([fx.RecordOutcomes((lost, done, fenced)), fx.Drop("nonce", "w1"), *told])
    assert _value(metrics, "attempts_total", state="lost") == 2
    assert _value(metrics, "attempts_total", state="succeeded") == 1
    assert _value(metrics, "attempts_lost_total") == 2
    assert _value(metrics, "fenced_total") == 1
    assert _value(metrics, "late_results_total") == 1
    assert _value(metrics, "unknown_results_total") == 1
    assert _value(metrics, "takeovers_total") == 1
    assert _value(metrics, "events_total", type="late_result") == 1
    assert _value(metrics, "bad_frames_total") == 1
    assert _value(metrics, "dropped_frames_total", reason="nonce") == 1


def test_a_result_that_comes_again_is_not_a_late_one() -> None:
    metrics = Metrics()
    again = Outcome("x@1~0~1", "succeeded")
    metrics.on_effects([fx.RecordLateResults((again,), NOW), fx.Count("duplicate_results")])
    assert _value(metrics, "late_results_total") == 0
    assert _value(metrics, "duplicate_results_total") == 1


def test_what_the_core_counts_is_shown() -> None:
    metrics = Metrics()
    metrics.on_effects(
        [fx.Count("retries", "timeout", 3), fx.Count("dispatches_resent", by=2), fx.Count("revocations")]
    )
    assert _value(metrics, "retries_total", after="timeout") == 3
    assert _value(metrics, "dispatches_resent_total") == 2
    assert _value(metrics, "revocations_total") == 1


def test_workers_counts_are_shown_and_go_with_them() -> None:
    metrics = Metrics()
    metrics.show_workers(
        [_worker("w1", 3), _worker("w2", 0), _worker("twin", 1, "a"), _worker("twin", 2, "b")]
    )
    assert _value(metrics, "duplicate_dispatches_total", worker="w1") == 3
    assert _value(metrics, "duplicate_dispatches_total", worker="w2") == 0
    assert _value(metrics, "duplicate_dispatches_total", worker="twin") == 3
    assert _value(metrics, "worker_journal_depth", worker="w1") == 7
    assert _value(metrics, "worker_lag_seconds", worker="w1") == 0.25
    metrics.show_workers([_worker("w2", 0)])
    assert _value(metrics, "duplicate_dispatches_total", worker="w1") is None
    assert 'worker="w2"' in metrics.render().decode()


def test_series_of_removed_jobs_go_away() -> None:
    metrics = Metrics()
    metrics.on_effects([_closed(RunState.SUCCEEDED), _closed(RunState.SUCCEEDED, "y")])
    metrics.show_next_fires({"x": NOW, "y": NOW})
    metrics.on_effects([fx.RecordRemovals(("x", "never-run"))])
    text = metrics.render().decode()
    assert 'job_name="x"' not in text
    assert 'job_name="y"' in text


def test_states_without_members_are_told_as_zero() -> None:
    metrics = Metrics()
    metrics.show_counts({"active": 2}, {"ready": 1})
    metrics.show_counts({"paused": 1}, {})
    assert _value(metrics, "jobs", state="active") == 0
    assert _value(metrics, "jobs", state="paused") == 1
    assert _value(metrics, "workers", state="ready") == 0


def test_a_retry_is_no_late_dispatch() -> None:
    metrics = Metrics()
    metrics.on_effects([structs.replace(_closed(RunState.SUCCEEDED), rounds=2)])
    assert _value(metrics, "dispatch_seconds_count") == 0
    assert _value(metrics, "run_duration_seconds_count") == 1
