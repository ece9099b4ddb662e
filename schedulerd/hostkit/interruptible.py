"""HTTP connections that another thread can cut. A stop need not wait for a blocking query's answer.

`requests` is what py-consul speaks HTTP with; it offers no way to end a call that is in flight.
"""

import socket
import threading
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class InterruptibleAdapter(HTTPAdapter):
    """A transport for `requests` whose calls fail with OSError from `interrupt` on, those in flight too."""

    def __init__(self) -> None:
        self._interrupted = threading.Event()
        self._sockets: list[socket.socket] = []
        super().__init__(pool_connections=1, pool_maxsize=4, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have the pools open connections that tell this adapter of their sockets."""
        super().init_poolmanager(*args, **kwargs)
        adapter = self

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                adapter._opened(self.sock)

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                adapter._opened(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

    def interrupt(self) -> None:
        """Cut every connection; calls in flight and all later ones fail. For good."""
        self._interrupted.set()
        for opened in list(self._sockets):
            _cut(opened)

    def _opened(self, opened: socket.socket) -> None:
        self._sockets = [known for known in self._sockets if known.fileno() >= 0]
        self._sockets.append(opened)
        if self._interrupted.is_set():  # it was opened while `interrupt` walked the list
            _cut(opened)


def _cut(opened: socket.socket) -> None:
    try:
        opened.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already: what was wanted
