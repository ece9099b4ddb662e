"""Keeps one worker registered in Consul, in a thread of its own on the monotonic clock. Finds nobody.

Consul is where leaders find workers, not the judge of whether they live: whatever it does, work goes on.
"""

import logging
import threading
from collections.abc import Callable

from schedulerd.errors import SettingsError
from schedulerd.hostkit.consul_client import ConsulClient, ConsulError, Registration
from schedulerd.hostkit.settings import ConsulSettings
from schedulerd.protocol import consul_names
from workerd.state import Identity

UPDATE_SECONDS = 5.0  # of the check's 20 s
REGISTER_SECONDS = 60.0  # an agent that lost its data gets the registration back without being asked
_LEAVE_SECONDS = 10.0  # how long a stop waits for the last call, which has a time-out of its own

_log = logging.getLogger("workerd.registration")


def registration_of(identity: Identity, endpoint: str, cluster: str) -> Registration:
    """How this worker, reached at `endpoint` (HOST:PORT), stands in Consul."""
    host, _, port = endpoint.rpartition(":")
    service_id = consul_names.worker_service_id(identity.worker)
    return Registration(
        service=consul_names.worker_service(cluster),
        service_id=service_id,
        check_id=consul_names.ttl_check_id(service_id),
        address=host.strip("[]"),
        port=int(port),
        meta=consul_names.worker_meta(
            worker_id=identity.worker,
            name=identity.name,
            endpoint=endpoint,
            slots=identity.slots,
            labels=identity.labels,
            version=identity.version,
        ),
    )


class Registrar:
    """Registers what `describe` gives, again and again, from `start` to `stop`."""

    def __init__(self, consul: ConsulSettings, describe: Callable[[], Registration]) -> None:
        self._consul = consul
        self._describe = describe  # called in the thread: what it reads may be replaced, not changed
        self._leave = threading.Event()
        self._deregister = True
        self._renew = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)
        self.problem = ""  # why the newest call failed; empty when all is well. Written by the thread alone

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self, *, deregister: bool) -> None:
        """End the thread; with `deregister` the worker is taken out of Consul first."""
        self._deregister = deregister
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_SECONDS)

    def describe_anew(self) -> None:
        """What `describe` gives has changed: register at the next update."""
        self._renew.set()

    def _run(self) -> None:
        client: ConsulClient | None = None
        registered: Registration | None = None
        rounds = 0
        while True:
            try:
                client = client or ConsulClient(self._consul.address, token=self._consul.token)
                is_due = self._renew.is_set() or rounds * UPDATE_SECONDS >= REGISTER_SECONDS
                self._renew.clear()
                if registered is None or is_due:
                    wanted = self._describe()
                    client.register(wanted)
                    registered, rounds = wanted, 0
                client.check_pass(registered.check_id, "the worker's loop runs")
                self._is_well()
            except (ConsulError, SettingsError) as error:
                registered = None  # registered again at the next update
                client = None  # over a new connection
                self._complain(str(error))
            rounds += 1
            if self._leave.wait(UPDATE_SECONDS):
                break
        if registered is not None and client is not None and self._deregister:
            try:
                client.deregister(registered.service_id)
            except ConsulError as error:
                self._complain(str(error))

    def _is_well(self) -> None:
        if self.problem:
            _log.info("registered in Consul again  address=%s", self._consul.address)
            self.problem = ""

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning("not registered in Consul, trying again every %.0f s: %s", UPDATE_SECONDS, problem)
            self.problem = problem
