"""Jobs whose missed fire times wait until the wall clock of a host that has just booted may be believed.

They are settled by firing.py, once the doubt is over; while it lasts, jobs without missed fire times are on time.
"""

from itertools import islice

from schedulerd.core.misfire import MISSED_AFTER
from schedulerd.core.state import JobEntry, State
from schedulerd.core.waking import await_fire, await_resume
from schedulerd.model.moment import Moment

LOOKS_A_STEP = 1000  # jobs looked at again in one step


def is_in_doubt(state: State, entry: JobEntry, now: Moment) -> bool:
    """The job has missed fire times, if the clock is right, and it may not be: nothing of it is settled yet."""
    if state.is_clock_believed or entry.next_fire is None:
        return False
    return now.utc - entry.next_fire.due > MISSED_AFTER


def believe(state: State) -> None:
    """The clock is no longer in doubt: what waited for it is settled, in parts."""
    state.is_clock_believed = True
    state.doubted_to_look = 0
    if not state.doubted:
        state.doubts_since = None


def look_again(state: State, now: Moment) -> None:
    """The clock was set back: jobs that are no longer behind by it need not wait, and are on time once more."""
    if state.is_clock_believed:
        return
    if state.looked_at is not None and now.utc < state.looked_at:
        state.doubted_to_look = len(state.doubted)
    state.looked_at = now.utc
    part = min(state.doubted_to_look, LOOKS_A_STEP)
    state.doubted_to_look -= part
    for name in list(islice(state.doubted, part)):
        del state.doubted[name]
        entry = state.jobs[name]
        if is_in_doubt(state, entry, now):
            state.doubted[name] = None  # behind those that are still to be looked at
        else:
            await_fire(state, entry, entry.next_fire)
            await_resume(state, entry)
    state.is_unfinished |= state.doubted_to_look > 0
