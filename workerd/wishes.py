"""What the host asks of the loop: drain, stop, reload. Safe from signal handlers and other threads."""

import os


class Wishes:
    """One pipe and three flags; the loop alone reads and clears them."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_open = True
        self.is_stop = False
        self.is_drain = False
        self.is_reload = False

    def fileno(self) -> int:
        """Readable when something is asked."""
        return self._read

    def ask_drain(self) -> None:
        """Finish what runs, then end."""
        self.is_drain = True
        self._wake()

    def ask_stop(self) -> None:
        """End at once, children included."""
        self.is_stop = True
        self._wake()

    def ask_reload(self) -> None:
        """Read labels and log level anew."""
        self.is_reload = True
        self._wake()

    def calm(self) -> None:
        """Make the descriptor wait for the next wish."""
        try:
            os.read(self._read, 512)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Nothing is listened to any more; asking is still allowed."""
        self._is_open = False
        os.close(self._read)
        os.close(self._write)

    def _wake(self) -> None:
        if not self._is_open:
            return
        try:
            os.write(self._write, b"!")
        except BlockingIOError:
            pass  # full: the loop is awake already
