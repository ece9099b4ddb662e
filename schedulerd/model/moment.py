"""One reading of both clocks. Made by the shell once a batch; the core only compares it."""

from datetime import datetime

from msgspec import Struct


class Moment(Struct, frozen=True):
    """Now, on the two clocks the core reasons with."""

    utc: datetime  # aware, UTC: for fire times and what people read
    mono: float  # seconds on the boot-time clock (counts suspend): for leases, expiries, resends
