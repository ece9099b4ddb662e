"""Brings the gauges up to date when somebody reads the metrics; the loop itself only counts."""

from collections import Counter
from typing import cast

from schedulerd.adapters.metrics import Metrics
from schedulerd.api.door import Door
from schedulerd.core import requests as rq
from schedulerd.errors import CommandError

_WAIT = 2.0  # seconds; a scrape must not hang on a loop that is busy


def refresh(metrics: Metrics, door: Door) -> None:
    """Ask the leader for its counts; without one they are 0."""
    status = door.status()
    metrics.show_leadership(status.is_leading, status.epoch)
    jobs: list[rq.JobView] = []
    workers: tuple[rq.WorkerView, ...] = ()
    pending, inflight = 0, 0
    if status.is_leading:
        try:
            while some := cast(tuple[rq.JobView, ...], door.ask(rq.WalkJobs(first=len(jobs)), _WAIT)):
                jobs.extend(some)
            workers = cast(tuple[rq.WorkerView, ...], door.ask(rq.DescribeWorkers(), _WAIT))
            cluster = cast(rq.ClusterView, door.ask(rq.DescribeCluster(), _WAIT))
        except CommandError:
            return  # a busy loop: the gauges stay as they were, the counters are right anyway
        pending, inflight = cluster.pending_subtasks, cluster.open_attempts
    metrics.show_work(pending, inflight)
    metrics.show_counts(Counter(view.state for view in jobs), Counter(view.state for view in workers))
    metrics.show_workers(workers)
    metrics.show_next_fires(
        {view.definition.job.name: view.next_fire_time for view in jobs if view.next_fire_time is not None}
    )
