"""What a leader says of itself in the election's key: who it is, where it is written to, which record it keeps.

Spells the value's fields, which every version has to go on reading; the key's name stands in consul_names.
"""

import msgspec


class LeaderCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A scheduler as the others see it. Fields that a later version adds are passed over."""

    id: str  # UUID of its state directory
    name: str  # for people; its host's unless the settings say otherwise
    advertise: str = ""  # HOST:PORT or URL of its API, for those who write; empty: it gave none
    host: str = ""  # which machine, see hostkit/host.py
    boot: str = ""  # which boot of it
    ledger: str = ""  # `sqlite:///PATH` or `postgresql`; no credentials
    epoch: int = 0  # 0: it has the lock and has not begun yet
    since: str = ""  # RFC 3339: since when it leads in this epoch
    version: str = ""
    ledger_id: str = ""  # UUID that the ledger itself keeps; empty: not known yet, or of an older version
    ended: str = ""  # how this leadership ended, `WORD: sentence`; empty: it has not, or its session ran out

    @property
    def url(self) -> str:
        """`http://HOST:PORT` of its API; empty when it gave none."""
        if not self.advertise or "://" in self.advertise:
            return self.advertise.rstrip("/")
        return f"http://{self.advertise}"

    def words(self) -> str:
        """`alpha (10.0.0.1:7480)`."""
        return f"{self.name} ({self.advertise})" if self.advertise else self.name


def value_of(card: LeaderCard) -> bytes:
    """The key's value: JSON."""
    return msgspec.json.encode(card)


def card_in(value: bytes) -> LeaderCard | None:
    """The card in a key's value; None for anything else, also for an empty one."""
    try:
        return msgspec.json.decode(value, type=LeaderCard)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
