"""One schedulerd put together from its settings: lock, loop, table, discovery, HTTP server, vitals. Wiring only."""

import uuid
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from schedulerd.adapters.discovery import Discovery
from schedulerd.adapters.discovery_consul import ConsulDiscovery
from schedulerd.adapters.discovery_static import StaticDiscovery
from schedulerd.adapters.election_file import FileElection
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.adapters.metrics import Metrics
from schedulerd.api.server import build_app, serve
from schedulerd.core import requests as rq
from schedulerd.core.events import FoundWorker, WorkersSeen
from schedulerd.daemon.chronicle import chronicle
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.loop import Loop
from schedulerd.daemon.perform import Watch
from schedulerd.daemon.standing import Standing
from schedulerd.daemon.table import JobFiles
from schedulerd.daemon.vitals import Vitals
from schedulerd.door import ServiceDoor
from schedulerd.errors import SettingsError
from schedulerd.hostkit import clock
from schedulerd.hostkit.consul_client import ConsulClient
from schedulerd.hostkit.settings import SchedulerdSettings

UPKEEP_EVERY = 60.0  # seconds between two rounds of the ledger's housekeeping


class Service:
    """A running schedulerd; `door` is what its HTTP server knocks at."""

    def __init__(self, settings: SchedulerdSettings, watches: Sequence[Watch] = ()) -> None:
        self.settings = settings
        self._metrics = Metrics()
        self._inbox = Inbox()
        # the ledger has a lock of its own: another state directory may name the same file
        ledger = settings.ledger.path
        self._elections = (
            FileElection(settings.state_dir),
            FileElection(ledger.parent, f"{ledger.name}.lock"),
        )
        trust = ClockTrust(settings.clock_wait)
        self._loop = Loop(
            open_ledger=lambda: open_ledger(settings.ledger.url),
            inbox=self._inbox,
            leader=_own_id(settings.state_dir),
            listen=settings.results.listen,
            advertise=settings.results.advertise,
            output="",
            timing=settings.timing,
            trust=trust,
            watches=(chronicle, self._metrics.watch, *watches),
            on_bad_frame=self._metrics.bad_frames.inc,
            on_fenced=self._metrics.fenced.inc,
        )
        self._files = JobFiles(
            settings.jobs_dir,
            defaults=lambda: self.settings.defaults,
            inbox=self._inbox,
            loop=self._loop,
            trust=trust,
            open_reader=lambda: open_reader(settings.ledger.url),
        )
        self._standing = Standing(self._loop, trust, self._files)
        self.door = ServiceDoor(
            inbox=self._inbox,
            loop=self._loop,
            files=self._files,
            standing=self._standing,
            open_reader=lambda: open_reader(settings.ledger.url),
        )
        self._discovery = _discovery_of(settings)
        self._metrics.loop_lag.set_function(self._standing.lag)
        self._metrics.watch_age.set_function(self._watch_age)
        app = build_app(
            self.door,
            lambda: open_reader(settings.ledger.url),
            metrics=self._metrics,
            defaults=lambda: self.settings.defaults,
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
        """Lead, read the table, look for workers, serve. Raises SettingsError, LedgerError or JobFileError."""
        for election in self._elections:
            if not election.acquire():
                raise SettingsError(election.holder())
        self._vitals.start()
        try:
            self._loop.start()
            self._loop.alarm.every(UPKEEP_EVERY, self._upkeep, "upkeep")
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

    def is_broken(self) -> bool:
        """The loop has ended by itself; only a restart helps."""
        return not self._loop.is_alive

    def stop(self) -> None:
        """End in order: no new callers, no new workers, then the loop."""
        self._discovery.stop()
        self._server.stop()
        self._loop.stop()
        self._vitals.stop()
        for election in self._elections:
            election.close()

    # ---- facts for the loop ------------------------------------------------------------------------------------

    def _workers_seen(self, found: tuple[FoundWorker, ...]) -> None:
        self._standing.discovery_answered()
        self._inbox.put(WorkersSeen(found))

    def _discovery_failed(self, text: str) -> None:
        self._standing.discovery_failed(text)
        self._metrics.discovery_errors.inc()

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


def _discovery_of(settings: SchedulerdSettings) -> Discovery:
    if settings.discovery.kind == "static":
        return StaticDiscovery(settings.discovery.workers)
    consul = settings.discovery.consul
    return ConsulDiscovery(lambda: ConsulClient(consul.address, token=consul.token()), settings.cluster)
