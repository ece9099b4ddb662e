"""What reaches systemd's socket, and that nothing breaks without one."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedulerd.hostkit import notify


@pytest.fixture(params=["path", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket systemd listens on, once as a file and once in the abstract namespace."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@schedulerd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        server.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield server


def test_each_order_is_one_datagram_of_fields(systemd: socket.socket):
    assert notify.ready("2 workers, 7 jobs")
    assert systemd.recv(4096) == b"READY=1\nSTATUS=2 workers, 7 jobs"
    assert notify.stopping("draining")
    assert systemd.recv(4096) == b"STOPPING=1\nSTATUS=draining"
    assert notify.status("waiting for Consul")
    assert systemd.recv(4096) == b"STATUS=waiting for Consul"
    assert notify.watchdog()
    assert systemd.recv(4096) == b"WATCHDOG=1"


def test_a_reload_says_when_it_began(systemd: socket.socket):
    assert notify.reloading()
    first, second = systemd.recv(4096).decode().splitlines()
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdigit()


def test_a_line_break_in_a_status_cannot_become_a_field(systemd: socket.socket):
    notify.status("faulty table:\nREADY=1\n")
    assert systemd.recv(4096) == b"STATUS=faulty table: READY=1"


def test_umlauts_arrive_as_utf8(systemd: socket.socket):
    notify.status("läuft")
    assert systemd.recv(4096) == "STATUS=läuft".encode()


@pytest.mark.parametrize("value", [None, "", "relative/path", "/no/such/socket", "@nobody-listens-here"])
def test_without_a_socket_nothing_happens(value: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if value is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    assert not notify.ready("up")


def test_a_full_socket_does_not_hold_the_daemon_up(systemd: socket.socket):
    answers = [notify.watchdog() for _ in range(100_000)]
    assert answers[0]
    assert not answers[-1]


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", "own", 30.0),
        ("1500000", "", 1.5),
        ("30000000", "1", None),  # meant for another process
        (None, None, None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
        ("²", None, None),
    ],
)
def test_the_watchdog_term_comes_from_the_environment(
    usec: str | None, pid: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
):
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_seconds() == seconds
