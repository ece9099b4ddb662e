"""The floor: the bare design with nothing around it, to see what our abstractions cost.

Attempts in dicts, commit before send, SQLite FULL in groups of about GROUP rows, two worker processes that fsync start
and result, ZeroMQ in batches. No retries, no expiry, no epochs, no takeover: it would lose work. Not of the product.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import zmq

GROUP = 250
_pack, _unpack = msgspec.msgpack.encode, msgspec.msgpack.decode


def bare_rate(subtasks: int, slots: int, workers: int = 2) -> float:
    """Subtasks a second, from the first commit to the commit of the last result."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, zmq.Context() as context:
        pull = context.socket(zmq.PULL)
        pull.bind("tcp://127.0.0.1:*")
        children, links = [], []
        try:
            for number in range(workers):
                link = context.socket(zmq.PUSH)
                link.bind("tcp://127.0.0.1:*")
                links.append(link)
                ends = [link.get_string(zmq.LAST_ENDPOINT), pull.get_string(zmq.LAST_ENDPOINT)]
                argv = [sys.executable, "-m", "bench.floor", *ends, f"{name}/journal-{number}"]
                children.append(subprocess.Popen(argv))
            for _ in range(workers):
                pull.recv()  # it is there
            return _lead(Path(name), pull, links, subtasks, slots)
        finally:
            for child in children:
                child.kill()
                child.wait()
            context.destroy(linger=0)


def _lead(
    place: Path, pull: zmq.Socket[bytes], links: list[zmq.Socket[bytes]], subtasks: int, slots: int
) -> float:
    ledger = sqlite3.connect(place / "floor.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        ledger.execute(f"PRAGMA {pragma}")
    ledger.execute("CREATE TABLE attempts (id TEXT PRIMARY KEY, worker INT, state TEXT) WITHOUT ROWID")
    ledger.execute("CREATE TABLE results (id TEXT PRIMARY KEY, state TEXT, at INT) WITHOUT ROWID")
    begun = time.perf_counter()
    waiting = [f"noop@20261123T020000Z~{index}~1" for index in range(subtasks)][::-1]
    live: dict[str, int] = {}
    free = [slots] * len(links)
    done = 0
    while done < subtasks:
        ended: list[tuple[str, str, int]] = []
        if not any(free) or not waiting:
            pull.poll(1000)
        while len(ended) < GROUP:
            try:
                ended += _unpack(pull.recv(zmq.NOBLOCK), type=list[tuple[str, str, int]])
            except zmq.Again:
                break
        for attempt, _, _ in ended:
            free[live.pop(attempt)] += 1
        mail = []
        for worker, room in enumerate(free):
            batch = [waiting.pop() for _ in range(min(room, GROUP // len(links), len(waiting)))]
            live.update(dict.fromkeys(batch, worker))
            free[worker] -= len(batch)
            mail.append(batch)
        ledger.execute("BEGIN IMMEDIATE")
        rows = [(attempt, worker, "assigned") for worker, batch in enumerate(mail) for attempt in batch]
        ledger.executemany("INSERT INTO attempts VALUES (?, ?, ?)", rows)
        ledger.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?)", ended)
        ledger.executemany("UPDATE attempts SET state = ? WHERE id = ?", [(row[1], row[0]) for row in ended])
        ledger.execute("COMMIT")
        done += len(ended)
        for link, batch in zip(links, mail, strict=True):
            if batch:
                link.send(_pack(batch))
    took = time.perf_counter() - begun
    ledger.close()
    return subtasks / took


def _work(orders: str, results: str, journal: str) -> None:
    """A worker: what has come is journaled as started, then as ended, and only then told."""
    context = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.connect(orders)
    push.connect(results)
    push.send(b"")
    file = os.open(journal, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    while True:
        attempts: list[str] = _unpack(pull.recv())
        while pull.poll(0) and len(attempts) < GROUP:
            attempts += _unpack(pull.recv())
        os.write(file, _pack([(attempt, "starting") for attempt in attempts]))
        os.fdatasync(file)
        ended = [(attempt, "succeeded", time.time_ns() // 1_000_000) for attempt in attempts]
        os.write(file, _pack(ended))
        os.fdatasync(file)
        push.send(_pack(ended))


if __name__ == "__main__":
    _work(*sys.argv[1:])
