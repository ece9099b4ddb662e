"""Workers, the cluster and coming fire times as the API shows them."""

from collections.abc import Iterable

from schedulerd.api.door import DoorStatus
from schedulerd.api.views.texts import time_text
from schedulerd.core.coming import Coming
from schedulerd.core.requests import ClusterView, WorkerView
from schedulerd.protocol.api_answers import Cluster, Leader
from schedulerd.protocol.api_types import NextFire, Worker
from schedulerd.protocol.leader_card import LeaderCard


def worker_view(view: WorkerView) -> Worker:
    """A worker."""
    return Worker(
        id=view.id,
        name=view.name,
        state=view.state,
        slots=view.slots,
        running=view.running,
        labels=list(view.labels),
        address=view.address,
        version=view.version,
        last_seen=time_text(view.last_seen),
    )


def leader_view(card: LeaderCard) -> Leader:
    """Who leads."""
    return Leader(
        id=card.id,
        name=card.name,
        url=card.url or None,
        epoch=card.epoch,
        since=card.since or None,
        version=card.version,
    )


def cluster_view(status: DoorStatus, view: ClusterView | None, jobs: int = 0) -> Cluster:
    """The scheduler that answers; without a leader's view it knows of `jobs` in the ledger, and its counts are 0."""
    return Cluster(
        version=status.version,
        id=status.id,
        election=status.election,
        leader=None if status.leader is None else leader_view(status.leader),
        standbys=None if status.standbys is None else list(status.standbys),
        lease_age_seconds=None if status.lease_age is None else round(status.lease_age, 3),
        is_leading=status.is_leading,
        epoch=view.epoch if view else status.epoch,
        started_at=time_text(status.started_at) or "",
        ready=status.ready,
        reasons=list(status.reasons),
        jobs=view.jobs if view else jobs,
        open_runs=view.open_runs if view else 0,
        pending_subtasks=view.pending_subtasks if view else 0,
        open_attempts=view.open_attempts if view else 0,
        workers_ready=view.workers_ready if view else 0,
    )


def next_views(fires: Iterable[Coming]) -> list[NextFire]:
    """Coming fire times."""
    return [
        NextFire(fire_time=time_text(fire.instant) or "", local=fire.local.isoformat(), note=fire.note)
        for fire in fires
    ]
