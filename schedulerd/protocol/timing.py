"""The terms that several processes share; all sides need the same ones. What they are for: docs/explanation."""

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


class ElectionTerms(Struct, frozen=True, kw_only=True):
    """Of an election by Consul; in seconds, all schedulers of a cluster with the same ones."""

    ttl: float = 10.0  # a session that is not renewed for this long (Consul: up to twice as long) is ended
    renew: float = 3.0  # between two renewals
    lease: float = 7.0  # a leader stops this long after the newest successful renewal was sent
    lock_delay: float = 5.0  # how long nobody gets the key of a session that ended with it
    stuck: float = 17.0  # a leader whose loop finished no round for so long gives up; a takeover has more
