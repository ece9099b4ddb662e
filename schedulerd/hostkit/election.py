"""[election]: how the one scheduler that acts is found, as settings; refuses terms that do not fit together."""

from msgspec import Struct

from schedulerd.hostkit.settings_source import Source
from schedulerd.protocol.timing import ElectionTerms, Timing

_MOST = 86_400.0  # seconds; Consul takes no longer TTL
_MOST_DELAY = 60.0  # seconds; Consul's own limit

# (smaller, larger, why): each smaller one has to stay below its larger one
_ORDER = (
    ("renew", "lease", "a lease that is not renewed in time would end every leadership"),
    ("lease", "ttl", "a leader has to stop before Consul may give its lock to another"),
)
_LEAST_STUCK = 3.0  # seconds; a round in which nothing comes takes two


class ElectionSettings(Struct, frozen=True, kw_only=True):
    """[election]."""

    kind: str  # "file" | "consul"
    terms: ElectionTerms  # of kind "consul"


def read_election(source: Source, ledger_url: str) -> ElectionSettings:
    """The [election] table, terms with their unit (`ttl_seconds`); terms that do not fit are faults."""
    usual_kind = "file" if ledger_url.startswith("sqlite:") else "consul"
    kind = source.choice("election", "kind", usual_kind, "file", "consul")
    usual = ElectionTerms()
    values = {
        name: source.seconds(
            "election",
            f"{name}_seconds",
            getattr(usual, name),
            _MOST_DELAY if name == "lock_delay" else _MOST,
        )
        for name in ElectionTerms.__struct_fields__
    }
    for smaller, larger, why in _ORDER:
        if values[smaller] >= values[larger]:
            key = smaller if source.is_set("election", f"{smaller}_seconds") else larger
            source.fault(
                "election",
                f"{key}_seconds",
                f"{smaller}_seconds ({values[smaller]:g}) has to be below {larger}_seconds "
                f"({values[larger]:g}): {why}",
            )
    if values["stuck"] < _LEAST_STUCK:
        source.fault(
            "election",
            "stuck_seconds",
            f"{values['stuck']:g} is less than {_LEAST_STUCK:g}: a round in which nothing comes takes 2 s",
        )
    return ElectionSettings(kind=kind, terms=ElectionTerms(**values))


def check_takeover(source: Source, terms: ElectionTerms, timing: Timing) -> None:
    """A fault when workers could give up on a leader before another one can have taken over from it."""
    longest = 2 * terms.ttl + terms.lock_delay
    if longest >= timing.fence:
        source.fault(
            "election",
            "ttl_seconds",
            f"twice ttl_seconds and lock_delay_seconds ({longest:g}), in which a killed leader is followed, have to be "
            f"below [timing] fence_seconds ({timing.fence:g}): workers would end what runs",
        )
