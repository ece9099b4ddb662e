"""How this daemon stands: ready, alive, and in words, for STATUS, /readyz, watchdog and metrics. Changes nothing."""

import logging

from schedulerd.adapters.election import Election, LeaderCard
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.leadership import PATIENCE_MS
from schedulerd.daemon.loop import Loop
from schedulerd.daemon.table import JobFiles

SILENT = 5.0  # seconds without a finished round after which it is not ready
LONGER = 5.0  # seconds more than a leader may be stuck, after which the loop does not count as alive

log = logging.getLogger(__name__)


class Standing:
    """Read by any thread."""

    def __init__(
        self, loop: Loop, election: Election, trust: ClockTrust, files: JobFiles, *, stuck: float
    ) -> None:
        """`stuck`: seconds without a finished round after which a leader gives the lead up."""
        self._limit = stuck
        self._most = stuck + LONGER
        self._loop = loop
        self._election = election
        self._trust = trust
        self._files = files
        self._discovery_error = ""

    def discovery_failed(self, text: str) -> None:
        """Workers cannot be looked for; said once, until it is another trouble."""
        if text != self._discovery_error:
            log.warning("workers cannot be looked for: %s; trying again", text)
        self._discovery_error = text

    def discovery_answered(self) -> None:
        """Workers can be looked for (again)."""
        self._discovery_error = ""

    def is_ready(self) -> bool:
        """Leading, table loaded, discovery answered once; or standing by for a leader that is known."""
        if self._loop.silence() >= SILENT or self._election.fault:
            return False
        if self.leads():
            return self._loop.has_workers and self._files.is_settled
        return self._other_leader() is not None and not self._election.trouble

    def leads(self) -> bool:
        """The loop leads and may; one that is stuck does not know yet that its lease is over."""
        lease = self._election.lease
        return self._loop.is_leading and lease is not None and lease.holds()

    def epoch(self) -> int:
        """Of the leadership that is known: ours, or the leader's."""
        leader = None if self.leads() else self._election.leader
        return self._loop.epoch if leader is None else leader.epoch

    def is_alive(self) -> bool:
        """Loop and alarm make progress."""
        return self._loop.is_alive and self._loop.overdue() < self._most and self._loop.alarm.is_alive()

    def stuck(self) -> str:
        """Why this scheduler must not lead, in a sentence, whoever elects it: its loop does nothing."""
        overdue = self._loop.overdue()
        if overdue < self._limit:
            return ""
        return f"the loop has not finished a round for {self._loop.silence():.0f} s, it is stuck"

    def lag(self) -> float:
        """Seconds that what has arrived waits for the loop."""
        return max(self._loop.lag, self._loop.silence() - PATIENCE_MS / 1000)

    def words(self) -> str:
        """STATUS for systemd."""
        reasons = "; ".join(self.reasons())
        leader = self._other_leader()
        if self.leads():
            head = f"leading, epoch {self._loop.epoch}"
        elif leader is not None:
            head = f"standby, leader is {leader.words()}, epoch {leader.epoch}"
        else:
            head = "not leading"
        return f"{head}: {reasons}" if reasons else head

    def reasons(self) -> list[str]:
        """Why it is not ready; may also warn while it is."""
        said = (
            self._loop.trouble,
            self._loop.rivals.words(),
            self._election.fault or self._election.trouble,
            self._trust.words(),
        )
        reasons = [text for text in said if text]
        if not self.leads() and self._other_leader() is None and not reasons:
            reasons.append("nobody leads at the moment")
        if self._loop.is_leading and self._loop.silence() >= SILENT:
            reasons.append(
                f"the loop has been busy for {self._loop.silence():.0f} s: nothing is fired meanwhile"
            )
        if self._files.waits:
            reasons.append("the job files are read when it is, the table in force stays until then")
        if self._discovery_error:
            reasons.append(self._discovery_error)
        elif not self._loop.has_workers:
            reasons.append("waiting for the first word on workers")
        if self._files.faults:
            count = len(self._files.faults)
            reasons.append(f"the job files have {count} fault{'s' * (count > 1)}, the table in force stays")
        return reasons

    def _other_leader(self) -> LeaderCard | None:
        """Whom this scheduler stands by for; None also while it has been elected itself and only just begins."""
        lease = self._election.lease
        return None if lease is not None and lease.holds() else self._election.leader
