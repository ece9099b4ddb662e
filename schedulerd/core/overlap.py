"""Whether a fire time may become a run while others of its job are open. Decided from the runs, never from a flag."""

from schedulerd.core.state import JobEntry
from schedulerd.model.job import Overlap


def blocking_run(entry: JobEntry) -> str | None:
    """The open run because of which a new one may not begin, or None."""
    if entry.job.overlap is Overlap.ALLOW:
        return None
    return next(iter(entry.open_runs), None)
