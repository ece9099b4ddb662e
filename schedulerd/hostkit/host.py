"""Which machine this is, so that schedulers can tell whether they share one. Decides nothing."""

import hashlib
import socket
from pathlib import Path

_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def host_id() -> str:
    """A name of this machine that outlives its boots; without a machine id the host's name.

    The machine id itself is not for others to know (machine-id(5)): it goes through a hash of our own.
    """
    for path in _FILES:
        try:
            text = path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return hashlib.sha256(f"schedulerd {text}".encode()).hexdigest()[:32]
    return f"name:{socket.gethostname()}"
