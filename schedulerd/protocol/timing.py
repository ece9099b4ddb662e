"""The terms that leaders and workers share; both sides need the same ones. What they are for: docs/explanation."""

from msgspec import Struct


class Timing(Struct, frozen=True, kw_only=True):
    """In seconds, all of them on the boot-time clock."""

    beat: float = 2.0  # between two Hellos, and between two Heartbeats
    expiry: float = 10.0  # how long a Dispatch may wait to start
    margin: float = 2.0  # the leader waits this much longer before it gives an unanswered attempt out again
    suspect: float = 6.0  # without a Heartbeat a worker gets no new work
    fence: float = 40.0  # without an echo a worker ends its guarded attempts (TERM)
    fence_kill: float = 45.0  # and kills them
    lost: float = 60.0  # without a Heartbeat the leader calls a worker lost
