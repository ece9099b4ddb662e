"""Who else takes part, as the names of the sessions in Consul tell. Nothing hangs on it: it is for people."""

import logging

from schedulerd.hostkit.clock import boot_seconds
from schedulerd.hostkit.consul_client import ConsulClient, ConsulError
from schedulerd.protocol import consul_names

EVERY = 10.0  # seconds between two looks

log = logging.getLogger(__name__)


class Others:
    """Looked for by the keeper's thread; `names` may be read by any."""

    def __init__(self, cluster: str) -> None:
        self.names: tuple[str, ...] | None = None  # of those that do not lead; None: not known
        self._cluster = cluster
        self._looked_at = 0.0

    def look(self, client: ConsulClient, leading: str) -> None:
        """Ask again if it is time to; `leading` is the id of the leader, if there is one."""
        now = boot_seconds()
        if self._looked_at and now - self._looked_at < EVERY:
            return
        self._looked_at = now
        try:
            names = client.session_names()
        except ConsulError as error:  # a token may forbid it
            log.debug("who takes part in the election is not known: %s", error)
            self.names = None
            return
        found = [consul_names.scheduler_in(name, self._cluster) for name in names]
        self.names = tuple(one[1] for one in found if one is not None and one[0] != leading)

    def forget(self) -> None:
        """The lead has changed hands: look at once."""
        self._looked_at = 0.0
