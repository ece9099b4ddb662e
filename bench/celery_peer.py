"""Celery's best on this machine: several documented set-ups are tried, the fastest is the one that is compared with."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import peers

TASKS = 5_000
TRIAL = 2_000
WORKERS = 2
# (pool, prefetch multiplier): solo has one process each and no hand-over; prefork a child beside each worker.
SETUPS = (("solo", 1), ("solo", 64), ("prefork", 1), ("prefork", 64), ("prefork", 0))
_LEAN = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR")


class Peer:
    """Two running workers and a client."""

    def __init__(self, setup: str, client: subprocess.Popen[str], tried: dict[str, float]) -> None:
        self.setup = setup
        self.tried = tried
        self._client = client

    def ask(self, word: str, number: int) -> float:
        """Seconds that the client took."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(f"{word} {number}\n")
        self._client.stdin.flush()
        return float(self._client.stdout.readline())

    def rate_from_sending(self, tasks: int = TASKS) -> float:
        """Tasks a second, from the first one sent to the last result kept."""
        return tasks / self.ask("send", tasks)

    def rate_from_full_queue(self, tasks: int = TASKS) -> float:
        """Tasks a second when all of them lie in the queue before the workers begin."""
        return tasks / self.ask("full", tasks)


@contextmanager
def fastest() -> Iterator[Peer]:
    """The set-up that was fastest in a trial of each, running anew."""
    tried: dict[str, float] = {}
    for pool, prefetch in SETUPS:
        with _running(pool, prefetch, {}) as peer:
            peer.rate_from_sending(TRIAL // 4)
            tried[peer.setup] = max(peer.rate_from_sending(TRIAL), peer.rate_from_full_queue(TRIAL))
    best = max(tried, key=lambda setup: tried[setup])
    (pool, prefetch) = next(pair for pair in SETUPS if _name(*pair) == best)
    with _running(pool, prefetch, tried) as peer:
        yield peer


def _name(pool: str, prefetch: int) -> str:
    return f"{pool}, prefetch multiplier {prefetch}"


@contextmanager
def _running(pool: str, prefetch: int, tried: dict[str, float]) -> Iterator[Peer]:
    python, packages = peers.celery_environment()
    here = Path(__file__).resolve().parent
    with ExitStack() as stack:
        port = stack.enter_context(peers.redis())
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        environment = {
            **os.environ,
            "BENCH_REDIS_PORT": str(port),
            "BENCH_PREFETCH": str(prefetch),
            "PYTHONWARNINGS": "ignore",  # it does not like to be root, which a container may be
            "PYTHONPATH": f"{packages}:{here}",
        }
        for number in range(WORKERS):
            argv = [
                python,
                "-m",
                "celery",
                "-A",
                "celery_app",
                "worker",
                "--pool",
                pool,
                "--concurrency",
                "1",
            ]
            argv += ["--hostname", f"w{number}@bench", *_LEAN]
            stack.enter_context(_child(argv, environment, place))
        client = stack.enter_context(_client([python, here / "celery_app.py", str(port)], environment, place))
        peer = Peer(_name(pool, prefetch), client, tried)
        peer.ask("wait", WORKERS)
        yield peer


@contextmanager
def _child(argv: list[str | Path], environment: dict[str, str], place: str) -> Iterator[None]:
    child = subprocess.Popen(argv, env=environment, cwd=place, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def _client(
    argv: list[str | Path], environment: dict[str, str], place: str
) -> Iterator[subprocess.Popen[str]]:
    client = subprocess.Popen(
        argv, env=environment, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield client
    finally:
        client.kill()
        client.wait()
