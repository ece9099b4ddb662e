"""The rig itself: a network that is said to be faulty is faulty, in the way that is said, and whole again after it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.faults.kit import relay
from acceptance.faults.kit.network import RELAY_PORT, Network, network
from support.waiting import wait_until

ECHO = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000))
print("ready", flush=True)
import threading
def serve(one):
    try:
        while data := one.recv(65536):
            one.sendall(data)
    except OSError:
        pass
while True:
    one, _ = server.accept()
    threading.Thread(target=serve, args=(one,), daemon=True).start()
"""
CALL = """
import socket, sys, time
address, source, count, size, patience = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
began = time.monotonic()
try:
    one = socket.create_connection((address, 7000), patience)
    one.settimeout(patience)
    for _ in range(count):
        one.sendall(b"x" * size)
        left = size
        while left:
            data = one.recv(left)
            if not data:
                raise ConnectionResetError
            left -= len(data)
    print("ok", time.monotonic() - began)
except Exception as error:
    print(type(error).__name__, time.monotonic() - began)
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network("a", "b") as made:
        server = subprocess.Popen(
            made.inside("b", [sys.executable, "-c", ECHO, made.address("b")]),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield made
        server.kill()
        server.wait()


def call(net: Network, count: int = 1, size: int = 1, patience: int = 1) -> tuple[str, float]:
    """What host a gets from host b's echo: a word and the seconds it took."""
    words = [net.address("b"), "-", str(count), str(size), str(patience)]
    done = subprocess.run(
        net.inside("a", [sys.executable, "-c", CALL, *words]),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    word, seconds = done.stdout.split()
    return word, float(seconds)


@pytest.mark.parametrize("way", [("a", "b"), ("b", "a")], ids=["to-b", "from-b"])
def test_a_cut_link_carries_nothing_that_way_and_heals(net: Network, way: tuple[str, str]) -> None:
    assert call(net)[0] == "ok"
    net.cut("one", *way)
    assert call(net)[0] == "TimeoutError"
    net.lift("one")
    assert call(net)[0] == "ok"


def test_a_cut_is_one_way(net: Network) -> None:
    """Datagrams tell: what b sends still comes to a."""
    heard = subprocess.Popen(
        net.inside("a", [sys.executable, "-c", _HEAR, net.address("a")]), stdout=subprocess.PIPE, text=True
    )
    assert heard.stdout is not None
    assert heard.stdout.readline() == "ready\n"
    net.cut("one", "a", "b")
    subprocess.run(net.inside("b", [sys.executable, "-c", _TELL, net.address("a")]), check=True, timeout=30)
    assert heard.stdout.readline() == "heard\n"
    net.lift("one")
    assert heard.wait(30) == 0


_HEAR = """
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind((sys.argv[1], 7001))
one.settimeout(20)
print("ready", flush=True)
one.recv(10)
print("heard", flush=True)
"""
_TELL = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (sys.argv[1], 7001))
"""


def test_loss_slows_what_resets_break(net: Network) -> None:
    net.lose("some", "b", 200)
    word, seconds = call(net, count=20, patience=60)
    net.lift("some")
    assert word == "ok"
    assert seconds > 0.4  # retransmissions
    net.reset("some", "b", 500)
    assert {call(net, count=20)[0] for _ in range(3)} <= {"ConnectionResetError", "ConnectionRefusedError"}
    net.lift("some")
    assert call(net, count=30)[0] == "ok"


def test_a_slow_link_has_the_rate_that_was_asked_for(net: Network) -> None:
    net.slow("b", 256)
    word, seconds = call(net, size=64_000, patience=60)
    net.unslow("b")
    assert word == "ok"
    assert seconds > 1.5  # 64 kB at 32 kB/s, and back
    assert call(net, size=64_000)[1] < 1.5


def test_an_unplugged_host_is_gone(net: Network) -> None:
    net.unplug("b")
    assert call(net)[0] in ("TimeoutError", "OSError")
    net.plug("b")
    assert wait_until(lambda: call(net)[0] == "ok", 20)


def test_the_relay_delays_what_was_meant_for_its_host(net: Network) -> None:
    argv = [sys.executable, relay.__file__, str(RELAY_PORT), "200", "50", "1"]
    helper = subprocess.Popen(net.inside("b", argv), stdout=subprocess.PIPE, text=True)
    assert helper.stdout is not None
    assert helper.stdout.readline() == "ready\n"
    net.divert("b")
    word, seconds = call(net, count=3, patience=10)
    net.undivert("b")
    helper.kill()
    helper.wait()
    assert word == "ok"
    assert seconds > 3 * 0.4
    assert call(net)[1] < 0.4


def test_nothing_of_it_is_seen_outside(net: Network) -> None:
    interfaces = {path.name for path in Path("/sys/class/net").iterdir()}
    assert not interfaces & {"hub", *(f"v-{host}" for host in net.hosts)}
    assert net.address("b") not in Path("/proc/net/fib_trie").read_text()
