"""Has a plan come true in a world, and ends it. What each fault does is in faults_*.py, each request in callers.py."""

from simulation import callers, faults_leader, faults_network, faults_worker
from simulation.plan import Plan, Planned
from simulation.world import World

ACTS = {**faults_leader.FAULTS, **faults_worker.FAULTS, **faults_network.FAULTS, **callers.CALLS}


def begin(world: World, plan: Plan) -> None:
    """Every planned event in its time, and the end of all faults."""
    for event in plan.events:
        world.agenda.at(event.at, _happen, world, plan, event)
    world.agenda.at(plan.ends, calm, world)


def _happen(world: World, plan: Plan, event: Planned) -> None:
    world.chronicle.log("plan", f"{event.number} {event.what}")
    ACTS[event.what](world, plan.rng(event))


def calm(world: World) -> None:
    """The faults stop: everything is started, goes on and is connected again."""
    world.is_calm = True
    world.chronicle.log("world", "the faults stop")
    network = world.network
    network.loss = network.repeat = network.slow = 0.0
    network.mirrors.clear()
    network.heal_all()
    for worker in list(world.workers):
        if worker.is_copy:
            world.remove_copy(worker)
    for leader in world.leaders:
        leader.stall = leader.ambush = None
        leader.disk_fault, leader.commit_takes = "", 0.0
    for worker in world.workers:
        worker.journal_fault = False
        worker.hurry()
    for process in (*world.leaders, *world.workers):
        process.fuse = None
        process.unpause()
        if not process.is_alive:
            process.start()
    world.listed = {worker.address: worker for worker in world.workers}
    world.discover()
    world.agenda.after(1.2, world.look_at_links)
