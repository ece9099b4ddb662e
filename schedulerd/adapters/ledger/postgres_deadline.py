"""A connection on which no wait is endless: a server that is silent for too long has lost it. Knows no SQL.

libpq and TCP notice a peer that is gone, not one that stands still with its connections open: its kernel goes on
acknowledging. So each wait for the server has a deadline of ours, and one that is missed counts as a lost connection.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

from schedulerd.hostkit.clock import boot_seconds

GRACE = 1.0  # seconds more than the server's own time-out for a statement: it should be the first to say so
LOOK = 0.1  # seconds between two looks at the deadline
PROBE_EVERY = (
    15.0  # seconds of silence after which a patient connection asks whether the server answers others
)

_R = TypeVar("_R")


class NoAnswer(psycopg.OperationalError):
    """The server said nothing for as long as we wait; the connection is closed."""


class Connection(psycopg.Connection[Any]):
    """psycopg's, whose every wait for the server ends."""

    patience = 10.0  # seconds of silence after which a statement, and with it the connection, is given up
    probe: Callable[[], None] | None = None  # raises when the server does not answer others either

    def wait(self, gen: PQGen[_R], interval: float = LOOK, *_: Any) -> _R:
        """As psycopg's. Raises NoAnswer, or what the probe raises, and then the connection is lost."""
        try:
            return super().wait(self._limited(gen), interval)
        except NoAnswer:
            # at once and without a word: nothing that was not sent by now may be done later
            self.pgconn.finish()
            raise

    def _limited(self, gen: PQGen[_R]) -> PQGen[_R]:
        """`gen`, given up when the server has neither said nor taken anything for `patience` seconds."""
        try:
            wants = next(gen)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        heard = probed = boot_seconds()
        while True:
            is_ready = yield wants
            now = boot_seconds()
            if is_ready:
                heard = probed = now
            elif now - heard >= self.patience:
                raise NoAnswer(f"the server has not answered for {self.patience:g} s")
            elif self.probe is not None and now - probed >= PROBE_EVERY:
                probed = now
                self._ask(self.probe)
            try:
                wants = gen.send(is_ready)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]

    def _ask(self, probe: Callable[[], None]) -> None:
        try:
            probe()
        except psycopg.Error as error:
            raise NoAnswer(
                f"the server has not answered for {PROBE_EVERY:g} s, nor does it answer others: {error}"
            ) from None
