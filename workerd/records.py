"""What the worker's journal is made of; a record tells of many attempts. Bytes are for journal.py.

Replaying the records in order gives back what the worker knew; see recovery.py.
"""

from msgspec import Struct

from schedulerd.protocol.messages import Outcome


class EpochSeen(Struct, frozen=True, array_like=True, tag="epoch"):
    """The highest epoch heard of."""

    epoch: int


class AttemptsAccepted(Struct, frozen=True, array_like=True, tag="accepted"):
    """These will start, or be answered otherwise."""

    attempts: list[tuple[str, int]]  # attempt, expiry_clock_ms


class AttemptsStarting(Struct, frozen=True, array_like=True, tag="starting"):
    """From here on nobody can know whether these ran, until their outcome is recorded."""

    attempts: list[str]
    utc_ms: int


class AttemptsEnded(Struct, frozen=True, array_like=True, tag="ended"):
    """Their outcomes; also of attempts that were revoked or cancelled before they ever arrived."""

    outcomes: list[Outcome]
    clock_ms: int  # when, on the boot-time clock


class AttemptsAcknowledged(Struct, frozen=True, array_like=True, tag="acked"):
    """The ledger has these; only tombstones are left of them."""

    attempts: list[str]


class Tombstones(Struct, frozen=True, array_like=True, tag="tombstones"):
    """Attempts that may not start any more; written when the journal is compacted."""

    attempts: list[tuple[str, int]]  # attempt, forget_clock_ms


class Booted(Struct, frozen=True, array_like=True, tag="booted"):
    """A daemon with this journal began, as what it called itself, in this state directory, at this address."""

    nonce: str
    place: str
    endpoint: str


Record = (
    EpochSeen
    | AttemptsAccepted
    | AttemptsStarting
    | AttemptsEnded
    | AttemptsAcknowledged
    | Tombstones
    | Booted
)
