"""What callers may look at: jobs, workers and the leader as they stand in its memory. Changes nothing."""

from itertools import islice

from schedulerd.core import requests as rq
from schedulerd.core.draft import Draft
from schedulerd.core.state import JobEntry, State, Worker
from schedulerd.core.trigger import is_finite, next_run
from schedulerd.model.moment import Moment


def view(state: State, entry: JobEntry) -> rq.JobView:
    """A job as it stands."""
    upcoming = entry.next_fire
    if upcoming is not None and upcoming.skip is not None:
        upcoming = next_run(entry.job, entry.anchor, upcoming.instant)
    is_done = entry.next_fire is None and not entry.open_runs and (entry.is_spent or is_finite(entry.job))
    return rq.JobView(
        definition=entry.definition,
        state="paused" if entry.is_paused else "done" if is_done else "active",
        pause=entry.pause,
        next_fire_time=upcoming.instant if upcoming is not None else None,
        open_runs=tuple(entry.open_runs),
    )


def jobs(state: State, request: rq.DescribeJobs, now: Moment, draft: Draft) -> tuple[rq.JobView, ...]:
    """Those that are asked for."""
    return tuple(view(state, state.jobs[name]) for name in request.jobs if name in state.jobs)


def walk(state: State, request: rq.WalkJobs, now: Moment, draft: Draft) -> tuple[rq.JobView, ...]:
    """A part of all jobs; one that comes or goes between two parts may be seen twice or not at all."""
    entries = islice(state.jobs.values(), request.first, request.first + request.most)
    return tuple(view(state, entry) for entry in entries)


def workers(
    state: State, request: rq.DescribeWorkers, now: Moment, draft: Draft
) -> tuple[rq.WorkerView, ...]:
    """All that are known."""
    return tuple(
        rq.WorkerView(
            id=worker.id,
            name=worker.name or worker.address,
            state=_worker_state(worker),
            slots=worker.slots,
            running=len(worker.attempts),
            labels=tuple(sorted(worker.labels)),
            address=worker.address,
            version=worker.version,
            last_seen=worker.last_seen,
            newest=worker.newest,
        )
        for worker in state.workers.values()
    )


def cluster(state: State, request: rq.DescribeCluster, now: Moment, draft: Draft) -> rq.ClusterView:
    """The leader in numbers."""
    return rq.ClusterView(
        epoch=state.epoch,
        jobs=len(state.jobs),
        open_runs=len(state.runs),
        pending_subtasks=sum(
            len(run.pending) + sum(map(len, run.pinned.values()))
            for group in state.waiting.values()
            for run in group.values()
        ),
        open_attempts=len(state.attempts),
        workers_ready=sum(1 for worker in state.workers.values() if _worker_state(worker) == "ready"),
    )


def _worker_state(worker: Worker) -> str:
    if worker.is_lost:
        return "lost"
    if worker.is_leaving:
        return "gone"
    if worker.is_suspect or not worker.nonce:
        return "suspect"
    return "draining" if worker.is_draining else "ready"
