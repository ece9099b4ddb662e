"""A TCP proxy in front of PostgreSQL that reads what passes and cuts the line at a chosen moment of a COMMIT."""

import socket
import threading
from contextlib import suppress

_COMMIT = b"COMMIT\0"


class PostgresProxy:
    """Forwards to a port on loopback; `cut` says what happens at the next COMMIT of a client.

    "before": the line is cut and the server never sees it. "after": the server gets it and answers, and the line is
    cut instead of the answer. "dark": the server does not get it, and both lines stay open, until `restore`.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut = ""
        self.happened = threading.Event()
        self.is_refusing = False  # new connections are closed at once
        self._lines: list[socket.socket] = []
        self._light = threading.Event()
        self._light.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def restore(self) -> None:
        """What was held back goes on."""
        self._light.set()

    def close(self) -> None:
        """Cut everything."""
        self._light.set()
        _end(self._listener)
        for line in self._lines:
            _end(line)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_refusing:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._lines += [client, server]
            answers = threading.Event()  # set: the next answer of the server is dropped and the line cut
            threading.Thread(target=self._up, args=(client, server, answers), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server, answers), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, answers: threading.Event) -> None:
        """Client to server."""
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if self.cut and _COMMIT in data:
                    how, self.cut = self.cut, ""
                    if how == "before":
                        self.happened.set()
                        break
                    if how == "dark":
                        self._light.clear()
                        self.happened.set()
                        self._light.wait()
                    else:
                        answers.set()
                server.sendall(data)
        if not answers.is_set():
            _end(client)
            _end(server)

    def _down(self, client: socket.socket, server: socket.socket, answers: threading.Event) -> None:
        """Server to client."""
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if answers.is_set():
                    self.happened.set()
                    break
                client.sendall(data)
        _end(client)
        _end(server)


def _end(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()
