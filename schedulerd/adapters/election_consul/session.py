"""Our session in Consul: begun, renewed, ended; its id is kept so that a quick restart takes it up again.

The kept id serves nobody else: a copy of the state directory, on this host or another, has another inode or boot.
"""

import json
import logging
import os
from pathlib import Path

from schedulerd.hostkit.clock import boot_id, boot_seconds
from schedulerd.hostkit.consul_client import ConsulClient
from schedulerd.protocol.timing import ElectionTerms

NAME = "consul-session.json"

log = logging.getLogger(__name__)


class Session:
    """Used by the keeper's thread; its fields may be read by any. The state directory's lock is the caller's."""

    def __init__(self, directory: Path, name: str, terms: ElectionTerms) -> None:
        self.id = ""  # empty: there is none
        self.renewed_at = 0.0  # boot-time seconds at which the newest successful renewal was sent
        self._path = directory / NAME
        self._name = name
        self._terms = terms

    def begin(self, client: ConsulClient) -> None:
        """The session of before a quick restart if it lives, and with it the key it holds; else a new one.

        Raises ConsulError.
        """
        sent_at = boot_seconds()
        kept = self._read()
        if kept and client.renew_session(kept):
            log.info("the session in Consul is taken up again  session=%s", kept)
            self.id = kept
        else:
            self.id = client.create_session(
                self._name, ttl_seconds=self._terms.ttl, lock_delay_seconds=self._terms.lock_delay
            )
            self._write()
        self.renewed_at = sent_at

    def renew(self, client: ConsulClient) -> bool:
        """False: Consul has ended it, there is none any more. Raises ConsulError."""
        sent_at = boot_seconds()
        if not client.renew_session(self.id):
            self.id = ""
            return False
        self.renewed_at = sent_at
        return True

    def is_due(self) -> bool:
        """Whether it is time to renew."""
        return boot_seconds() - self.renewed_at >= self._terms.renew - 0.01

    def end(self, client: ConsulClient) -> None:
        """What it holds must have been released before: Consul would delay the next holder. Raises ConsulError."""
        client.destroy_session(self.id)
        self.id = ""
        self._path.unlink(missing_ok=True)

    def _read(self) -> str:
        try:
            inode = os.stat(self._path).st_ino
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        if not isinstance(kept, dict) or kept.get("boot") != boot_id() or kept.get("inode") != inode:
            return ""
        session = kept.get("session")
        return session if isinstance(session, str) else ""

    def _write(self) -> None:
        try:
            with self._path.open("w", encoding="utf-8") as file:
                inode = os.fstat(file.fileno()).st_ino
                json.dump({"session": self.id, "boot": boot_id(), "inode": inode}, file)
        except OSError as error:
            log.warning("%s: cannot be written: %s; a quick restart will not lead at once", self._path, error)
