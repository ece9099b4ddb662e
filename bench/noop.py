"""Subtasks a second through the whole product, and beside it the bare floor of its design and Celery.

What each of the three does, and what it leaves out, is said in docs/reference/benchmarks.md.
"""

import statistics
import time
from collections.abc import Callable

from bench import celery_peer
from bench.cluster import cluster
from bench.floor import bare_rate
from bench.report import show

ROUNDS = 3
SUBTASKS = 20_000
SLOTS = 2_000


def noop() -> None:
    """SQLite FULL, two workers whose attempts end at once."""
    found, states = rates()
    show(
        "noop_subtasks_per_second",
        median=statistics.median(found),
        runs=found,
        slots_per_worker=SLOTS,
        subtasks=SUBTASKS,
        states=states,
    )


def floor() -> None:
    """The same work by a bare prototype of the design, in turns with the product; the ratio is product / floor."""
    bare: list[float] = []
    found, states = rates(before=lambda: bare.append(bare_rate(SUBTASKS, SLOTS)))
    bare = bare[1:]
    show(
        "floor_subtasks_per_second",
        median=statistics.median(bare),
        runs=bare,
        product=statistics.median(found),
        product_runs=found,
        ratio=statistics.median(ours / theirs for ours, theirs in zip(found, bare, strict=True)),
        slots_per_worker=SLOTS,
        subtasks=SUBTASKS,
        states=states,
    )


def celery() -> None:
    """Celery 5 and Redis, acks_late, results kept, two workers; and how many times faster the product is."""
    with celery_peer.fastest() as peer:
        sent: list[float] = []
        filled: list[float] = []

        def peer_round() -> None:
            sent.append(peer.rate_from_sending())
            filled.append(peer.rate_from_full_queue())

        found, states = rates(before=peer_round)
    sent, filled = sent[1:], filled[1:]
    best = max(statistics.median(sent), statistics.median(filled))
    ours = statistics.median(found)
    show(
        "celery_tasks_per_second",
        median=best,
        from_sending=statistics.median(sent),
        from_full_queue=statistics.median(filled),
        runs_from_sending=sent,
        runs_from_full_queue=filled,
        setup=peer.setup,
        tried=peer.tried,
        product=ours,
        product_runs=found,
        times_faster=ours / best,
        tasks=celery_peer.TASKS,
        states=states,
    )


def rates(before: Callable[[], None] = lambda: None) -> tuple[list[float], list[str]]:
    """Subtasks a second of ROUNDS runs after one to warm up, `before` each of which something else is measured."""
    table = f"""
[job.noop]
argv = ["true"]
overlap = "allow"
split = {{ shards = {SUBTASKS} }}
"""
    found = []
    with cluster(table, workers=2, slots=SLOTS, module="bench.instant") as running:
        for number in range(ROUNDS + 1):
            before()
            begun = time.perf_counter()
            running.trigger("noop", f"k{number}")
            running.log.wait_closed(number + 1, 120)
            found.append(SUBTASKS / (time.perf_counter() - begun))
        states = sorted(set(running.log.closed.values()))
    return found[1:], states
