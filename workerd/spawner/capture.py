"""Keeps the head and the tail of what one stream says, within a bound. Knows nothing of descriptors."""

from schedulerd.protocol.messages import Captured


class Capture:
    """At most `limit` bytes: the first half and the last half, and the count of those between."""

    __slots__ = ("_dropped", "_head", "_head_limit", "_tail", "_tail_limit", "total")

    def __init__(self, limit: int) -> None:
        self._head_limit = max(0, limit) // 2
        self._tail_limit = max(0, limit) - self._head_limit
        self._head = b""
        self._tail = bytearray()
        self._dropped = 0
        self.total = 0  # bytes seen

    def feed(self, data: bytes) -> None:
        """Take what was read next."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data
            if len(self._tail) > 2 * self._tail_limit + 4096:  # seldom, so that each byte is moved about once
                self._trim()

    def captured(self) -> Captured:
        """What is kept. While nothing was dropped all of it is in `head`."""
        self._trim()
        if not self._dropped:
            return Captured(self._head + self._tail)
        return Captured(self._head, bytes(self._tail), self._dropped)

    def _trim(self) -> None:
        excess = len(self._tail) - self._tail_limit
        if excess > 0:
            del self._tail[:excess]
            self._dropped += excess
