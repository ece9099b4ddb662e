"""How the garbage collector works in a daemon. Knows nothing of what is in memory."""

import gc

_YOUNG = 50_000  # objects more than were freed, after which the youngest are searched; Python's own: 700


def settle() -> None:
    """What exists now will live as long as the daemon: it is not searched again, and the rest more rarely.

    Nearly everything that comes and goes is freed by its reference count; a search through a large job table stops
    all threads for tenths of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)
