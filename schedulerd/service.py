"""One schedulerd put together from its settings: lock, loop, table, discovery, HTTP server, vitals. Wiring only."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import structs

from schedulerd.adapters.discovery import Discovery
from schedulerd.adapters.discovery_consul import ConsulDiscovery
from schedulerd.adapters.discovery_static import StaticDiscovery
from schedulerd.adapters.election import Election, LeaderCard
from schedulerd.adapters.election_consul import ConsulElection
from schedulerd.adapters.election_file import FileElection, FileLock
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.adapters.metrics import Metrics
from schedulerd.api.server import build_app, serve
from schedulerd.core import requests as rq
from schedulerd.core.events import FoundWorker, WorkersSeen
from schedulerd.daemon.chronicle import chronicle
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.kinship import Kinship
from schedulerd.daemon.loop import Loop
from schedulerd.daemon.perform import Watch
from schedulerd.daemon.standing import Standing
from schedulerd.daemon.table import JobFiles
from schedulerd.daemon.vitals import Vitals
from schedulerd.door import VERSION, ServiceDoor
from schedulerd.errors import SettingsError
from schedulerd.hostkit import clock, host
from schedulerd.hostkit.consul_client import ConsulClient
from schedulerd.hostkit.settings import SchedulerdSettings

UPKEEP_EVERY = 60.0  # seconds between two rounds of the ledger's housekeeping


class Service:
    """A running schedulerd; `door` is what its HTTP server knocks at."""

    def __init__(self, settings: SchedulerdSettings, watches: Sequence[Watch] = ()) -> None:
        self.settings = settings
        self._metrics = Metrics()
        self._inbox = Inbox()
        card = _own_card(settings)
        self._locks = _locks_of(settings)
        self._election = self._election_of(settings, card)
        trust = ClockTrust(settings.clock_wait)
        self._loop = Loop(
            open_ledger=lambda: open_ledger(settings.ledger.url, settings.ledger.answer),
            election=self._election,
            inbox=self._inbox,
            card=card,
            listen=settings.results.listen,
            advertise=settings.results.advertise,
            output="",
            timing=settings.timing,
            trust=trust,
            watches=(chronicle, self._metrics.watch, *watches),
            on_bad_frame=self._metrics.bad_frames.inc,
            on_fenced=self._metrics.fenced.inc,
            on_connection=self._metrics.connection,
            on_lost=self._metrics.leadership_lost,
            on_followed=self._metrics.leadership_followed,
            on_gained=self._gained,
        )
        self._files = JobFiles(
            settings.jobs_dir,
            defaults=lambda: self.settings.defaults,
            inbox=self._inbox,
            loop=self._loop,
            trust=trust,
            open_reader=lambda: open_reader(settings.ledger.url),
            has_boots=settings.ledger.path is not None,  # the ledger, and so the leader, stays on one host
        )
        self._standing = Standing(
            self._loop, self._election, trust, self._files, stuck=settings.election.terms.stuck
        )
        self._kinship = Kinship(self._election, lambda: open_reader(settings.ledger.url))
        self.door = ServiceDoor(
            inbox=self._inbox,
            id=card.id,
            loop=self._loop,
            election=self._election,
            files=self._files,
            standing=self._standing,
        )
        self._discovery = _discovery_of(settings)
        self._metrics.loop_lag.set_function(self._standing.lag)
        self._metrics.watch_age.set_function(self._watch_age)
        self._metrics.lease_age.set_function(lambda: self.door.status().lease_age or 0.0)
        app = build_app(
            self.door,
            lambda: open_reader(settings.ledger.url),
            metrics=self._metrics,
            defaults=lambda: self.settings.defaults,
            own_names=[name for name in (urlsplit(card.url).hostname,) if name],
        )
        self._server = serve(
            app, settings.api.listen, str(settings.api.socket) if settings.api.socket else None
        )
        self._vitals = Vitals(
            on_clock_step=self._clock_stepped, is_alive=self._standing.is_alive, status=self._standing.words
        )

    @property
    def api_address(self) -> str:
        """`http://HOST:PORT` with the real port, or the socket's path."""
        return self._server.address

    def start(self) -> None:
        """Lead or stand by, read the table, look for workers, serve.

        Raises SettingsError, LedgerError or JobFileError.
        """
        for lock in self._locks:
            if not lock.acquire():
                raise SettingsError(lock.holder())
        self._vitals.start()
        try:
            self._election.start(self._inbox.wake)
            self._loop.start()
            self._kinship.start()
            self._loop.alarm.every(UPKEEP_EVERY, self._upkeep, "upkeep")
            if self._election.kind == "file":
                self._files.read_first()
            self._discovery.start(self._workers_seen, self._discovery_failed)
            self._server.start()
        except BaseException:
            self.stop()
            raise

    def adopt(self, settings: SchedulerdSettings) -> None:
        """Use what of `settings` can change while running: the defaults of job files."""
        self.settings = structs.replace(
            self.settings, defaults=settings.defaults, log_level=settings.log_level
        )

    def is_ready(self) -> bool:
        """It does its work."""
        return self._standing.is_ready()

    def ask(self, request: rq.Request, timeout: float) -> object:
        """For callers in this process: see api/door.py."""
        return self.door.ask(request, timeout)

    def say_ready(self) -> None:
        """Tell systemd that this daemon serves."""
        self._vitals.ready()

    def fault(self) -> str:
        """Why it cannot go on; empty while it can."""
        if not self._loop.is_alive:
            return "the loop has ended by itself; see the log above"
        return self._election.fault or str(self._files.failure or "")

    def stop(self) -> None:
        """End in order: first what another scheduler waits for, so that it leads at once, then the rest."""
        self._kinship.stop()
        self._loop.stop()
        self._election.stop()
        self._discovery.stop()
        self._server.stop()
        self._vitals.stop()
        for lock in self._locks:
            lock.close()

    def _election_of(self, settings: SchedulerdSettings, card: LeaderCard) -> Election:
        if settings.election.kind == "file":
            return FileElection(self._locks, card)
        consul = settings.discovery.consul
        return ConsulElection(
            lambda seconds: ConsulClient(consul.address, token=consul.token, timeout_seconds=seconds),
            settings.cluster,
            card,
            settings.election.terms,
            settings.state_dir,
            on_error=self._metrics.discovery_errors.inc,
            stuck=lambda: self._standing.stuck(),
        )

    # ---- facts for the loop ------------------------------------------------------------------------------------

    def _workers_seen(self, found: tuple[FoundWorker, ...]) -> None:
        self._standing.discovery_answered()
        self._inbox.put(WorkersSeen(found))

    def _discovery_failed(self, text: str) -> None:
        self._standing.discovery_failed(text)
        self._metrics.discovery_errors.inc()

    def _gained(self, has_table: bool) -> None:
        if self._election.kind != "file":  # that one reads its job files at each start
            self._files.take_over(has_table)

    def _clock_stepped(self, seconds: float) -> None:
        self._metrics.clock_jumps.inc()
        self._loop.alarm.stepped()

    def _upkeep(self) -> None:
        self._loop.is_upkeep_due = True
        self._inbox.wake()

    def _watch_age(self) -> float:
        heard_at = self._discovery.heard_at
        return 0.0 if heard_at is None else clock.boot_seconds() - heard_at


def _own_id(state_dir: Path) -> str:
    """This scheduler's UUID, kept in its state directory."""
    path = state_dir / "id"
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(f"{uuid.uuid4()}\n")
        return path.read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"state_dir: {path} cannot be used: {error.strerror}; nothing was started"
        ) from error


def _own_card(settings: SchedulerdSettings) -> LeaderCard:
    """What others get to know of this scheduler while it leads."""
    sqlite = settings.ledger.path
    return LeaderCard(
        id=_own_id(settings.state_dir),
        name=settings.name,
        advertise=settings.api.advertise,
        host=host.host_id(),
        boot=clock.boot_id(),
        ledger=f"sqlite://{sqlite.resolve()}" if sqlite is not None else "postgresql",
        version=VERSION,
    )


def _locks_of(settings: SchedulerdSettings) -> tuple[FileLock, ...]:
    """A state directory has one user; a SQLite file one, or several that were elected one by one, never both kinds."""
    own = FileLock(settings.state_dir)
    ledger = settings.ledger.path
    if ledger is None:
        return (own,)
    # the ledger has a lock of its own: another state directory may name the same file, also by a link to it
    ledger = ledger.resolve()
    return (own, FileLock(ledger.parent, f"{ledger.name}.lock", is_shared=settings.election.kind == "consul"))


def _discovery_of(settings: SchedulerdSettings) -> Discovery:
    if settings.discovery.kind == "static":
        return StaticDiscovery(settings.discovery.workers)
    consul = settings.discovery.consul
    return ConsulDiscovery(lambda: ConsulClient(consul.address, token=consul.token), settings.cluster)
