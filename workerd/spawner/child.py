"""One running attempt: what is known of its process and how its end is told. Leaves waiting to helper.py."""

import os
import resource
import signal

from schedulerd.protocol.messages import Outcome, OutcomeState, Spec, Usage
from workerd.spawner.capture import Capture
from workerd.spawner.launch import Prepared, Process

LINGER_MS = 2_000  # how long others may hold the pipes after the leader of the group has exited


class Child:
    """A process group with its leader unreaped, so that its number cannot name anybody else.

    `ending` is why it was told to end ("", timeout, cancelled); `deadline_ms` (boot-time clock) is when something must
    be done next: its timeout, then the KILL after a TERM, and after the exit the end of the wait for its pipes.
    """

    __slots__ = (
        "attempt",
        "deadline_ms",
        "ending",
        "exited_clock_ms",
        "exited_utc_ms",
        "open_streams",
        "prepared",
        "process",
        "spec",
        "started_clock_ms",
        "started_utc_ms",
        "stderr",
        "stdout",
    )

    def __init__(
        self, attempt: str, spec: Spec, prepared: Prepared, process: Process, utc_ms: int, clock_ms: int
    ) -> None:
        self.attempt = attempt
        self.spec = spec
        self.prepared = prepared
        self.process = process
        self.started_utc_ms = utc_ms
        self.started_clock_ms = clock_ms
        self.stdout = Capture(spec.output_limit)
        self.stderr = Capture(spec.output_limit)
        self.open_streams = 2
        self.ending = ""
        self.deadline_ms = 0  # 0 = none
        self.exited_utc_ms: int | None = None
        self.exited_clock_ms = 0

    @property
    def has_exited(self) -> bool:
        """The leader of the group is a zombie."""
        return self.exited_utc_ms is not None

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group; those of other users are out of reach."""
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def reap(self) -> Outcome:
        """KILL what is left of the group, reap the leader, which must have exited, and tell how it ended."""
        self.signal_group(signal.SIGKILL)
        _, status, used = os.wait4(self.process.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        state, reason, detail = self._verdict(code)
        return Outcome(
            self.attempt,
            state,
            reason,
            detail,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            started_utc_ms=self.started_utc_ms,
            finished_utc_ms=self.exited_utc_ms,
            stdout=self.stdout.captured(),
            stderr=self.stderr.captured(),
            usage=self._usage(used),
        )

    def _verdict(self, code: int) -> tuple[OutcomeState, str, str]:
        """(state, reason, detail) for an exit code, or a signal as a negative one."""
        if self.ending == "timeout":
            return (
                "timeout",
                "timeout",
                f"it ran longer than its timeout of {self.spec.timeout_ms / 1000:g} s",
            )
        if self.ending == "cancelled":
            return "cancelled", "cancelled", ""
        if code < 0:
            return "failed", "signal", f"it was ended by signal {-code} ({signal.strsignal(-code)})"
        return ("succeeded" if code in self.spec.success_codes else "failed"), "exit", ""

    def _usage(self, used: resource.struct_rusage) -> Usage:
        # The kernel counts the helper's own size into `ru_maxrss` of what it spawns, until exec: a floor of some MiB.
        return Usage(
            wall_ms=self.exited_clock_ms - self.started_clock_ms,
            user_ms=round(used.ru_utime * 1000),
            system_ms=round(used.ru_stime * 1000),
            peak_bytes=used.ru_maxrss * 1024,
            output_bytes=self.stdout.total + self.stderr.total,
        )
