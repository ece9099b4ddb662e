"""From fire time to the ledger's commit: a steady stream of jobs, and very many at one instant."""

import os
import sqlite3
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.cluster import cluster
from bench.report import percentiles_ms, show_lateness

LATE_JOBS, LATE_SECONDS = 100, 60
BURSTS = (1_000, 10_000)
ROUNDS = 3


def lateness() -> None:
    """100 jobs a second over a minute; beside waking at an instant and writing one row durably."""
    for _ in range(ROUNDS):
        base = (datetime.now(UTC) + timedelta(seconds=6)).replace(microsecond=0)
        spread = []
        for job in range(LATE_JOBS):
            instants = [
                (base + timedelta(seconds=second, microseconds=job * 10_000)).isoformat()
                for second in range(LATE_SECONDS)
            ]
            times = ", ".join(instants)
            spread.append(f'[job.late-{job}]\nargv = ["true"]\noverlap = "allow"\nat = [{times}]\n')
        bare = percentiles_ms(_bare_lateness(300))
        with cluster("\n".join(spread), workers=2, slots=500, module="bench.instant") as running:
            running.log.wait_closed(LATE_JOBS * LATE_SECONDS, LATE_SECONDS + 60)
            found = list(running.log.lateness.values())
        show_lateness(
            "lateness_100_jobs_a_second_ms", found, bare_wake_and_commit_p50=bare["p50"], bare_p99=bare["p99"]
        )


def burst() -> None:
    """Many jobs at one instant, and one a second later; beside the same rows in one bare transaction."""
    for count in BURSTS:
        for _ in range(ROUNDS):
            _burst(count)


def _burst(count: int) -> None:
    instant = (datetime.now(UTC) + timedelta(seconds=8 + count / 1000)).replace(microsecond=0)
    jobs = [f'[job.burst-{job}]\nargv = ["true"]\nat = {instant.isoformat()}\n' for job in range(count)]
    later = (instant + timedelta(seconds=1)).isoformat()
    table = "\n".join([*jobs, f'[job.later]\nargv = ["true"]\nat = {later}\n'])
    with cluster(table, workers=2, slots=500, module="bench.instant") as running:
        running.log.wait_closed(count + 1, 120)
        late = dict(running.log.lateness)
    (name,) = [run for run in late if run.startswith("later@")]
    one_later = late.pop(name)
    show_lateness(
        f"lateness_{count}_jobs_at_once_ms",
        list(late.values()),
        job_a_second_later=one_later * 1000,
        bare_transaction=_bare_transaction(count) * 1000,
    )


def _bare_lateness(count: int) -> list[float]:
    """Sleeping until an instant and committing one row with synchronous=FULL, a hundred times a second."""
    late = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        ledger = _bare_ledger(Path(name))
        base = time.time() + 0.1
        for number in range(count):
            due = base + number / 100
            time.sleep(max(due - time.time(), 0.0))
            ledger.execute("INSERT INTO runs VALUES (?, ?, ?)", (number, "job@time", due))
            late.append(time.time() - due)
        ledger.close()
    return late


def _bare_transaction(count: int) -> float:
    """Seconds for `count` rows of two tables in one durable transaction."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        ledger = _bare_ledger(Path(name))
        begun = time.perf_counter()
        ledger.execute("BEGIN IMMEDIATE")
        rows = [(number, f"burst-{number}@20261123T000000Z", 0.0) for number in range(count)]
        ledger.executemany("INSERT INTO runs VALUES (?, ?, ?)", rows)
        ledger.executemany("INSERT INTO slots VALUES (?, ?, ?)", rows)
        ledger.execute("COMMIT")
        took = time.perf_counter() - begun
        ledger.close()
    return took


def _bare_ledger(place: Path) -> sqlite3.Connection:
    ledger = sqlite3.connect(os.fspath(place / "bare.db"), isolation_level=None)
    ledger.execute("PRAGMA journal_mode = WAL")
    ledger.execute("PRAGMA synchronous = FULL")
    for table in ("runs", "slots"):
        ledger.execute(f"CREATE TABLE {table} (n INTEGER PRIMARY KEY, id TEXT, at REAL)")
    return ledger
