"""Log lines about misbehaving peers: the first at once, then at most one a minute each, with the number."""

import logging
import time

GAP_SECONDS = 60.0
_MOST_PEERS = 256  # a peer beyond these is counted among the others

_OTHERS = "others"


class Complaints:
    """One for each socket; belongs to its thread."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._silent: dict[str, list[float]] = {}  # peer -> [when it was logged last, how many times since]

    def about(self, peer: str, what: str, detail: str) -> None:
        """Count one, and log it if this peer's minute is over."""
        now = time.monotonic()
        if peer not in self._silent and len(self._silent) >= _MOST_PEERS:
            self._drop_past(now)
            peer = peer if len(self._silent) < _MOST_PEERS else _OTHERS
        entry = self._silent.get(peer)
        if entry is None:
            self._silent[peer] = [now, 0]
            self._log.warning("%s  peer=%s times=1 detail=%s", what, peer, detail)
        elif now - entry[0] >= GAP_SECONDS:
            self._log.warning("%s  peer=%s times=%d detail=%s", what, peer, entry[1] + 1, detail)
            self._silent[peer] = [now, 0]
        else:
            entry[1] += 1

    def flush(self) -> None:
        """Log what has been counted and not logged."""
        for peer, (_, times) in self._silent.items():
            if times:
                self._log.warning("more of the same  peer=%s times=%d", peer, times)
        self._silent.clear()

    def _drop_past(self, now: float) -> None:
        for peer, (at, times) in list(self._silent.items()):
            if now - at >= GAP_SECONDS:
                if times:
                    self._log.warning("more of the same  peer=%s times=%d", peer, times)
                del self._silent[peer]
