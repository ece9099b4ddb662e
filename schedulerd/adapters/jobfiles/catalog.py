"""Which keys job files have, at which level, and which of them the reader knows but does not support yet.

A key of the format is never ignored and never called unknown: until it works, it is "not supported yet".
"""

TRIGGER_KEYS = ("schedule", "every", "at")
WORK_KEYS = ("argv", "command", "script")
SPLIT_KEYS = ("shards", "items", "matrix", "argv", "command", "per_worker")
STEPS = ("setup", "gather", "teardown")  # tables of a job that hold work of their own
ITEM_KEYS = ("items", "matrix", "argv", "command")  # those whose subtasks have items

# Keys that make up the "exactly one" of their group once they are supported.
LATER_WORK_KEYS = ("python", "http")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DEFAULTS = _words(
    "timezone dst_gap dst_fold calendar not_calendar jitter "
    "env cwd shell timeout kill_after success_codes overlap queue_max misfire catchup catchup_max "
    "dispatch_timeout on_lost requires pools retry paused tags run_timeout"
)
BELONGS_TO_A_JOB = _words(
    "schedule every every_from anchor at start end max_runs argv command script split setup gather teardown description"
)

_LATER_OF_A_JOB = _words(
    "env_file user group "
    "umask priority prefers hosts balance limits notify expect_within "
    "owner runbook keep python args kwargs http stdin hash_key after after_on "
    "on_success on_failure"
)

_KEYS: dict[str, frozenset[str]] = {
    "file": frozenset({"job", "pool", "calendar"}),
    "": _DEFAULTS | BELONGS_TO_A_JOB,
    "defaults": _DEFAULTS,
    "split": frozenset(SPLIT_KEYS) | _words("include exclude chunk max_items max_parallel fail_fast need"),
    **{step: frozenset(WORK_KEYS) for step in STEPS},
    "retry": frozenset({"max"}),
    "pool": frozenset({"max"}),
}
_LATER: dict[str, frozenset[str]] = {
    "file": frozenset({"sink"}),
    "": _LATER_OF_A_JOB,
    "defaults": _LATER_OF_A_JOB,
    **{step: _words("python args kwargs http stdin") for step in STEPS},
    "retry": _words("on codes backoff factor max_backoff jitter where"),
}


def keys_of(level: str) -> frozenset[str]:
    """Supported keys of a level: "file", "" (a job), "defaults", or the name of a table of a job."""
    return _KEYS.get(level, frozenset())


def later_keys(level: str) -> frozenset[str]:
    """Keys of that level that are part of the format and not supported yet."""
    return _LATER.get(level, frozenset())
