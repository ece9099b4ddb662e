"""Who else takes part, as the names of the sessions in Consul tell. Nothing hangs on it: it is for people."""

import logging

from schedulerd.hostkit.clock import boot_seconds
from schedulerd.hostkit.consul_client import ConsulClient, ConsulError
from schedulerd.protocol import consul_names

EVERY = 10.0  # seconds between two looks

log = logging.getLogger(__name__)


class Others:
    """Looked for by the keeper's thread; `names` may be asked by any."""

    def __init__(self, cluster: str) -> None:
        self._found: tuple[tuple[str, str], ...] | None = None  # (id, name) of all; None: not known
        self._cluster = cluster
        self._looked_at = 0.0

    def names(self, leading: str) -> tuple[str, ...] | None:
        """Of those that do not lead; `leading` is the id of who does, empty: nobody. None: not known."""
        found = self._found
        return None if found is None else tuple(name for id, name in found if id != leading)

    def look(self, client: ConsulClient) -> None:
        """Ask again if it is time to."""
        now = boot_seconds()
        if self._looked_at and now - self._looked_at < EVERY:
            return
        self._looked_at = now
        try:
            names = client.session_names()
        except ConsulError as error:  # a token may forbid it
            log.debug("who takes part in the election is not known: %s", error)
            self._found = None
            return
        found = (consul_names.scheduler_in(name, self._cluster) for name in names)
        self._found = tuple(one for one in found if one is not None)

    def forget(self) -> None:
        """The lead has changed hands: look at once."""
        self._looked_at = 0.0
