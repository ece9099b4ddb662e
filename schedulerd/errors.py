"""Every error of ours, grouped by who can act on it. Knows nothing of where they are raised."""


class SchedulerdError(Exception):
    """Root of all errors that schedulerd and workerd raise on purpose."""


class JobFileError(SchedulerdError):
    """The job table is faulty; the operator mends the files. `faults` holds one line each, `file:line:col: text`."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class SettingsError(SchedulerdError):
    """A setting is wrong or the host lacks what it names; the operator mends it before the daemon can start."""


class LedgerError(SchedulerdError):
    """The ledger could not be read or written; the loop resigns and rebuilds its State from the ledger."""


class NoLedgerYet(LedgerError):
    """There is nothing to read: nobody has led by this ledger so far."""


class LedgerContentError(LedgerError):
    """The ledger refused a batch for what is in it (not I/O); the loop finds the culprit event by event."""


class StaleEpoch(LedgerError):
    """A newer leader has written to this ledger: nothing was written, this leader must step down."""


class CommandError(SchedulerdError):
    """A caller asked for something that cannot be done; `kind` says which answer the caller gets."""

    def __init__(self, kind: str, text: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.kind = kind  # "not_found" | "conflict" | "invalid" | "unavailable"
        self.text = text
        self.near = near  # names like the one that was not found, nearest first
