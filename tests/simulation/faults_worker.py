"""What goes wrong with workers: killed, stopped, without helper or disk, copied, asked to leave, with another time."""

import random
from collections.abc import Callable

from simulation.worker_shell import WorkerProcess
from simulation.world import World


def kill_worker(world: World, rng: random.Random) -> None:
    """At once, or between two effects soon; what was not synced is lost, or half of it."""
    worker = rng.choice(world.workers)
    if rng.random() < 0.3:
        worker.crash()
    else:
        worker.fuse = rng.randrange(10)
    world.agenda.after(rng.choice((0.3, 2.0, 7.0, 30.0, 75.0)), _start, worker)


def _start(worker: WorkerProcess) -> None:
    if not worker.is_alive and not worker.is_copy:
        worker.start()


def stop_worker(world: World, rng: random.Random) -> None:
    """STOP, up to past every term; its helper process and children go on until their lease is over."""
    worker = rng.choice(world.workers)
    worker.pause()
    world.agenda.after(rng.choice((1.0, 7.0, 20.0, 50.0, 70.0, 110.0)), worker.unpause)


def lose_helper(world: World, rng: random.Random) -> None:
    """The helper process is killed."""
    rng.choice(world.workers).lose_helper()


def slow_helper(world: World, rng: random.Random) -> None:
    """Its host is so busy that a process begins long after its order."""
    worker = rng.choice(world.workers)
    worker.exec_takes = rng.choice((4.0, 11.0, 20.0))
    world.agenda.after(rng.choice((5.0, 15.0)), worker.hurry)


def drain_worker(world: World, rng: random.Random) -> None:
    """The host asks it to end; it is started again when it has."""
    rng.choice(world.workers).drain()


def fail_journal(world: World, rng: random.Random) -> None:
    """Its next fsync fails: it ends at once, and nobody knows what of the last write is on the disk."""
    worker = rng.choice(world.workers)
    worker.journal_fault = True
    world.agenda.after(rng.choice((1.0, 4.0, 15.0)), _start, worker)


def copy_worker(world: World, rng: random.Random) -> None:
    """The state directory is copied to another host, and a second worker with the same id starts there.

    The copy is found by discovery as well. It is gone for good after a while, or at the end of the faults; then the
    first one is started anew.
    """
    worker = rng.choice([one for one in world.workers if not one.is_copy])
    if worker.copies or not worker.is_alive:
        return
    copy = world.copy_worker(worker)
    if rng.random() < 0.5:  # the first one is silent, so that the copy may take its place
        worker.pause()
        world.agenda.after(rng.choice((8.0, 20.0, 75.0)), worker.unpause)
    world.agenda.after(rng.choice((5.0, 20.0, 80.0)), world.remove_copy, copy)


def confuse(world: World, rng: random.Random) -> None:
    """A worker is copied while it runs something, and another leader takes over, which hears the copy first."""
    workers = [one for one in world.workers if one.is_alive and not one.is_copy and not one.copies]
    standby = next((one for one in world.leaders if one is not world.holder and one.is_alive), None)
    if not workers or standby is None or standby.paused_since is not None:
        return
    worker = max(workers, key=lambda one: one.state.live)
    copy = world.copy_worker(worker)
    worker.pause()
    world.agenda.after(rng.choice((0.0, 0.3)), world.elect, standby)
    world.agenda.after(rng.choice((1.0, 5.0, 15.0, 70.0)), worker.unpause)
    world.agenda.after(rng.choice((3.0, 20.0, 80.0)), world.remove_copy, copy)


def set_worker_clock(world: World, rng: random.Random) -> None:
    """The clock on a worker's wall is set; its boot-time clock goes on."""
    rng.choice(world.workers).utc_offset_ms += rng.choice((-3_600_000, -5_000, 5_000, 3_600_000))


FAULTS: dict[str, Callable[[World, random.Random], None]] = {
    "kill_worker": kill_worker,
    "stop_worker": stop_worker,
    "lose_helper": lose_helper,
    "slow_helper": slow_helper,
    "drain_worker": drain_worker,
    "fail_journal": fail_journal,
    "copy_worker": copy_worker,
    "confuse": confuse,
    "set_worker_clock": set_worker_clock,
}
