"""A network of hosts, each a network namespace on one bridge, whose links the tests can spoil. Needs root.

The bridge has a namespace of its own, so nothing of it is seen outside. Packets are dropped where they come in: a
sender learns nothing, as on a real network. What a spoilt link means to the daemons is for faults.py.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from support.nft_binary import NoNft, nft_command

NET = "10.77.0."
RELAY_PORT = 7999  # where a host's relay listens, when it has one
NEEDS_ROOT = "this makes network namespaces (ip netns add) and needs root"


class Network:
    """Hosts by name; every fault is a name, its rules, and gone again when it is lifted."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = tuple(hosts)
        self._prefix = f"faults-{os.getpid()}-{id(self) % 0xFFFF:x}"
        self._nft: list[str] = []
        self._rules: dict[str, dict[str, list[str]]] = {host: {} for host in hosts}  # host -> fault -> rules
        self._relayed: set[str] = set()
        self._hub = f"{self._prefix}-hub"

    def address(self, host: str) -> str:
        """IPv4 address of a host."""
        return f"{NET}{self.hosts.index(host) + 1}"

    def namespace(self, host: str) -> str:
        """Name of the host's namespace."""
        return f"{self._prefix}-{host}"

    def inside(self, host: str, argv: Sequence[str | Path]) -> list[str]:
        """The command that runs `argv` on that host; the process keeps its pid."""
        return ["ip", "netns", "exec", self.namespace(host), *(str(part) for part in argv)]

    def pids(self, host: str) -> list[int]:
        """Every process on that host."""
        return [int(word) for word in _call("ip", "netns", "pids", self.namespace(host)).split()]

    # ---- faults

    def cut(self, fault: str, sender: str, receiver: str) -> None:
        """Nothing that `sender` sends reaches `receiver`; the other way stays open."""
        self._add(fault, receiver, f"ip saddr {self.address(sender)} drop")

    def lose(self, fault: str, host: str, per_mille: int) -> None:
        """Each packet to and from `host` is lost with this probability."""
        dice = f"numgen random mod 1000 < {per_mille} drop"
        self._add(fault, host, f"ip saddr {NET}0/24 {dice}")
        for other in self.hosts:
            if other != host:
                self._add(fault, other, f"ip saddr {self.address(host)} {dice}")

    def reset(self, fault: str, host: str, per_mille: int) -> None:
        """Each TCP packet that comes to `host` is answered with a reset with this probability."""
        self._add(fault, host, f"ip protocol tcp numgen random mod 1000 < {per_mille} reject with tcp reset")

    def slow(self, host: str, kbit: int) -> None:
        """What `host` sends and receives fits through so many kbit/s, with a queue of 400 ms."""
        words = f"root tbf rate {kbit}kbit burst 4kb latency 400ms".split()
        _call("ip", "netns", "exec", self.namespace(host), "tc", "qdisc", "replace", "dev", "eth0", *words)
        _call("ip", "netns", "exec", self._hub, "tc", "qdisc", "replace", "dev", f"v-{host}", *words)

    def unslow(self, host: str) -> None:
        """Full speed again."""
        _call("ip", "netns", "exec", self.namespace(host), "tc", "qdisc", "del", "dev", "eth0", "root")
        _call("ip", "netns", "exec", self._hub, "tc", "qdisc", "del", "dev", f"v-{host}", "root")

    def unplug(self, host: str) -> None:
        """The cable is out."""
        _call("ip", "netns", "exec", self._hub, "ip", "link", "set", f"v-{host}", "down")

    def plug(self, host: str) -> None:
        """And in again."""
        _call("ip", "netns", "exec", self._hub, "ip", "link", "set", f"v-{host}", "up")

    def divert(self, host: str) -> None:
        """TCP connections to `host` go through a relay on its RELAY_PORT; those there are break off."""
        self._relayed.add(host)
        self._apply(host)

    def undivert(self, host: str) -> None:
        """New connections go straight again; those through the relay end with it."""
        self._relayed.discard(host)
        self._apply(host)

    def lift(self, fault: str) -> None:
        """Take back every rule of a fault."""
        for host, faults in self._rules.items():
            if faults.pop(fault, None) is not None:
                self._apply(host)

    # ---- means

    def _add(self, fault: str, host: str, rule: str) -> None:
        self._rules[host].setdefault(fault, []).append(rule)
        self._apply(host)

    def _apply(self, host: str) -> None:
        rules = "\n".join(rule for rules in self._rules[host].values() for rule in rules)
        diverted = f"iifname eth0 ip protocol tcp redirect to :{RELAY_PORT}" if host in self._relayed else ""
        text = f"""
table ip faults
delete table ip faults
table ip faults {{
    chain arriving {{
        type filter hook input priority 0; policy accept;
        {rules}
    }}
    chain diverted {{
        type nat hook prerouting priority -100; policy accept;
        {diverted}
    }}
}}
"""
        _call(*self.inside(host, [*self._nft, "-f", "-"]), text=text)

    def __enter__(self) -> Self:
        self._nft = _what_it_takes()
        _sweep()
        try:
            _call("ip", "netns", "add", self._hub)
            _call("ip", "-n", self._hub, "link", "add", "hub", "type", "bridge")
            _call("ip", "-n", self._hub, "link", "set", "hub", "up")
            for host in self.hosts:
                self._make(host)
        except BaseException:
            self.close()
            raise
        return self

    def _make(self, host: str) -> None:
        name = self.namespace(host)
        _call("ip", "netns", "add", name)
        _call(*f"ip -n {self._hub} link add v-{host} type veth peer name eth0 netns {name}".split())
        _call(*f"ip -n {self._hub} link set v-{host} master hub up".split())
        _call(*f"ip -n {name} addr add {self.address(host)}/24 dev eth0".split())
        _call(*f"ip -n {name} link set lo up".split())
        _call(*f"ip -n {name} link set eth0 up".split())

    def close(self) -> None:
        """Take it all down; whatever still runs on the hosts is killed."""
        for host in self.hosts:
            _remove(self.namespace(host))
        _remove(self._hub)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def network(*hosts: str) -> Iterator[Network]:
    """A network of these hosts for the length of a `with`."""
    with Network(hosts) as made:
        yield made


def _what_it_takes() -> list[str]:
    """How to call nft. A machine without namespaces skips the test, in one line; one without nft fails it."""
    missing = [program for program in ("ip", "tc", "unshare") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{NEEDS_ROOT}; {' and '.join(missing)} (iproute2, util-linux) not found")
    allowed = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    if os.geteuid() != 0 or allowed.returncode != 0:
        pytest.skip(NEEDS_ROOT)
    try:
        return nft_command()
    except NoNft as error:
        pytest.fail(str(error), pytrace=False)


def _remove(name: str) -> None:
    if not Path("/run/netns", name).exists():
        return
    for pid in _call("ip", "netns", "pids", name).split():
        try:
            os.kill(int(pid), 9)  # a namespace of ours: nothing else can be in it
        except ProcessLookupError:
            pass
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _sweep() -> None:
    """Namespaces of test runs that were killed go with the next run."""
    for path in Path("/run/netns").glob("faults-*"):
        owner = path.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            _remove(path.name)


def _call(*argv: str, text: str | None = None) -> str:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
