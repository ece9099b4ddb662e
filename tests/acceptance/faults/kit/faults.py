"""The faults that can be made, each with its beginning, its end and how long things may be late after it.

What is done to hosts and links stands here; which fault comes when is for nemesis.py, what it excuses for checker.py.
"""

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from acceptance.faults.kit import relay
from acceptance.faults.kit.cluster import CONSUL, Cluster, boot_now
from acceptance.faults.kit.history import JobPlan
from acceptance.faults.kit.ledger_rows import unfinished
from acceptance.faults.kit.network import RELAY_PORT
from acceptance.faults.kit.witness import job_text
from support.waiting import wait_until

LEADER_RECOVERY = 30.0  # seconds after a leader fault in which fire times may be late (P5)
WORKER_RECOVERY = 15.0  # and after any other fault
BURST = 5_000  # jobs at one instant
POSTGRES = "pg"  # the host of a PostgreSQL, where a test has one

Args = dict[str, Any]


@dataclass
class Stage:
    """What faults are made on, and what they leave behind while they last."""

    cluster: Cluster
    script: Any  # Path of the witness program
    relays: dict[str, subprocess.Popen[str]]
    extra_jobs: list[JobPlan]

    def leader(self) -> str:
        """The scheduler that leads."""
        hosts = self.cluster.schedulers
        if len(hosts) == 1:
            return hosts[0]
        for host in hosts:
            try:
                if self.cluster.ask("/readyz", host=host, seconds=2.0).get("is_leading"):
                    return host
            except (OSError, AssertionError):
                continue
        return hosts[0]


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
    """A cut between a host of each of two sides (scheduler, worker, consul, pg)."""

    def draw(rng: random.Random, cluster: Cluster) -> Args:
        sides = {
            "scheduler": cluster.schedulers,
            "worker": cluster.workers,
            "consul": (CONSUL,),
            "pg": (POSTGRES,),
        }
        return {"from": rng.choice(sides[one[0]]), "to": rng.choice(sides[one[1]])}

    return draw


def _with(draw: Callable[[random.Random, Cluster], Args], **choices: tuple[Any, ...]) -> Callable[..., Args]:
    def drawn(rng: random.Random, cluster: Cluster) -> Args:
        args = draw(rng, cluster)
        args.update({key: rng.choice(values) for key, values in choices.items()})
        return args

    return drawn


# ---- processes


def _kill_leader(stage: Stage, name: str, args: Args) -> None:
    args["host"] = stage.leader()
    stage.cluster.kill(args["host"])


def _kill(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.kill(args["host"])


def _start(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.start_daemon(args["host"])


def _pause_leader(stage: Stage, name: str, args: Args) -> None:
    args["host"] = stage.leader()
    stage.cluster.send(args["host"], signal.SIGSTOP)


def _pause(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.send(args["host"], signal.SIGSTOP)


def _resume(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.send(args["host"], signal.SIGCONT)


def _roll(stage: Stage, name: str, args: Args) -> None:
    cluster = stage.cluster
    for host in (*cluster.workers, *cluster.schedulers):
        cluster.stop(host)
        cluster.start_daemon(host)
        cluster.daemons[host].wait_said("READY=1", 90)


def _kill_each(stage: Stage, name: str, args: Args) -> None:
    """kill -9 of every worker in turn, each while it works and started again at once."""
    cluster = stage.cluster
    for host in cluster.workers:
        cluster.kill(host)
        cluster.start_daemon(host)
        cluster.daemons[host].wait_said("READY=1", 90)


def _kill_consul(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.kill_consul()


def _start_consul(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.start_consul(keep=args["keep"])


# ---- the network


def _cut_both(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.cut(name, args["from"], args["to"])
    stage.cluster.network.cut(name, args["to"], args["from"])


def _cut_one(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.cut(name, args["from"], args["to"])


def _lift(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.lift(name)


def _lose(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.lose(name, args["host"], args["per_mille"])


def _reset(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.reset(name, args["host"], args["per_mille"])


def _slow(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.slow(args["host"], args["kbit"])


def _unslow(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.unslow(args["host"])


def _unplug(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.unplug(args["host"])


def _plug(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.plug(args["host"])


def _delay(stage: Stage, name: str, args: Args) -> None:
    words = [str(RELAY_PORT), str(args["delay_ms"]), str(args["jitter_ms"]), str(args["seed"])]
    argv = stage.cluster.network.inside(args["host"], [sys.executable, relay.__file__, *words])
    helper = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert helper.stdout is not None
    assert helper.stdout.readline() == "ready\n"
    stage.relays[name] = helper
    stage.cluster.network.divert(args["host"])


def _undelay(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.undivert(args["host"])
    helper = stage.relays.pop(name)
    helper.kill()
    helper.wait()
    assert helper.stdout is not None
    helper.stdout.close()


# ---- clocks and load


def _step(stage: Stage, name: str, args: Args) -> None:
    for host in args["hosts"]:
        stage.cluster.set_clock(host, stage.cluster.ahead(host) + args["seconds"])


def _step_back(stage: Stage, name: str, args: Args) -> None:
    for host in args["hosts"]:
        stage.cluster.set_clock(host, stage.cluster.ahead(host) - args["seconds"])


def _burst(stage: Stage, name: str, args: Args) -> None:
    cluster = stage.cluster
    ahead = cluster.ahead(cluster.schedulers[0])
    instant = float(int(datetime.now(UTC).timestamp() + ahead) + args["lead"])
    plans = [
        JobPlan(name=f"burst-{name}-{number}", instants=(instant,), on_lost="retry")
        for number in range(args["jobs"])
    ]
    cluster.write_table("\n".join(job_text(plan, stage.script, 0.0) for plan in plans), f"burst-{name}")
    answer = cluster.ask("/v1/reload", "POST", host=stage.leader(), seconds=120)
    assert len(answer["added"]) == args["jobs"], answer
    stage.extra_jobs += plans
    prefix = f"burst-{name}-"
    came = wait_until(lambda: unfinished(cluster.ledger_file, prefix) == (args["jobs"], 0), 240, every=1.0)
    assert came, (
        f"of {args['jobs']} jobs at one instant (runs, unfinished): {unfinished(cluster.ledger_file, prefix)}"
    )


def _unburst(stage: Stage, name: str, args: Args) -> None:
    (stage.cluster.place / "jobs.d" / f"burst-{name}.toml").unlink()
    stage.cluster.ask("/v1/reload", "POST", host=stage.leader(), seconds=120)


def _done(stage: Stage, name: str, args: Args) -> None:
    return


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


def _has_postgres(cluster: Cluster) -> bool:
    return POSTGRES in cluster.network.hosts


KINDS: dict[str, Kind] = {
    "kill_leader": Kind(_nothing, _kill_leader, _start, (1, 14), _leader_recovery, hits_leader=True),
    "pause_leader": Kind(_nothing, _pause_leader, _resume, (3, 20), _leader_recovery, hits_leader=True),
    "kill_worker": Kind(_worker, _kill, _start, (1, 20), may_join=True),
    "kill_worker_for_long": Kind(_worker, _kill, _start, (66, 70)),  # it is called lost meanwhile
    "pause_worker": Kind(_worker, _pause, _resume, (3, 25)),
    "pause_worker_for_long": Kind(_worker, _pause, _resume, (66, 70)),
    "rolling_restart": Kind(_nothing, _roll, _done, (0, 0), _leader_recovery),
    "rolling_kill": Kind(_nothing, _kill_each, _done, (0, 0)),
    "consul_restart": Kind(
        _with(_nothing, keep=(True,)), _kill_consul, _start_consul, (2, 12), may_join=True
    ),
    "consul_forgets": Kind(
        _with(_nothing, keep=(False,)), _kill_consul, _start_consul, (2, 12), may_join=True
    ),
    "cut_scheduler_worker": Kind(_between("scheduler", "worker"), _cut_both, _lift, (4, 30)),
    "cut_scheduler_worker_for_long": Kind(_between("scheduler", "worker"), _cut_both, _lift, (66, 70)),
    "cut_to_worker": Kind(_between("scheduler", "worker"), _cut_one, _lift, (4, 25), may_join=True),
    "cut_from_worker": Kind(_between("worker", "scheduler"), _cut_one, _lift, (4, 25), may_join=True),
    "cut_scheduler_consul": Kind(
        _between("scheduler", "consul"), _cut_both, _lift, (5, 40), _leader_recovery, may_join=True
    ),
    "cut_worker_consul": Kind(_between("worker", "consul"), _cut_both, _lift, (25, 40), may_join=True),
    "cut_scheduler_postgres": Kind(
        _between("scheduler", "pg"), _cut_both, _lift, (5, 20), _leader_recovery, applies=_has_postgres
    ),
    "unplug_worker": Kind(_worker, _unplug, _plug, (3, 20)),
    "loss": Kind(_with(_any_host, per_mille=(50, 150, 300)), _lose, _lift, (10, 25), _leader_recovery),
    "resets": Kind(_with(_any_host, per_mille=(10, 50)), _reset, _lift, (10, 20), _leader_recovery),
    "slow_link": Kind(_with(_any_host, kbit=(64, 256)), _slow, _unslow, (10, 20), _leader_recovery),
    "delay": Kind(
        _with(_any_host, delay_ms=(20, 200, 1500), jitter_ms=(50, 500), seed=tuple(range(1000))),
        _delay,
        _undelay,
        (10, 25),
        _leader_recovery,
    ),
    "scheduler_clock": Kind(
        _with(_all_schedulers, seconds=(25, 40, -15, -25)), _step, _step_back, (8, 15), _clock_recovery
    ),
    "worker_clock": Kind(
        _with(_one_worker_in_list, seconds=(120, -120, 3600, -3600)), _step, _step_back, (8, 15)
    ),
    "burst": Kind(_with(_nothing, jobs=(BURST,), lead=(12,)), _burst, _unburst, (0, 0), _leader_recovery),
}


def now() -> float:
    """The moment faults are logged with."""
    return boot_now()
