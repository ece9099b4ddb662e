"""A connection that got stuck is begun anew by itself, on both sides: waiting for the kernel would take minutes."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from support.waiting import wait_until

from schedulerd.adapters.outbox import Outbox
from workerd.adapters.link import Link

SYN_SENT = "02"

Dial = Callable[[int], object]


@pytest.fixture
def dials() -> Iterator[tuple[Dial, Dial]]:
    """Each connects to 127.0.0.1:PORT: as the leader does, and as the worker does."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    outbox = Outbox(context)
    link = Link("tcp://127.0.0.1:*", insecure=False)
    yield (
        lambda port: outbox.connect("w", f"127.0.0.1:{port}"),
        lambda port: link.connect(f"tcp://127.0.0.1:{port}"),
    )
    outbox.close()
    context.destroy(linger=0)
    link.close(0)


def test_a_peer_that_accepts_and_says_nothing_is_tried_again(dials: tuple[Dial, Dial]) -> None:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in dials]
    for server, dial in zip(servers, dials, strict=True):
        server.settimeout(20)
        dial(server.getsockname()[1])
    for server in servers:
        silent, _ = server.accept()
        again, _ = server.accept()
        silent.close()
        again.close()
        server.close()


def test_a_peer_that_does_not_answer_at_all_is_tried_again(dials: tuple[Dial, Dial]) -> None:
    servers = [socket.socket() for _ in dials]
    taken = []
    for server, dial in zip(servers, dials, strict=True):
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        taken.append(
            socket.create_connection(("127.0.0.1", port))
        )  # nobody accepts: what asks next is dropped
        dial(port)
    ports = [server.getsockname()[1] for server in servers]
    seen: set[tuple[int, int]] = set()

    def has_asked_twice(port: int) -> bool:
        seen.update(_asking(port))
        return sum(to == port for to, _ in seen) >= 2

    for port in ports:
        assert wait_until(lambda port=port: has_asked_twice(port), 20)  # type: ignore[misc]
    for one in (*taken, *servers):
        one.close()


def _asking(port: int) -> set[tuple[int, int]]:
    """(`port`, local port) of each connection to it that was asked for and not answered."""
    found = set()
    listed = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    for line in [line for lines in listed for line in lines]:
        words = line.split()
        if words[3] == SYN_SENT and int(words[2].split(":")[1], 16) == port:
            found.add((port, int(words[1].split(":")[1], 16)))
    return found
