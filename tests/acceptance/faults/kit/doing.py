"""What is done to hosts, links and clocks as a fault begins and as it ends. Which faults there are is for faults.py.

Each function gets the stage, the fault's name and its arguments; what a fault needs until its end it leaves there.
"""

import errno
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acceptance.faults.kit import relay
from acceptance.faults.kit.cluster import LEDGER, POSTGRES, Cluster
from acceptance.faults.kit.history import JobPlan
from acceptance.faults.kit.ledger_rows import unfinished
from acceptance.faults.kit.network import RELAY_PORT
from acceptance.faults.kit.postgres_host import PostgresHost
from acceptance.faults.kit.witness import job_text
from support.waiting import wait_until

Args = dict[str, Any]


@dataclass
class Stage:
    """What faults are made on, and what they leave behind while they last."""

    cluster: Cluster
    script: Path  # the witness program
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


# ---- processes


def kill_leader(stage: Stage, name: str, args: Args) -> None:
    args["host"] = stage.leader()
    stage.cluster.kill(args["host"])


def kill(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.kill(args["host"])


def start(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.start_daemon(args["host"])


def pause_leader(stage: Stage, name: str, args: Args) -> None:
    args["host"] = stage.leader()
    stage.cluster.send(args["host"], signal.SIGSTOP)


def pause(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.send(args["host"], signal.SIGSTOP)


def resume(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.send(args["host"], signal.SIGCONT)


def roll(stage: Stage, name: str, args: Args) -> None:
    cluster = stage.cluster
    for host in (*cluster.workers, *cluster.schedulers):
        cluster.stop(host)
        cluster.start_daemon(host)
        cluster.daemons[host].wait_said("READY=1", 90)


def kill_each(stage: Stage, name: str, args: Args) -> None:
    """kill -9 of every worker in turn, each while it works and started again at once."""
    cluster = stage.cluster
    for host in cluster.workers:
        cluster.kill(host)
        cluster.start_daemon(host)
        cluster.daemons[host].wait_said("READY=1", 90)


def kill_consul(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.kill_consul()


def start_consul(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.start_consul(keep=args["keep"])


# ---- PostgreSQL


def _postgres(stage: Stage) -> PostgresHost:
    assert stage.cluster.postgres is not None
    return stage.cluster.postgres


def stop_postgres(stage: Stage, name: str, args: Args) -> None:
    """The server ends in the middle of a commit: `how` is fast (in order) or immediate (as a crash)."""
    server = _postgres(stage)
    how = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[args["how"]]
    server.amid_a_commit(lambda: server.stop(how))


def start_postgres(stage: Stage, name: str, args: Args) -> None:
    _postgres(stage).start()


def end_backends_amid_a_commit(stage: Stage, name: str, args: Args) -> None:
    server = _postgres(stage)
    server.amid_a_commit(server.end_backends)


def end_backends(stage: Stage, name: str, args: Args) -> None:
    _postgres(stage).end_backends()


def pause_postgres(stage: Stage, name: str, args: Args) -> None:
    _postgres(stage).stand_still()


def resume_postgres(stage: Stage, name: str, args: Args) -> None:
    _postgres(stage).go_on()


def cut_leader_from_postgres(stage: Stage, name: str, args: Args) -> None:
    """What goes `ways` (to PostgreSQL, from it, or both) between it and who leads now is lost."""
    network, leader = stage.cluster.network, stage.leader()
    args["host"] = leader
    if "to" in args["ways"]:
        network.cut(name, leader, POSTGRES)
    if "from" in args["ways"]:
        network.cut(name, POSTGRES, leader)


# ---- disks


def fill(stage: Stage, name: str, args: Args) -> None:
    """Not a byte is left on this disk."""
    with stage.cluster.disk(args["disk"]).joinpath("ballast").open("wb", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while ballast.write(bytes(size)) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def empty(stage: Stage, name: str, args: Args) -> None:
    """There is room again; a daemon that ended over it is started again, as systemd would."""
    cluster = stage.cluster
    cluster.disk(args["disk"]).joinpath("ballast").unlink()
    host = cluster.schedulers[0] if args["disk"] == LEDGER else args["disk"]
    if cluster.daemons[host].process.poll() is not None:
        cluster.start_daemon(host)


# ---- the network


def cut_both(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.cut(name, args["from"], args["to"])
    stage.cluster.network.cut(name, args["to"], args["from"])


def cut_one(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.cut(name, args["from"], args["to"])


def lift(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.lift(name)


def lose(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.lose(name, args["host"], args["per_mille"])


def reset(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.reset(name, args["host"], args["per_mille"])


def slow(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.slow(args["host"], args["kbit"])


def unslow(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.unslow(args["host"])


def unplug(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.unplug(args["host"])


def plug(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.plug(args["host"])


def delay(stage: Stage, name: str, args: Args) -> None:
    words = [str(RELAY_PORT), str(args["delay_ms"]), str(args["jitter_ms"]), str(args["seed"])]
    argv = stage.cluster.network.inside(args["host"], [sys.executable, relay.__file__, *words])
    helper = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert helper.stdout is not None
    assert helper.stdout.readline() == "ready\n"
    stage.relays[name] = helper
    stage.cluster.network.divert(args["host"])


def undelay(stage: Stage, name: str, args: Args) -> None:
    stage.cluster.network.undivert(args["host"])
    helper = stage.relays.pop(name)
    helper.kill()
    helper.wait()
    assert helper.stdout is not None
    helper.stdout.close()


# ---- clocks and load


def step(stage: Stage, name: str, args: Args) -> None:
    for host in args["hosts"]:
        stage.cluster.set_clock(host, stage.cluster.ahead(host) + args["seconds"])


def step_back(stage: Stage, name: str, args: Args) -> None:
    for host in args["hosts"]:
        stage.cluster.set_clock(host, stage.cluster.ahead(host) - args["seconds"])


def burst(stage: Stage, name: str, args: Args) -> None:
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
    came = wait_until(lambda: unfinished(cluster.ledger, prefix) == (args["jobs"], 0), 240, every=1.0)
    assert came, (
        f"of {args['jobs']} jobs at one instant (runs, unfinished): {unfinished(cluster.ledger, prefix)}"
    )


def unburst(stage: Stage, name: str, args: Args) -> None:
    (stage.cluster.place / "jobs.d" / f"burst-{name}.toml").unlink()
    stage.cluster.ask("/v1/reload", "POST", host=stage.leader(), seconds=120)


def done(stage: Stage, name: str, args: Args) -> None:
    return
