"""What both daemons can be told: every key, its default, and what is refused. Leaves reading to
settings_source.

A value that passed here needs no second look: paths are absolute, addresses have a host and a port, time-outs
fit together. `SettingsError` holds every fault at once, one a line, each with its file, line and column.
"""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from schedulerd.errors import SettingsError
from schedulerd.hostkit import endpoints
from schedulerd.hostkit.election import ElectionSettings, check_takeover, read_election
from schedulerd.hostkit.ledger import LedgerSettings, LookAt, read_ledger
from schedulerd.hostkit.settings_source import Source
from schedulerd.hostkit.timing import read_timing
from schedulerd.protocol import consul_names
from schedulerd.protocol.timing import Timing

LOG_LEVELS = ("debug", "info", "warning", "error")
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}(=[^\s,=]{0,190})?")
MAX_SLOTS = 10_000


class ApiSettings(Struct, frozen=True, kw_only=True):
    """[api]: where the HTTP API listens."""

    listen: str  # HOST:PORT; port 0 = a free one; empty = no TCP
    advertise: str  # HOST:PORT or URL that a standby sends writers to; empty = none
    socket: Path | None  # Unix socket; None = none


class ResultsSettings(Struct, frozen=True, kw_only=True):
    """[results]: where results and output come in."""

    listen: str  # tcp://HOST:PORT; port * = a free one
    output: str  # the same, for output chunks
    advertise: str  # HOST:PORT that workers connect to; empty = the host and port that were bound


class ConsulSettings(Struct, frozen=True, kw_only=True):
    """[discovery.consul]: the local agent."""

    address: str  # http://HOST:PORT
    token_file: Path | None

    def token(self) -> str:
        """The ACL token in the file, read anew at each call; empty without one. Raises SettingsError."""
        if self.token_file is None:
            return ""
        try:
            return self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self.token_file}: Consul's token cannot be read: {error}") from error


class DiscoverySettings(Struct, frozen=True, kw_only=True):
    """[discovery]: how workers are found."""

    kind: str  # "consul" | "static"
    consul: ConsulSettings
    workers: tuple[str, ...]  # [discovery.static]: HOST:PORT of each


class SchedulerdSettings(Struct, frozen=True, kw_only=True):
    """Everything schedulerd can be told."""

    origin: Path | None  # the file; None: defaults and environment only
    cluster: str
    name: str  # of this scheduler, for people
    jobs_dir: Path
    state_dir: Path
    log_level: str
    api: ApiSettings
    results: ResultsSettings
    ledger: LedgerSettings
    election: ElectionSettings
    discovery: DiscoverySettings
    insecure: bool  # [transport]: listening beyond loopback without keys was asked for
    timing: Timing
    clock_wait: int  # [clock]: seconds that missed fire times wait for synchronisation after a boot; 0 = none
    defaults: dict[str, Any]  # [defaults]: job-file keys for every job, unread


class WorkerdSettings(Struct, frozen=True, kw_only=True):
    """Everything workerd can be told."""

    origin: Path | None
    cluster: str
    name: str  # for people
    state_dir: Path
    log_level: str
    slots: int
    labels: tuple[str, ...]
    listen: str  # tcp://HOST:PORT; port * = a free one
    advertise: str  # HOST:PORT that schedulerd connects to; empty = the host and port that were bound
    discovery: DiscoverySettings
    insecure: bool
    timing: Timing


def load_schedulerd(
    path: Path | None, environ: Mapping[str, str], look_at: LookAt | None = None
) -> SchedulerdSettings:
    """schedulerd's settings from a file (if any) and the environment; SettingsError holds every fault.

    `look_at` is asked about a PostgreSQL URL by those who are going to use it.
    """
    source = Source(path, environ)
    election = read_election(source, source.text("ledger", "url", "sqlite:"))
    insecure = source.flag("transport", "insecure", False)
    state_dir = source.path("", "state_dir", "/var/lib/schedulerd")
    listen = endpoints.listening(source, "results", "listen", "tcp://127.0.0.1:7481", insecure)
    beside = f"tcp://{endpoints.host_of(listen)}:*"
    settings = SchedulerdSettings(
        origin=path,
        cluster=_cluster(source),
        name=_name(source),
        jobs_dir=source.path("", "jobs_dir", "jobs.d"),
        state_dir=state_dir,
        log_level=source.choice("", "log_level", "info", *LOG_LEVELS),
        api=ApiSettings(
            listen=endpoints.listening_http(source, "api", "listen", "127.0.0.1:7480", insecure),
            advertise=endpoints.advertised_http(source, "api", "advertise"),
            socket=source.optional_path("api", "socket", "/run/schedulerd/api.sock"),
        ),
        results=ResultsSettings(
            listen=listen,
            output=endpoints.listening(source, "results", "output", beside, insecure),
            advertise=endpoints.advertised(source, "results", "advertise", listen, "[results] listen"),
        ),
        ledger=read_ledger(source, state_dir, election.terms, look_at),
        election=election,
        discovery=_discovery(source),
        insecure=insecure,
        timing=read_timing(source),
        clock_wait=source.number("clock", "sync_wait_seconds", 30, 0, 3600),
        defaults=source.table("defaults"),
    )
    if settings.election.kind == "consul":
        check_takeover(source, settings.election.terms, settings.timing)
    source.finish()
    return settings


def load_workerd(path: Path | None, environ: Mapping[str, str]) -> WorkerdSettings:
    """workerd's settings from a file (if any) and the environment; SettingsError holds every fault."""
    source = Source(path, environ)
    insecure = source.flag("transport", "insecure", False)
    listen = endpoints.listening(source, "listen", "address", "tcp://127.0.0.1:7482", insecure)
    settings = WorkerdSettings(
        origin=path,
        cluster=_cluster(source),
        name=_name(source),
        state_dir=source.path("", "state_dir", "/var/lib/workerd"),
        log_level=source.choice("", "log_level", "info", *LOG_LEVELS),
        slots=source.number("", "slots", len(os.sched_getaffinity(0)), 1, MAX_SLOTS),
        labels=_labels(source),
        listen=listen,
        advertise=endpoints.advertised(source, "listen", "advertise", listen, "[listen] address"),
        discovery=_discovery(source),
        insecure=insecure,
        timing=read_timing(source),
    )
    source.finish()
    return settings


def _cluster(source: Source) -> str:
    name = source.text("", "cluster", consul_names.DEFAULT_CLUSTER)
    if not consul_names.CLUSTER_NAME.fullmatch(name):
        source.fault("", "cluster", f'"{name}" is not 1 to 32 of a-z, 0-9 and - (not at an end)')
    return name


def _name(source: Source) -> str:
    name = source.text("", "name", socket.gethostname() or "localhost")
    if not name.isprintable() or not name.strip() or len(name.encode()) > 255:
        source.fault("", "name", "a name is 1 to 255 bytes of printable text")
    return name


def _labels(source: Source) -> tuple[str, ...]:
    labels = source.texts("", "labels", ())
    for label in labels:
        if not LABEL.fullmatch(label):
            source.fault("", "labels", f'"{label}" is not of the form NAME or NAME=VALUE')
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        source.fault("", "labels", f'"{label}" stands there twice')
    return labels


def _discovery(source: Source) -> DiscoverySettings:
    kind = source.choice("discovery", "kind", "consul", "consul", "static")
    consul = ConsulSettings(
        address=endpoints.agent(source, "discovery.consul", "address", "http://127.0.0.1:8500"),
        token_file=source.optional_path("discovery.consul", "token_file", ""),
    )
    workers = source.texts("discovery.static", "workers", ())
    for worker in workers:
        if endpoints.split(worker) is None:
            source.fault("discovery.static", "workers", f'"{worker}" is not of the form HOST:PORT')
    return DiscoverySettings(kind=kind, consul=consul, workers=workers)
