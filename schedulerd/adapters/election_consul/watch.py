"""Follows the election's key by blocking queries in a thread of its own. Leaves what follows to the election."""

import logging
import threading
from collections.abc import Callable

from schedulerd.hostkit.consul_client import ConsulClient, ConsulError, KeyEntry

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0)  # before the 2nd, 3rd ... try; the last one goes on

log = logging.getLogger(__name__)


class KeyWatch:
    """Tells `on_seen` Consul's index and the key, first when it is known and then at each change."""

    def __init__(
        self,
        key: str,
        wait_seconds: int,
        *,
        on_seen: Callable[[int, KeyEntry | None], None],
        on_error: Callable[[str], None],
        jitter: Callable[[], float],
    ) -> None:
        self._key = key
        self._wait_seconds = wait_seconds
        self._on_seen = on_seen
        self._on_error = on_error
        self._jitter = jitter
        self._stopping = threading.Event()
        self._client: ConsulClient | None = None
        self._thread: threading.Thread | None = None

    def start(self, client: ConsulClient) -> None:
        """Begin; `client` is the watch's own from now on."""
        self._client = client
        self._thread = threading.Thread(
            target=self._follow, args=(client,), name="election-watch", daemon=True
        )
        self._thread.start()

    def is_alive(self) -> bool:
        """Its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, seconds: float) -> None:
        """Cut the query that is waiting and end the thread."""
        self._stopping.set()
        if self._client is not None:
            self._client.interrupt()
        if self._thread is not None:
            self._thread.join(seconds)

    def _follow(self, client: ConsulClient) -> None:
        index = failures = 0
        while not self._stopping.is_set():
            try:
                newest, entry = client.read_key(self._key, index=index, wait_seconds=self._wait_seconds)
            except ConsulError as error:
                if self._stopping.is_set():
                    return
                self._on_error(str(error))
                pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
                failures, index = failures + 1, 0  # whoever answers next may count differently
                self._stopping.wait(pause * (1 + self._jitter()) / 2)
                continue
            failures = 0
            # an index that goes backwards: Consul lost its memory, so the next query must not wait
            index = newest if newest >= index else 0
            self._on_seen(newest, entry)
