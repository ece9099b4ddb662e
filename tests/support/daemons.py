"""Our programs as processes: started with a notify socket of their own, watched by what they tell systemd."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAMS = Path(sys.executable).parent  # where schedulerd, workerd and schedulerctl are installed


class Daemon:
    """One daemon as a process: `log` holds what it wrote, `said` every field it told systemd, in order."""

    def __init__(
        self, argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.said: list[str] = []
        self._home = tempfile.TemporaryDirectory(prefix="notify-")  # short: a socket's path holds 107 bytes
        address = f"{self._home.name}/socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in argv],
                env={**clean_environment(), **(env or {}), "NOTIFY_SOCKET": address},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def wait_said(self, field: str, seconds: float = 30.0) -> None:
        """Return once the daemon has said `field` (such as READY=1), or fail with its log."""
        deadline = time.monotonic() + seconds
        while field not in self.said:
            if not self._listen(deadline):
                code = self.process.poll()
                state = "still runs" if code is None else f"ended with {code}"
                text = self.log.read_text(errors="replace")[-4000:]
                raise AssertionError(
                    f"no {field} within {seconds:g} s; the daemon {state}; it wrote:\n{text}"
                )

    def forget(self) -> None:
        """Forget what was said so far, to wait for the same field again."""
        while self._listen(time.monotonic()):
            pass
        self.said.clear()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the daemon alone."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        """Its exit code (negative: the signal that ended it). Fails when it still runs after `seconds`."""
        return self.process.wait(seconds)

    def stop(self, seconds: float = 30.0) -> int:
        """TERM, then its exit code; KILL and a failure when it does not end."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            text = self.log.read_text(errors="replace")[-4000:]
            raise AssertionError(f"it did not end within {seconds:g} s of TERM; it wrote:\n{text}") from None

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGCONT)  # a stopped process would not take TERM
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._socket.close()
        self._home.cleanup()

    def _listen(self, deadline: float) -> bool:
        """Take one message into `said`; False when none came before `deadline` or the daemon's end."""
        while True:
            left = deadline - time.monotonic()
            ended = self.process.poll() is not None
            self._socket.settimeout(0.001 if ended or left <= 0 else min(left, 0.1))
            try:
                self.said += self._socket.recv(65536).decode().splitlines()
            except TimeoutError:
                if ended or left <= 0:
                    return False
            else:
                return True


def clean_environment() -> dict[str, str]:
    """Our environment without what would configure a daemon or point it at other servers."""
    unwanted = ("SCHEDULERD_", "CONSUL_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
