"""The peer's own program, run by its interpreter: the tasks, and a client that is told what to do on standard input.

`python celery_app.py PORT` is the client; the workers are `celery -A celery_app worker`. Knows nothing of ours.
"""

import os
import sys
import time

import redis
from celery import Celery

PORT = sys.argv[1] if __name__ == "__main__" else os.environ["BENCH_REDIS_PORT"]

app = Celery("celery_app", broker=f"redis://127.0.0.1:{PORT}/0", backend=f"redis://127.0.0.1:{PORT}/1")
app.conf.update(
    task_acks_late=True,
    task_ignore_result=False,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "1")),
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    task_send_sent_event=False,
    task_track_started=False,
    broker_connection_retry_on_startup=True,
    result_expires=3600,
)


@app.task(name="noop")
def noop() -> None:
    """Nothing."""


def send(count: int) -> None:
    """Tasks as fast as the client makes them: one connection, no look at the answers."""
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            noop.apply_async(producer=producer)


def wait_results(results: "redis.Redis[bytes]", count: int) -> None:
    """Return when so many results are kept."""
    deadline = time.monotonic() + 120
    while results.dbsize() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{results.dbsize()} of {count} results within 120 s")
        time.sleep(0.005)


def main() -> None:
    """Lines in: `send N`, `full N`, `wait WORKERS`; a line out for each, the seconds it took."""
    results = redis.Redis(port=int(PORT), db=1)
    for line in sys.stdin:
        word, number = line.split()
        count = int(number)
        results.flushdb()
        begun = time.perf_counter()
        if word == "wait":
            while len(app.control.ping(timeout=0.5) or ()) < count:
                pass
        elif word == "send":
            send(count)
            wait_results(results, count)
        else:
            app.control.cancel_consumer("celery", reply=True, timeout=2)
            send(count)
            begun = time.perf_counter()
            app.control.add_consumer("celery")
            wait_results(results, count)
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main()
