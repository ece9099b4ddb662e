"""What a child finds in its environment. Nothing of workerd's own gets there."""

import hashlib
import os
import pwd
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from schedulerd.protocol.ids import rfc3339, split_attempt_id
from schedulerd.protocol.rendering import Values, render_text
from schedulerd.protocol.templates import needs_item
from workerd.spawner.wire import Spawn

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ITEM_LIMIT = 64 << 10  # bytes of an item's JSON; a larger one is only in the file SCHEDULERD_ITEMS_FILE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1)
def default_environment() -> dict[str, str]:
    """What every child has unless its job says otherwise; the user is the one workerd runs as."""
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
        name, home, shell = entry.pw_name, entry.pw_dir, entry.pw_shell
    except KeyError:  # a uid without a name, as in some containers
        name, home, shell = str(uid), "/", ""
    return {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": home,
        "USER": name,
        "LOGNAME": name,
        "SHELL": shell or "/bin/sh",
    }


def environment_of(spawn: Spawn, values: Values) -> dict[str, str]:
    """The whole environment, later ones winning: defaults, the job's, the attempt's, SCHEDULERD_*.

    TRACEPARENT is derived from the run and the attempt unless the job or the attempt brings one. An item that is too
    large is left out; see `has_large_item`. A step of the run itself (gather, split) goes without those variables of
    the job that name an item. Raises TemplateError, and ValueError for a malformed attempt id.
    """
    spec, order = spawn.spec, spawn.order
    run, subtask, number = split_attempt_id(order.attempt)
    env = default_environment().copy()
    env["TRACEPARENT"] = f"00-{_hex_of(run, 32)}-{_hex_of(order.attempt, 16)}-01"
    for name, text in spec.env.items():
        if subtask < 0 and needs_item(text):
            continue  # it is meant for the subtasks; gather and the like share the job's environment
        env[name] = render_text(text, values)
    env.update(order.env)
    env["SCHEDULERD_JOB"] = spec.job
    env["SCHEDULERD_RUN_ID"] = run
    env["SCHEDULERD_FIRE_TIME"] = _fire_time(spec.fire_utc_us)
    env["SCHEDULERD_SUBTASK"] = str(subtask)
    env["SCHEDULERD_SUBTASKS"] = str(spec.subtasks)
    env["SCHEDULERD_ATTEMPT"] = str(number)
    env["SCHEDULERD_ATTEMPT_ID"] = order.attempt
    env["SCHEDULERD_EPOCH"] = str(spawn.epoch)
    env["SCHEDULERD_FENCE"] = str(order.fence)
    env["SCHEDULERD_IDEMPOTENCY_KEY"] = f"{run}~{subtask}"
    env["SCHEDULERD_WORKER"] = spawn.worker_name
    env["SCHEDULERD_PREVIOUS_OUTCOME"] = order.previous
    if order.item is not None and not has_large_item(order.item):
        env["SCHEDULERD_ITEM"] = order.item
    return env


def has_large_item(item: str) -> bool:
    """It is too large for the environment."""
    return len(item) > ITEM_LIMIT or (len(item) * 4 > ITEM_LIMIT and len(item.encode()) > ITEM_LIMIT)


@lru_cache(maxsize=256)  # many attempts of one run
def _hex_of(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


@lru_cache(maxsize=256)
def _fire_time(utc_us: int) -> str:
    return rfc3339(_EPOCH + timedelta(microseconds=utc_us))
