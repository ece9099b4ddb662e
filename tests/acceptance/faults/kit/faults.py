"""The faults that can be made, each with its beginning, its end and how long things may be late after it.

What is done stands in doing.py; which fault comes when is for nemesis.py, what it excuses for checker.py.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from acceptance.faults.kit import doing as do
from acceptance.faults.kit.cluster import CONSUL, LEDGER, POSTGRES, Cluster
from acceptance.faults.kit.doing import Args, Stage

LEADER_RECOVERY = 30.0  # seconds after a leader fault in which fire times may be late (P5)
WORKER_RECOVERY = 15.0  # and after any other fault
BURST = 5_000  # jobs at one instant


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault; `begin` and `end` get the stage, the fault's name and its arguments."""

    draw: Callable[[random.Random, Cluster], Args]
    begin: Callable[[Stage, str, Args], None]
    end: Callable[[Stage, str, Args], None]
    hold: tuple[float, float]  # seconds between the two, from and to
    recovery: Callable[[Args], float] = lambda args: WORKER_RECOVERY
    applies: Callable[[Cluster], bool] = lambda cluster: True
    may_join: bool = False  # may be made while another one lasts
    hits_leader: bool = False  # a standby, where there is one, takes over while it lasts


# ---- drawing


def _worker(rng: random.Random, cluster: Cluster) -> Args:
    return {"host": rng.choice(cluster.workers)}


def _nothing(rng: random.Random, cluster: Cluster) -> Args:
    return {}


def _any_host(rng: random.Random, cluster: Cluster) -> Args:
    return {"host": rng.choice((*cluster.workers, *cluster.schedulers))}


def _between(*one: str) -> Callable[[random.Random, Cluster], Args]:
    """A cut between a host of each of two sides (scheduler, worker, consul)."""

    def draw(rng: random.Random, cluster: Cluster) -> Args:
        sides = {
            "scheduler": cluster.schedulers,
            "worker": cluster.workers,
            "consul": (CONSUL,),
        }
        return {"from": rng.choice(sides[one[0]]), "to": rng.choice(sides[one[1]])}

    return draw


def _with(draw: Callable[[random.Random, Cluster], Args], **choices: tuple[Any, ...]) -> Callable[..., Args]:
    def drawn(rng: random.Random, cluster: Cluster) -> Args:
        args = draw(rng, cluster)
        args.update({key: rng.choice(values) for key, values in choices.items()})
        return args

    return drawn


def _leader_recovery(args: Args) -> float:
    return LEADER_RECOVERY


def _clock_recovery(args: Args) -> float:
    """After a step back nothing fires until the clock has come to where it was."""
    return WORKER_RECOVERY + abs(float(args["seconds"]))


def _all_schedulers(rng: random.Random, cluster: Cluster) -> Args:
    """A standby whose clock differs from the leader's would be another fault than this."""
    return {"hosts": list(cluster.schedulers)}


def _one_worker_in_list(rng: random.Random, cluster: Cluster) -> Args:
    return {"hosts": [rng.choice(cluster.workers)]}


def _full_ledger(rng: random.Random, cluster: Cluster) -> Args:
    return {"disk": LEDGER}


def _full_journal(rng: random.Random, cluster: Cluster) -> Args:
    return {"disk": cluster.workers[0]}


def _has_small_disks(cluster: Cluster) -> bool:
    return cluster.has_small_disks


def _has_small_ledger(cluster: Cluster) -> bool:
    return cluster.has_small_disks and not _has_postgres(cluster)


def _has_postgres(cluster: Cluster) -> bool:
    return POSTGRES in cluster.network.hosts


def _of_postgres(
    begin: Callable[[Stage, str, Args], None],
    end: Callable[[Stage, str, Args], None],
    hold: tuple[float, float],
    **choices: tuple[Any, ...],
) -> Kind:
    return Kind(_with(_nothing, **choices), begin, end, hold, _leader_recovery, applies=_has_postgres)


KINDS: dict[str, Kind] = {
    "kill_leader": Kind(_nothing, do.kill_leader, do.start, (1, 14), _leader_recovery, hits_leader=True),
    "pause_leader": Kind(_nothing, do.pause_leader, do.resume, (3, 20), _leader_recovery, hits_leader=True),
    "kill_worker": Kind(_worker, do.kill, do.start, (1, 20), may_join=True),
    "kill_worker_for_long": Kind(_worker, do.kill, do.start, (66, 70)),  # it is called lost meanwhile
    "pause_worker": Kind(_worker, do.pause, do.resume, (3, 25)),
    "pause_worker_for_long": Kind(_worker, do.pause, do.resume, (66, 70)),
    "rolling_restart": Kind(_nothing, do.roll, do.done, (0, 0), _leader_recovery),
    "rolling_kill": Kind(_nothing, do.kill_each, do.done, (0, 0)),
    "consul_restart": Kind(
        _with(_nothing, keep=(True,)), do.kill_consul, do.start_consul, (2, 12), may_join=True
    ),
    "consul_forgets": Kind(
        _with(_nothing, keep=(False,)), do.kill_consul, do.start_consul, (2, 12), may_join=True
    ),
    "cut_scheduler_worker": Kind(_between("scheduler", "worker"), do.cut_both, do.lift, (4, 30)),
    "cut_scheduler_worker_for_long": Kind(_between("scheduler", "worker"), do.cut_both, do.lift, (66, 70)),
    "cut_to_worker": Kind(_between("scheduler", "worker"), do.cut_one, do.lift, (4, 25), may_join=True),
    "cut_from_worker": Kind(_between("worker", "scheduler"), do.cut_one, do.lift, (4, 25), may_join=True),
    "cut_scheduler_consul": Kind(
        _between("scheduler", "consul"), do.cut_both, do.lift, (5, 40), _leader_recovery, may_join=True
    ),
    "cut_worker_consul": Kind(_between("worker", "consul"), do.cut_both, do.lift, (25, 40), may_join=True),
    "unplug_worker": Kind(_worker, do.unplug, do.plug, (3, 20)),
    "loss": Kind(_with(_any_host, per_mille=(50, 150, 300)), do.lose, do.lift, (10, 25), _leader_recovery),
    "resets": Kind(_with(_any_host, per_mille=(10, 50)), do.reset, do.lift, (10, 20), _leader_recovery),
    "slow_link": Kind(_with(_any_host, kbit=(64, 256)), do.slow, do.unslow, (10, 20), _leader_recovery),
    "delay": Kind(
        _with(_any_host, delay_ms=(20, 200, 1500), jitter_ms=(50, 500), seed=tuple(range(1000))),
        do.delay,
        do.undelay,
        (10, 25),
        _leader_recovery,
    ),
    "scheduler_clock": Kind(
        _with(_all_schedulers, seconds=(25, 40, -15, -25)), do.step, do.step_back, (8, 15), _clock_recovery
    ),
    "worker_clock": Kind(
        _with(_one_worker_in_list, seconds=(120, -120, 3600, -3600)), do.step, do.step_back, (8, 15)
    ),
    "full_ledger": Kind(
        _full_ledger, do.fill, do.empty, (5, 15), _leader_recovery, applies=_has_small_ledger
    ),
    "full_journal": Kind(_full_journal, do.fill, do.empty, (5, 15), applies=_has_small_disks),
    "burst": Kind(_with(_nothing, jobs=(BURST,), lead=(12,)), do.burst, do.unburst, (0, 0), _leader_recovery),
    # of a PostgreSQL ledger; those that end something do it in the middle of a commit
    "cut_scheduler_postgres": _of_postgres(do.cut_leader_from_postgres, do.lift, (5, 20), ways=("to from",)),
    "cut_to_postgres": _of_postgres(do.cut_leader_from_postgres, do.lift, (5, 20), ways=("to",)),
    "cut_from_postgres": _of_postgres(do.cut_leader_from_postgres, do.lift, (5, 20), ways=("from",)),
    "restart_postgres": _of_postgres(do.stop_postgres, do.start_postgres, (1, 10), how=("fast",)),
    "crash_postgres": _of_postgres(do.stop_postgres, do.start_postgres, (1, 10), how=("immediate",)),
    "end_backends": _of_postgres(do.end_backends_amid_a_commit, do.end_backends, (1, 8)),
    "pause_postgres": _of_postgres(do.pause_postgres, do.resume_postgres, (3, 20)),
}
