"""[timing]: the terms that leaders and workers share, as settings; refuses those that do not fit together."""

from schedulerd.hostkit.settings_source import Source
from schedulerd.protocol.timing import Timing

_MOST = 86_400.0  # seconds

# (smaller, larger, why): each smaller one has to stay below its larger one
_ORDER = (
    ("beat", "suspect", "one late beat must not make a worker suspect"),
    ("suspect", "fence", "a suspect worker keeps its work for a while"),
    ("fence", "fence_kill", "attempts get time to end by themselves"),
    ("fence_kill", "lost", "when a worker is called lost, nothing of it may still run"),
    ("expiry", "lost", "an attempt expires before its worker is called lost"),
)


def read_timing(source: Source) -> Timing:
    """The [timing] table, keys with their unit (`beat_seconds`); terms that do not fit are faults."""
    usual = Timing()
    values = {
        name: source.seconds("timing", f"{name}_seconds", getattr(usual, name), _MOST)
        for name in Timing.__struct_fields__
    }
    for smaller, larger, why in _ORDER:
        if values[smaller] >= values[larger]:
            key = smaller if source.is_set("timing", f"{smaller}_seconds") else larger
            source.fault(
                "timing",
                f"{key}_seconds",
                f"{smaller}_seconds ({values[smaller]:g}) has to be below {larger}_seconds "
                f"({values[larger]:g}): {why}",
            )
    # a helper process keeps children for three beats without a word of its worker, whatever the leader's echo does
    last_child = values["fence_kill"] + 3 * values["beat"]
    if values["fence_kill"] < values["lost"] <= last_child:
        key = next(
            (name for name in ("lost", "beat") if source.is_set("timing", f"{name}_seconds")), "fence_kill"
        )
        source.fault(
            "timing",
            f"{key}_seconds",
            f"lost_seconds ({values['lost']:g}) has to be above fence_kill_seconds and three times beat_seconds "
            f"({last_child:g}): when a worker is called lost, nothing of it may still run",
        )
    return Timing(**values)
