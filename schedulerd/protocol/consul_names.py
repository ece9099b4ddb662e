"""What our names in Consul look like: services, checks, keys, metadata. Spelled only here; talks to nobody.

The cluster's name keeps several fleets apart in one Consul: it prefixes every key and every service name but
that of the cluster "default", whose workers are plainly called `workerd`.
"""

import json
import re
from collections.abc import Iterable, Mapping

DEFAULT_CLUSTER = "default"
CLUSTER_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")  # has to be usable in a DNS label

META_LIMIT = 512  # bytes that Consul takes in one metadata value

META_WORKER = "worker_id"
META_NAME = "worker_name"
META_ENDPOINT = "endpoint"  # HOST:PORT that the leader's PUSH socket connects to
META_SLOTS = "slots"
META_LABELS = "labels"  # one JSON list; absent when longer than META_LIMIT, then only the Inventory has them
META_VERSION = "version"


def worker_service(cluster: str) -> str:
    """The service that this cluster's workers register and its leader watches."""
    return _prefixed(cluster, "workerd")


def worker_service_id(worker_id: str) -> str:
    """The id of one worker's registration; a worker that comes back replaces its own."""
    return f"workerd-{worker_id}"


def ttl_check_id(service_id: str) -> str:
    """The id of the TTL check that belongs to a registration."""
    return f"{service_id}-ttl"


def leader_key(cluster: str) -> str:
    """The key whose lock makes a scheduler the leader."""
    return f"schedulerd/{cluster}/leader"


def session_name(cluster: str, scheduler_id: str, name: str) -> str:
    """What a scheduler's session is called: who takes part in the election can be read from it."""
    return f"schedulerd/{cluster}/{scheduler_id} {name}"


def scheduler_in(session: str, cluster: str) -> tuple[str, str] | None:
    """(id, name) of the scheduler of `cluster` that a session of this name belongs to; None: it is another's."""
    prefix = session_name(cluster, "", "").removesuffix(" ")
    scheduler_id, separator, name = session.removeprefix(prefix).partition(" ")
    return (scheduler_id, name) if session.startswith(prefix) and separator and scheduler_id else None


def worker_meta(
    *, worker_id: str, name: str, endpoint: str, slots: int, labels: Iterable[str], version: str
) -> dict[str, str]:
    """The metadata of one worker's registration; a value over Consul's limit is left out."""
    meta = {
        META_WORKER: worker_id,
        META_NAME: name,
        META_ENDPOINT: endpoint,
        META_SLOTS: str(slots),
        META_LABELS: json.dumps(list(labels), ensure_ascii=False, separators=(",", ":")),
        META_VERSION: version,
    }
    return {key: value for key, value in meta.items() if len(value.encode()) <= META_LIMIT}


def labels_in(meta: Mapping[str, str]) -> tuple[str, ...]:
    """The labels in a registration's metadata; none when they are absent or are not a JSON list of texts."""
    try:
        labels = json.loads(meta.get(META_LABELS, "[]"))
    except (ValueError, RecursionError):
        return ()
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return ()
    return tuple(labels)


def slots_in(meta: Mapping[str, str]) -> int:
    """The slots in a registration's metadata; 0 when they are absent or no number."""
    text = meta.get(META_SLOTS, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


def _prefixed(cluster: str, name: str) -> str:
    return name if cluster == DEFAULT_CLUSTER else f"{cluster}-{name}"
