"""The job tables of a seed, and an enumeration of fire times that owes nothing to the scheduler's own."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from schedulerd.adapters.jobfiles import version_of
from schedulerd.model.job import (
    Argv,
    At,
    AtLeast,
    Cron,
    Definition,
    Every,
    Items,
    Job,
    ListedItems,
    Manual,
    Matrix,
    Misfire,
    OnLost,
    Origin,
    Overlap,
    PerWorker,
    Pool,
    Shards,
    Share,
    Split,
    Trigger,
)

POOLS = (Pool(name="one", max=1), Pool(name="three", max=3))
MINUTES = {"* * * * *": 1, "*/2 * * * *": 2, "*/3 * * * *": 3}
LONG = 100  # seconds; such jobs outlast the fence and the term of a lost worker
WORK = Argv(argv=("work",))


def definition(job: Job, file: str = "sim.toml") -> Definition:
    """As the job-file reader (or, without a file, the API) would make it."""
    return Definition(job=job, origin=Origin(file=file, line=1 if file else 0), version=version_of(job))


def job_table(rng: random.Random, begin: datetime, count: int, is_long: bool) -> list[Job]:
    """`count` jobs of every kind."""
    return [any_job(rng, f"job{number}", begin, is_long) for number in range(count)]


def any_job(rng: random.Random, name: str, begin: datetime, is_long: bool) -> Job:
    """One job with everything left to chance; some that outlast every term if there is time for them."""
    timeout = rng.choice((6, 12, LONG, LONG) if is_long else (6, 12, 20))
    triggers: list[Trigger] = [
        Every(period=timedelta(seconds=rng.choice((2, 5, 7, 15, 40)))),
        Every(period=timedelta(seconds=rng.choice((5, 11, 30)))),
        Cron(expressions=(rng.choice(list(MINUTES)),)),
        At(instants=tuple(sorted({begin + timedelta(seconds=rng.randrange(-30, 150)) for _ in range(3)}))),
        Manual(),
    ]
    trigger = rng.choice(triggers)
    splits: list[Split | None] = [
        None,
        None,
        None,
        Shards(count=rng.randrange(1, 5)),
        Items(items=tuple(f'"{number}"' for number in range(rng.randrange(4))), chunk=rng.choice((None, 2))),
        ListedItems(work=Argv(argv=("list",)), chunk=rng.choice((None, 2))),
        Matrix(axes=(("x", ("1", "2")), ("y", ('"a"', '"b"'))), exclude=('{"x":2,"y":"b"}',)),
        PerWorker(),
    ]
    split = rng.choice(splits)
    is_wide = split is not None
    overlap = rng.choice((Overlap.SKIP, Overlap.SKIP, Overlap.QUEUE, Overlap.REPLACE, Overlap.ALLOW))
    if overlap is Overlap.ALLOW and isinstance(trigger, Every):
        trigger = Every(period=timedelta(seconds=rng.choice((20, 45))))  # what may pile up fires less often
    return Job(
        name=name,
        trigger=trigger,
        work=WORK,
        timeout=timedelta(seconds=timeout),
        kill_after=timedelta(seconds=rng.choice((1, 4))),
        overlap=overlap,
        queue_max=rng.choice((1, 3)),
        pools=rng.choice(((), (), (), ("one",), ("three",), ("one", "three"))),
        misfire=rng.choice(list(Misfire)),
        catchup=timedelta(seconds=rng.choice((30, 3600))),
        catchup_max=rng.choice((1, 3)),
        dispatch_timeout=timedelta(seconds=rng.choice((5, 20, 40))),
        on_lost=rng.choice((OnLost.FAIL, OnLost.FAIL, OnLost.RETRY)),
        requires=rng.choice(((), (), (), ("gpu",), ("!gpu",))),
        split=split,
        max_parallel=rng.choice((1, 2)) if is_wide and rng.random() < 0.25 else None,
        fail_fast=is_wide and rng.random() < 0.2,
        need=rng.choice((AtLeast(count=1), Share(millionths=600_000)))
        if is_wide and rng.random() < 0.3
        else None,
        setup=Argv(argv=("setup",)) if rng.random() < 0.35 else None,
        gather=Argv(argv=("gather",)) if is_wide and rng.random() < 0.5 else None,
        teardown=Argv(argv=("teardown",)) if rng.random() < 0.35 else None,
        run_timeout=timedelta(seconds=rng.choice((5, 15, LONG + 50))) if rng.random() < 0.2 else None,
        retry_max=rng.choice((0, 0, 1, 2)),
        paused=rng.random() < 0.05,
    )


def fire_times(job: Job, anchor: datetime | None, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every fire time in (after, until], counted one by one."""
    match job.trigger:
        case Every(period=period):
            assert anchor is not None
            number = max(1, int((after - anchor) / period) - 1)
            while (instant := anchor + number * period) <= until:
                if instant > after:
                    yield instant
                number += 1
        case Cron(expressions=(text,)):
            minute = after.replace(second=0, microsecond=0)
            while (minute := minute + timedelta(minutes=1)) <= until:
                if minute.minute % MINUTES[text] == 0:
                    yield minute
        case At(instants=instants):
            yield from (instant for instant in instants if after < instant <= until)
        case _:
            return
