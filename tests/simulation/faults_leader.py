"""What goes wrong with schedulers: killed, stopped, deposed without a word, a ledger that fails, a clock that steps."""

import random
from collections.abc import Callable

from simulation.leader_shell import LeaderProcess
from simulation.world import World

RESTARTS = (0.5, 3.0, 8.0, 25.0)  # seconds until whoever runs the process starts it again


def _leader(world: World, rng: random.Random) -> LeaderProcess:
    holder = world.holder
    return holder if holder is not None and rng.random() < 0.9 else rng.choice(world.leaders)


def _other(world: World) -> LeaderProcess | None:
    """A standby that could lead now."""
    able = (one for one in world.leaders if one is not world.holder)
    return next((one for one in able if one.is_alive and one.paused_since is None), None)


def kill_leader(world: World, rng: random.Random) -> None:
    """At once, or between two effects soon."""
    leader = _leader(world, rng)
    if rng.random() < 0.3:
        leader.crash()
        world.look_at_links()
    else:
        leader.fuse = rng.randrange(12)
    world.agenda.after(rng.choice(RESTARTS), _start, world, leader, rng.random() < 0.7)


def _start(world: World, leader: LeaderProcess, is_quick: bool) -> None:
    if not leader.is_alive:
        leader.start()
        if world.holder is leader and is_quick:
            world.elect(leader)
        world.agenda.after(0.1, world.look_at_links)


def stop_leader(world: World, rng: random.Random) -> None:
    """STOP, up to past every term."""
    leader = _leader(world, rng)
    leader.pause()
    world.agenda.after(rng.choice((1.0, 8.0, 15.0, 50.0, 90.0)), leader.unpause)


def stall_leader(world: World, rng: random.Random) -> None:
    """It stops between two effects: after its commit and before its sends, for one."""
    _leader(world, rng).stall = (rng.randrange(8), rng.choice((0.5, 3.0, 14.0, 30.0)))


def ambush_leader(world: World, rng: random.Random) -> None:
    """It stops after a commit, right before it sends work, and another one leads at once."""
    former, other = world.holder, _other(world)
    if former is None or other is None:
        return
    lasts = rng.choice((0.1, 1.5, 4.0))

    def spring() -> float:
        world.agenda.after(0.0, world.elect, other)
        return lasts

    former.ambush = spring


def usurp(world: World, rng: random.Random) -> None:
    """Another one leads, and nobody tells the former, which keeps its sockets.

    It goes on to receive everything (a copy of each frame to its successor), or is deaf and only sends, or is stopped
    and wakes up after its successor has begun.
    """
    former, other = world.holder, _other(world)
    if former is None or other is None or not former.is_alive:
        return
    kind = rng.choice(("hears all", "is deaf", "is stopped"))
    lasts = rng.choice((3.0, 9.0, 30.0))
    world.chronicle.log("world", f"{other.name} takes the lead, {former.name} {kind} for {lasts:g} s")
    if kind == "is stopped":
        former.pause()
        world.agenda.after(lasts, former.unpause)
    elif kind == "hears all":
        world.network.mirrors[other.endpoint] = former.endpoint
    else:
        for worker in world.workers:
            world.network.cut(worker.host, former.host)
            world.agenda.after(lasts, world.network.heal, worker.host, former.host)
    world.elect(other, tells_after=lasts + 2.0)


def fail_disk(world: World, rng: random.Random) -> None:
    """The next commit fails: nothing was written; all was written; or it is written a moment after the error."""
    _leader(world, rng).disk_fault = rng.choice(("before", "after", "limbo"))


def slow_commits(world: World, rng: random.Random) -> None:
    """For a while each commit takes its time, and what was decided before it is sent after it."""
    leader = _leader(world, rng)
    leader.commit_takes = rng.choice((0.3, 2.0, 8.0))
    world.agenda.after(rng.choice((2.0, 10.0, 20.0)), _fast, leader)


def _fast(leader: LeaderProcess) -> None:
    leader.commit_takes = 0.0


def set_leader_clock(world: World, rng: random.Random) -> None:
    """The clock on a scheduler's wall is set forward or back."""
    leader = _leader(world, rng)
    by = rng.choice((-3600.0, -20.0, -3.0, 3.0, 25.0, 200.0, 1500.0))
    world.chronicle.log("world", f"the clock of {leader.name} is set by {by:+g} s")
    leader.set_clock(by)
    if rng.random() < 0.6:  # and somebody puts it right
        world.agenda.after(rng.choice((2.0, 15.0)), leader.set_clock, -by)


FAULTS: dict[str, Callable[[World, random.Random], None]] = {
    "kill_leader": kill_leader,
    "stop_leader": stop_leader,
    "stall_leader": stall_leader,
    "ambush_leader": ambush_leader,
    "usurp": usurp,
    "fail_disk": fail_disk,
    "slow_commits": slow_commits,
    "set_leader_clock": set_leader_clock,
}
