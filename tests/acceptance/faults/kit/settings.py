"""The settings of a cluster's daemons, as TOML. Which daemons there are, and when they start, is for cluster.py."""

from dataclasses import dataclass

from acceptance.faults.kit.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the daemons of a cluster have in common, and what the test adds to it."""

    network: Network
    consul: str  # its host
    slots: int  # of each worker
    of_all: str  # goes to the end of every daemon's
    of_schedulers: str  # and to the end of the schedulers'

    def of_scheduler(self, host: str, ledger: str) -> str:
        """`ledger`: the URL under which that host finds it."""
        address = self.network.address(host)
        return f"""
cluster = "faults"
name = "{host}"
jobs_dir = "jobs.d"
state_dir = "{host}"
[api]
listen = ""
socket = "{host}.sock"
[results]
listen = "tcp://{address}:7481"
advertise = "{address}:7481"
[ledger]
url = "{ledger}"
{self.of_schedulers}
{self._shared()}"""

    def of_worker(self, host: str) -> str:
        """The whole file."""
        address = self.network.address(host)
        return f"""
cluster = "faults"
name = "{host}"
state_dir = "{host}"
slots = {self.slots}
[listen]
address = "tcp://{address}:7482"
advertise = "{address}:7482"
{self._shared()}"""

    def _shared(self) -> str:
        return f"""
[transport]
insecure = true
[discovery]
kind = "consul"
[discovery.consul]
address = "http://{self.network.address(self.consul)}:8500"
{self.of_all}"""
