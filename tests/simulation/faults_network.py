"""What goes wrong between hosts: loss, cuts, old frames that come again, and a discovery that changes its mind."""

import random
from collections.abc import Callable

from simulation.world import World


def weather(world: World, rng: random.Random) -> None:
    """How bad the network is in this seed: loss, repetition and long delays, which reorder."""
    network = world.network
    network.loss = rng.choice((0.0, 0.01, 0.08))
    network.repeat = rng.choice((0.0, 0.02, 0.1))
    network.slow = rng.choice((0.0, 0.02, 0.1))


def storm(world: World, rng: random.Random) -> None:
    """Much worse for a while."""
    network = world.network
    before = network.loss, network.repeat, network.slow
    network.loss, network.repeat, network.slow = rng.choice((0.05, 0.3)), 0.3, rng.choice((0.1, 0.4))
    world.agenda.after(rng.choice((2.0, 8.0)), _calm_down, world, before)


def _calm_down(world: World, before: tuple[float, float, float]) -> None:
    if not world.is_calm:
        world.network.loss, world.network.repeat, world.network.slow = before


def cut(world: World, rng: random.Random) -> None:
    """Between the leader's host and one worker or all, one way or both."""
    leader = world.holder if world.holder is not None and rng.random() < 0.9 else rng.choice(world.leaders)
    workers = [rng.choice(world.workers)] if rng.random() < 0.7 else list(world.workers)
    ways = rng.choice(((True, True), (True, False), (False, True)))
    lasts = rng.choice((1.0, 5.0, 12.0, 45.0, 80.0, 110.0))
    world.chronicle.log(
        "world", f"cuts {leader.host} from {[worker.host for worker in workers]} {ways} for {lasts} s"
    )
    for worker in workers:
        pairs = ((leader.host, worker.host), (worker.host, leader.host))
        for is_cut, (source, target) in zip(ways, pairs, strict=True):
            if is_cut:
                world.network.cut(source, target)
                world.agenda.after(lasts, world.network.heal, source, target)
    for later in (6.1, lasts + 1.1):
        world.agenda.after(later, world.look_at_links)


def siege(world: World, rng: random.Random) -> None:
    """One worker hears no scheduler and no scheduler hears it, until all faults stop; a copy of it may be heard."""
    worker = max(world.workers, key=lambda worker: worker.state.live if worker.is_alive else -1)
    world.chronicle.log("world", f"nobody reaches {worker.name} any more")
    for leader in world.leaders:
        world.network.cut(leader.host, worker.host)
        world.network.cut(worker.host, leader.host)
    world.agenda.after(6.1, world.look_at_links)
    if worker.is_alive and not worker.is_copy and not worker.copies and rng.random() < 0.4:
        world.copy_worker(worker)


def replay(world: World, rng: random.Random) -> None:
    """Some frames of the last minutes arrive once more."""
    world.network.replay(rng, rng.choice((1, 5, 25)))


def unlist(world: World, rng: random.Random) -> None:
    """Discovery does not see a worker for a while."""
    worker = rng.choice(world.workers)
    if world.listed.pop(worker.address, None) is None:
        return
    world.chronicle.log("world", f"{worker.name} leaves discovery")
    world.discover()
    world.agenda.after(rng.choice((3.0, 20.0, 70.0)), world.list_worker, worker)


def flap(world: World, rng: random.Random) -> None:
    """Discovery loses and finds workers at random, all of them at times, as when agents and servers disagree."""
    world.chronicle.log("world", "discovery flaps")
    at = 0.0
    for _ in range(rng.randrange(3, 12)):
        at += rng.choice((0.05, 0.5, 2.5))
        names = [worker.address for worker in world.workers if rng.random() < 0.5]
        world.agenda.after(at, _list_only, world, names)
    world.agenda.after(at + 0.5, _list_only, world, None)


def _list_only(world: World, addresses: list[str] | None) -> None:
    if not world.is_calm:
        world.listed = {
            worker.address: worker
            for worker in world.workers
            if addresses is None or worker.address in addresses
        }
        world.discover()


FAULTS: dict[str, Callable[[World, random.Random], None]] = {
    "weather": weather,
    "storm": storm,
    "cut": cut,
    "siege": siege,
    "replay": replay,
    "unlist": unlist,
    "flap": flap,
}
