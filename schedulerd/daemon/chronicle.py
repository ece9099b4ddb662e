"""Log lines about what was committed: a plain sentence and fields, one line an effect. Changes nothing."""

import logging
from collections.abc import Sequence

from schedulerd.core import effects as fx

log = logging.getLogger("schedulerd")

WARNINGS = frozenset(
    {
        "attempt_fenced",
        "attempt_lost",
        "helper_died",
        "late_result",
        "no_worker",
        "rejected",
        "rival_leader",
        "split_failed",
        "stale_frame",
        "unknown_result",
        "worker_lost",
        "worker_refused",
        "worker_suspect",
    }
)


def chronicle(effects: Sequence[fx.Effect], took: float) -> None:
    """A line for each run that closed, each skip and each event; `took` is the commit's time in seconds."""
    for effect in effects:
        match effect:
            case fx.CloseRun():
                level = logging.INFO if effect.state.value == "succeeded" else logging.WARNING
                log.log(
                    level,
                    "run closed  run=%s state=%s reason=%s workers=%s",
                    effect.run,
                    effect.state.value,
                    effect.reason or "-",
                    ",".join(effect.workers) or "-",
                )
            case fx.RecordSkips(skips=skips):
                for skip in skips:
                    log.info(
                        "fire times skipped  job=%s reason=%s count=%d first=%s last=%s",
                        skip.job,
                        skip.reason.value,
                        skip.count,
                        skip.first.isoformat(),
                        skip.last.isoformat(),
                    )
            case fx.RecordEvent(type="skipped"):
                pass  # told above, with all ranges
            case fx.RecordEvent():
                log.log(
                    logging.WARNING if effect.type in WARNINGS else logging.INFO,
                    "%s  job=%s run=%s attempt=%s worker=%s detail=%s",
                    effect.type,
                    effect.job or "-",
                    effect.run or "-",
                    effect.attempt or "-",
                    effect.worker or "-",
                    effect.detail or "-",
                )
            case _:
                pass
