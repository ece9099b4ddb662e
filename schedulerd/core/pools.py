"""Places in pools: an attempt has one in every pool of its job, from being recorded until it is final or called lost.

Which pools there are is decided by the job table; who is given a place next, by placement.py.
"""

from schedulerd.core.state import State


def has_room(state: State, pools: tuple[str, ...]) -> bool:
    """One more attempt may begin in all of these."""
    return all(state.pool_use.get(name, 0) < state.pools[name].max for name in pools if name in state.pools)


def take_place(state: State, pools: tuple[str, ...]) -> None:
    """An attempt is recorded, maybe found in the ledger."""
    for name in pools:
        state.pool_use[name] = state.pool_use.get(name, 0) + 1


def leave_place(state: State, pools: tuple[str, ...]) -> None:
    """An attempt is final, or lost."""
    for name in pools:
        state.pool_use[name] -= 1
        if not state.pool_use[name]:
            del state.pool_use[name]
