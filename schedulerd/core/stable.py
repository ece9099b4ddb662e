"""Numbers that follow from names: what spreads jobs in time without a draw."""

import hashlib


def stable_hash(*parts: str) -> int:
    """A number in 0..2^64-1, the same in every process and release. Frozen: `H` and anchors depend on it."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big")
