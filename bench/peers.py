"""Programs that figures are compared with: an environment with Celery, and a Redis. Only benchmarks use them.

Both live below .cache/, are made at their first use and are nobody's dependency. Redis comes from PATH or from the
machine's own Debian sources, without root.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schedulerd.dev import free_ports

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
PINNED = ("celery==5.5.3", "redis==5.2.1", "hiredis==3.2.1")
DEBIAN = ("redis-tools", "liblzf1", "libjemalloc2", "libatomic1")  # redis-tools holds the server's program


def celery_environment() -> tuple[Path, Path]:
    """(interpreter, directory of packages): what runs Celery, apart from our own packages; made if it is not there."""
    place = CACHE / "bench-peers"
    ready = place / ".ready"
    if not ready.exists() or ready.read_text() != "\n".join(PINNED):
        shutil.rmtree(place, ignore_errors=True)
        # where Python came without pip, `make` has put Debian's wheel of it there
        wheels = [str(path) for path in CACHE.glob("pip/usr/share/python-wheels/pip-*.whl")]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", place, *PINNED]
        subprocess.run(pip, check=True, env={**os.environ, "PYTHONPATH": ":".join(wheels)})
        ready.write_text("\n".join(PINNED))
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return Path(sys.base_prefix) / "bin" / name, place


def redis_program() -> tuple[Path, dict[str, str]]:
    """(redis-server, the environment it needs)."""
    found = shutil.which("redis-server")
    if found:
        return Path(found), dict(os.environ)
    place = CACHE / "redis"
    server = place / "redis-tools" / "usr" / "bin" / "redis-server"
    if not server.exists():
        for package in DEBIAN:
            fetch = [sys.executable, ROOT / "tests" / "support" / "apt_fetch.py", package, place / package]
            subprocess.run(fetch, check=True)
        # one program with several names; which of them it is called by says what it does
        server.symlink_to("redis-check-rdb")
    libraries = ":".join(str(path) for path in sorted(place.glob("*/usr/lib/*-linux-gnu")))
    return server, {**os.environ, "LD_LIBRARY_PATH": libraries}


@contextmanager
def redis() -> Iterator[int]:
    """The port of a Redis on loopback that keeps nothing on disk, which is its fastest."""
    server, environment = redis_program()
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        options = [
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            name,
        ]
        child = subprocess.Popen([server, *options], env=environment, stdout=subprocess.DEVNULL)
        try:
            _wait_port(child, port)
            yield port
        finally:
            child.terminate()
            child.wait(30)


def _wait_port(child: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"redis-server ended with {child.returncode}")
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("redis-server did not answer within 30 s")
