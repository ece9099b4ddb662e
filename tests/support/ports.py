"""Ports for servers that are stopped and started again on the same one."""

import random
import socket
from pathlib import Path

_draw = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """Ports on loopback that are free for TCP and UDP now, below those that the kernel gives to clients by itself."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: set[int] = set()
    for _ in range(10_000):
        if len(ports) == count:
            return sorted(ports)
        port = _draw.randrange(max(low - 20_000, 1024), low)
        if _is_free(port):
            ports.add(port)
    raise AssertionError(f"no {count} free ports below {low}")


def _is_free(port: int) -> bool:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
