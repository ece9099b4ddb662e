"""What callers ask for while all goes wrong: runs, pauses, ends, and other job tables."""

import random
from collections.abc import Callable
from datetime import timedelta

from msgspec.structs import replace
from simulation.table import any_job, definition
from simulation.world import BEGIN, World

from schedulerd.core.requests import (
    CancelRun,
    DeleteJob,
    PauseJob,
    PutJob,
    ResumeJob,
    RetryRun,
    TriggerJob,
)
from schedulerd.model.job import Job


def _name(world: World, rng: random.Random) -> str:
    return rng.choice(world.jobs).name if world.jobs and rng.random() < 0.9 else "api"


def trigger(world: World, rng: random.Random) -> None:
    """A run now; some ask twice with one key."""
    request = TriggerJob(job=_name(world, rng), key=f"key{rng.getrandbits(32):x}", by="sim")
    world.ask(request)
    if rng.random() < 0.3:
        world.agenda.after(rng.choice((0.0, 0.5, 12.0)), world.ask, request)


def pause(world: World, rng: random.Random) -> None:
    """A pause, often with an end."""
    until = None
    if rng.random() < 0.7:
        until = BEGIN + timedelta(seconds=world.agenda.now + rng.choice((4.0, 30.0)))
    world.ask(PauseJob(job=_name(world, rng), by="sim", until=until, cancel_running=rng.random() < 0.2))


def resume(world: World, rng: random.Random) -> None:
    """The end of a pause."""
    world.ask(ResumeJob(job=_name(world, rng), by="sim"))


def cancel(world: World, rng: random.Random) -> None:
    """The end of a run."""
    runs = world.open_runs()
    if runs:
        world.ask(CancelRun(run=rng.choice(runs), by="sim", kill=rng.random() < 0.3))


def retry(world: World, rng: random.Random) -> None:
    """Another round of a run that has ended, mostly one that failed."""
    bad = "AND state <> 'succeeded'" if rng.random() < 0.8 else ""
    runs = world.shelf.ask(
        f"SELECT id FROM runs WHERE finished_at IS NOT NULL {bad} ORDER BY n DESC LIMIT 10"
    )
    found = world.shelf.recorded_run(rng.choice(runs)[0]) if runs else None
    if found is not None:
        request = RetryRun(found=found, by="sim", failed_only=rng.random() < 0.6)
        world.ask(request)
        if rng.random() < 0.3:  # with what was read before
            epoch = world.chronicle.epochs[-1][0]
            world.agenda.after(rng.choice((0.0, 2.0, 9.0)), _ask_again, world, epoch, request)


def _ask_again(world: World, epoch: int, request: RetryRun) -> None:
    """Of the same leadership: the next one would find out from the ledger, and refuse the whole batch."""
    if world.chronicle.epochs[-1][0] == epoch:
        world.ask(request)


def put(world: World, rng: random.Random) -> None:
    """A job through the API."""
    made = any_job(rng, "api", BEGIN, world.is_long)
    world.ask(PutJob(definition=definition(made, ""), by="sim", filled=tuple(world.filled(made))))


def delete(world: World, rng: random.Random) -> None:
    """That job's removal."""
    world.ask(DeleteJob(job="api", by="sim", cancel=rng.random() < 0.3))


def edit(world: World, rng: random.Random) -> None:
    """The job files, with a job changed, taken out or added."""
    jobs: list[Job] = list(world.jobs)
    what = rng.randrange(4)
    if jobs and what == 0:
        jobs.pop(rng.randrange(len(jobs)))
    elif jobs and what == 1:
        place = rng.randrange(len(jobs))
        jobs[place] = any_job(rng, jobs[place].name, BEGIN, world.is_long)
    elif jobs and what == 2:
        place = rng.randrange(len(jobs))
        jobs[place] = replace(jobs[place], description=f"edited {rng.random()}")
    else:
        jobs.append(any_job(rng, f"job{rng.randrange(8)}", BEGIN, world.is_long))
    world.reload(list({job.name: job for job in jobs}.values()))


CALLS: dict[str, Callable[[World, random.Random], None]] = {
    "trigger": trigger,
    "pause": pause,
    "resume": resume,
    "cancel": cancel,
    "retry": retry,
    "put": put,
    "delete": delete,
    "edit": edit,
}
