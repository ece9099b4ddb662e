"""Runs the application on uvicorn in a thread of its own, on TCP, a Unix socket or both. Knows nothing of routes."""

import asyncio
import errno
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from schedulerd.errors import SettingsError
from schedulerd.hostkit import endpoints

log = logging.getLogger(__name__)

_BACKLOG = 256
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0  # how long open requests may go on after `stop`
_TICK_SECONDS = 1.0
_SOCKET_MODE = 0o660  # the Unix socket: its owner and group may do everything


class Server:
    """An HTTP server that is not started yet; made by `serve`."""

    def __init__(self, app: FastAPI, listen: str, socket_path: str | None) -> None:
        self.address = ""  # HOST:PORT as bound, known after `start`; empty without TCP
        self.socket_path = socket_path
        self._listen = listen
        self._closing: threading.Event = app.state.closing
        self._sockets: list[socket.socket] = []
        self._config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=int(_STOP_SECONDS),
        )
        self._server = _Quiet(self._config)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind and serve; returns once requests are answered. Raises SettingsError when it cannot listen."""
        try:
            if self._listen:
                self._sockets.append(_bind_tcp(self._listen))
                self.address = _shown(self._sockets[-1])
            if self.socket_path:
                self._sockets.append(_bind_unix(self.socket_path))
        except SettingsError:
            self._close()
            raise
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        if not self._server.is_up.wait(_START_SECONDS) or not self._server.started:
            self.stop()
            raise SettingsError("the HTTP server did not come up; the log says why")

    def stop(self) -> None:
        """Let open requests end for a few seconds, then close everything. Safe to call twice."""
        self._closing.set()
        self._server.end()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS + 5)
            self._thread = None
        self._close()

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=self._sockets))
        except SystemExit:  # uvicorn's way to say that the start failed; it has logged why
            log.error("the HTTP server gave up")
        finally:
            self._server.is_up.set()

    def _close(self) -> None:
        for bound in self._sockets:
            if bound.family == socket.AF_UNIX and self.socket_path:
                Path(self.socket_path).unlink(missing_ok=True)
            bound.close()
        self._sockets.clear()


class _Quiet(uvicorn.Server):
    """uvicorn's server, telling when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()
        self._wake: Callable[[], object] = lambda: None

    def end(self) -> None:
        """Have `main_loop` return; from any thread."""
        self.should_exit = True
        try:
            self._wake()
        except RuntimeError:
            pass  # its event loop has ended already

    async def main_loop(self) -> None:
        """As uvicorn does it, but looking once a second and not ten times, which an idle daemon would mostly do."""
        asked, loop = asyncio.Event(), asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(asked.set)
        while not await self.on_tick(0):  # the tick that renews the Date header
            try:
                await asyncio.wait_for(asked.wait(), _TICK_SECONDS)
            except TimeoutError:
                pass

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it; then say so."""
        await super().startup(sockets=sockets)
        self.is_up.set()


def serve(app: FastAPI, listen: str, socket_path: str | None) -> Server:
    """A server for `app` on `listen` (HOST:PORT, port 0 = a free one, empty = no TCP) and the Unix socket, if any."""
    return Server(app, listen, socket_path)


def _bind_tcp(listen: str) -> socket.socket:
    parts = endpoints.split(listen)
    if parts is None:
        raise SettingsError(f'[api] listen: "{listen}" is not of the form HOST:PORT')
    host, port = parts[0].strip("[]"), 0 if parts[1] == "*" else int(parts[1])
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(f'[api] listen: "{host}" is no address of this host: {error.strerror}') from error
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"[api] listen: {listen} is in use by another program; end it or set another port"
            ) from error
        raise SettingsError(f"[api] listen: cannot listen on {listen}: {error.strerror}") from error
    return bound


def _bind_unix(path: str) -> socket.socket:
    place = Path(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _clear_stale(place)
        bound.bind(path)
        os.chmod(path, _SOCKET_MODE)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise SettingsError(f"[api] socket: cannot listen on {path}: {error.strerror or error}") from error
    except SettingsError:
        bound.close()
        raise
    return bound


def _clear_stale(place: Path) -> None:
    """Remove a socket that nobody listens on any more (a killed daemon leaves it). Raises SettingsError."""
    try:
        is_socket = stat.S_ISSOCK(place.stat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise SettingsError(f"[api] socket: {place} is there and is no socket; remove it or set another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            place.unlink()
            return
    raise SettingsError(f"[api] socket: another program listens on {place}; end it or set another path")


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
