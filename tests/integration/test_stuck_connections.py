"""A connection that got stuck is begun anew by itself, on both sides: waiting for the kernel would take minutes."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from support.waiting import wait_until

from schedulerd.adapters.outbox import Outbox
from workerd.adapters.link import Link

SIDES = ("leader", "worker")
SYN_SENT = "02"


@pytest.fixture(params=SIDES)
def dial(request: pytest.FixtureRequest) -> Iterator[object]:
    """Connects to 127.0.0.1:PORT as the leader does, or as the worker does; stays until the test is over."""
    if request.param == "leader":
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        outbox = Outbox(context)
        yield lambda port: outbox.connect("w", f"127.0.0.1:{port}")
        outbox.close()
        context.destroy(linger=0)
    else:
        link = Link("tcp://127.0.0.1:*", insecure=False)
        yield lambda port: link.connect(f"tcp://127.0.0.1:{port}")
        link.close(0)


def test_a_peer_that_accepts_and_says_nothing_is_tried_again(dial) -> None:  # type: ignore[no-untyped-def]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        dial(server.getsockname()[1])
        silent, _ = server.accept()
        again, _ = server.accept()
        silent.close()
        again.close()


def test_a_peer_that_does_not_answer_at_all_is_tried_again(dial) -> None:  # type: ignore[no-untyped-def]
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        with _full(port):
            dial(port)
            seen: set[int] = set()
            assert wait_until(lambda: len(_add(seen, _asking(port))) >= 2, 20)


def _full(port: int) -> socket.socket:
    """Nobody accepts: with this one the queue is full, and the kernel drops what asks next."""
    return socket.create_connection(("127.0.0.1", port))


def _asking(port: int) -> set[int]:
    """Local ports of connections to `port` that were asked for and not answered."""
    found = set()
    listed = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    for line in [line for lines in listed for line in lines]:
        words = line.split()
        if words[3] == SYN_SENT and int(words[2].split(":")[1], 16) == port:
            found.add(int(words[1].split(":")[1], 16))
    return found


def _add(seen: set[int], more: set[int]) -> set[int]:
    seen |= more
    return seen
