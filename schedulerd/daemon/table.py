"""The job files on their way into the job table: read at the start and at a reload. What a new table does is core/'s.

A table with a fault changes nothing: its faults are kept for STATUS and /readyz until a later one is taken.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from schedulerd.adapters import jobfiles
from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.core import requests as rq
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.loop import Loop
from schedulerd.errors import CommandError, JobFileError, LedgerError, SettingsError
from schedulerd.hostkit import clock
from schedulerd.model.job import At, Definition
from schedulerd.protocol.api_types import ReloadAnswer

RELOAD_WAIT = 60.0  # seconds the loop may take for a new table
AGAIN = 1.0  # seconds between two tries to read a first table

log = logging.getLogger(__name__)


class JobFiles:
    """The jobs directory of one schedulerd; usable from any thread."""

    def __init__(
        self,
        directory: Path,
        *,
        defaults: Callable[[], Mapping[str, Any]],
        inbox: Inbox,
        loop: Loop,
        trust: ClockTrust,
        open_reader: Callable[[], LedgerReader],
        has_boots: bool,
    ) -> None:
        """`has_boots`: `@reboot` has a meaning; without one a job that says it is refused."""
        self.has_boots = has_boots
        self.faults: tuple[str, ...] = ()  # of the files as they were last read
        self.is_settled = False  # a table is in force, from them or from the ledger
        self.failure: JobFileError | None = None  # the first table was faulty, so there is none at all
        self.waits = False  # they change what must wait until the clock is believed
        self._directory = directory
        self._defaults = defaults
        self._inbox = inbox
        self._loop = loop
        self._trust = trust
        self._open_reader = open_reader
        self._known = jobfiles.Known()

    def read_first(self) -> None:
        """Put them into force at the start. Raises JobFileError when they are faulty and there is no other table."""
        try:
            answer = self.reload(RELOAD_WAIT)
        except CommandError as error:
            if self._trust.is_given:
                raise
            log.warning("the job files are not in force yet: %s", error)
            self.waits = self.is_settled = True
            threading.Thread(target=self._read_later, name="table", daemon=True).start()
            return
        if not answer.faults:
            self.is_settled = True
            return
        cluster = self._inbox.ask(rq.DescribeCluster(), RELOAD_WAIT)
        assert isinstance(cluster, rq.ClusterView)
        if cluster.jobs == 0:
            raise JobFileError(answer.faults)
        self.is_settled = True

    def take_over(self, has_table: bool) -> None:
        """This scheduler leads. A table in the ledger stays in force: a takeover must not revert what was accepted.

        Called by the loop, which must not wait for itself: a first table is read in a thread of its own.
        """
        if has_table:
            if not self.is_settled:
                log.info("the ledger's job table is in force; %s is read at a reload", self._directory)
            self.is_settled = True
        elif not self.is_settled:
            threading.Thread(target=self._read_for_leader, name="table", daemon=True).start()

    def reload(self, timeout: float) -> ReloadAnswer:
        """Read them in the caller's thread and hand the table to the loop. Raises CommandError.

        A faulty table changes nothing and is answered with every fault.
        """
        try:
            table = jobfiles.load_table(
                self._directory, self._defaults(), self._known, has_boots=self.has_boots
            )
            order = rq.ReplaceTable(
                definitions=table.definitions,
                pools=table.pools,
                filled=tuple(self.filled(table.definitions)),
            )
            answer = self._inbox.ask(order, timeout)
        except JobFileError as error:
            return self._refused(tuple(error.faults))
        except CommandError as error:
            if error.kind != "conflict":
                raise
            return self._refused(tuple(error.text.splitlines()))
        except (LedgerError, SettingsError) as error:  # of the reader; SettingsError: its password
            raise CommandError("unavailable", f"the ledger cannot be read: {error}") from error
        assert isinstance(answer, rq.TableReplaced)
        self.faults, self.is_settled = (), True
        return ReloadAnswer(
            added=list(answer.added),
            changed=list(answer.changed),
            removed=list(answer.removed),
            unchanged=answer.unchanged,
        )

    def filled(self, definitions: Sequence[Definition]) -> list[tuple[str, datetime]]:
        """`at` instants of these jobs that have their row already."""
        one_offs = {
            definition.job.name: definition.job.trigger.instants
            for definition in definitions
            if isinstance(definition.job.trigger, At)
        }
        if not one_offs:
            return []
        reader = self._open_reader()
        try:
            # a clock that was set back: instants that are to come have been there
            until = max(clock.utc_now(), reader.accounted_to() or clock.utc_now())
            return [
                (name, instant)
                for name, instants in one_offs.items()
                for instant in instants
                if instant <= until and reader.has_slot(name, instant)
            ]
        finally:
            reader.close()

    def _read_for_leader(self) -> None:
        while self._loop.is_leading:  # whoever leads next reads a first table
            try:
                self.read_first()
            except JobFileError as error:
                self.failure = error
            except CommandError as error:
                log.warning("the job files were not read: %s; trying again", error)
                time.sleep(AGAIN)
                continue
            return

    def _read_later(self) -> None:
        """In a thread of its own: as soon as the clock is believed; a fault then leaves the table in force."""
        while not self._trust.wait(1.0):
            if not self._loop.is_alive:
                return
        try:
            self.reload(RELOAD_WAIT)
        except CommandError as error:
            log.error("the job files could not be read: %s; the table in force stays", error)
        self.waits = False

    def _refused(self, faults: tuple[str, ...]) -> ReloadAnswer:
        self.faults = faults
        for fault in faults:
            log.error("%s", fault)
        return ReloadAnswer(faults=list(faults))
