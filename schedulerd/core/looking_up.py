"""What the handlers of orders share: finding the job that is meant, or the refusal that says why not."""

import difflib

from schedulerd.core.clock_doubt import is_in_doubt
from schedulerd.core.state import JobEntry, State
from schedulerd.errors import CommandError
from schedulerd.model.moment import Moment


def entry_of(state: State, name: str) -> JobEntry:
    """The job of that name. Raises CommandError (not_found)."""
    entry = state.jobs.get(name)
    if entry is None:
        raise not_found(state, name)
    return entry


def not_found(state: State, name: str) -> CommandError:
    """The refusal for a name that no job has, with the nearest ones."""
    near = tuple(difflib.get_close_matches(name, state.jobs, 3))
    return CommandError("not_found", f'there is no job "{name}"', near)


def refuse_in_doubt(state: State, entry: JobEntry, now: Moment) -> None:
    """Its fire times would have to be settled first, by a clock that may be hours off."""
    if is_in_doubt(state, entry, now):
        raise CommandError(
            "unavailable",
            f"{entry.job.name} has missed fire times, and the clock of the scheduler's host is not synchronised yet; "
            "try again in a moment",
        )
