"""What the metrics count, told by effects as the core gives them."""

from datetime import UTC, datetime, timedelta

from schedulerd.adapters.metrics import Metrics
from schedulerd.core import effects as fx
from schedulerd.model.run import Cause, NewRun, RunState, Skip, SkipReason
from schedulerd.protocol.messages import Outcome

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
    lost, late = Outcome("x@1~0~1", "lost"), Outcome("x@1~0~1", "succeeded")
    metrics.on_effects(
        [fx.RecordOutcomes((lost, late)), fx.RecordLateResults((late,), NOW), fx.Drop("nonce", "w1")]
    )
    assert _value(metrics, "attempts_lost_total") == 1
    assert _value(metrics, "late_results_total") == 1
    assert _value(metrics, "bad_frames_total") == 1


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
