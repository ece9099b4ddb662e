"""How both daemons log: lines to standard error; under systemd without a stamp, since the journal has its own."""

import logging
import os
import sys


def start_logging(level: str) -> None:
    """Begin to log at `level` (debug, info, warning, error)."""
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        format=f"{stamp}%(levelname)s %(name)s %(message)s", level=level.upper(), stream=sys.stderr
    )
