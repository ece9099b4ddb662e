"""One schedulerd put together from its settings: lock, loop, table, discovery, HTTP server, vitals. Wiring only."""

import logging
import threading
import uuid
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from msgspec import structs

from schedulerd.adapters import jobfiles
from schedulerd.adapters.discovery import Discovery
from schedulerd.adapters.discovery_consul import ConsulDiscovery
from schedulerd.adapters.discovery_static import StaticDiscovery
from schedulerd.adapters.election_file import FileElection
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.adapters.metrics import Metrics
from schedulerd.api.door import DoorStatus
from schedulerd.api.server import build_app, serve
from schedulerd.core import requests as rq
from schedulerd.core.events import FoundWorker, WorkersSeen
from schedulerd.daemon.chronicle import chronicle
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.loop import PATIENCE_MS, Loop
from schedulerd.daemon.perform import Watch
from schedulerd.daemon.vitals import Vitals
from schedulerd.errors import CommandError, JobFileError, SettingsError
from schedulerd.hostkit import clock
from schedulerd.hostkit.consul_client import ConsulClient
from schedulerd.hostkit.settings import SchedulerdSettings
from schedulerd.model.job import At, Cron, Definition
from schedulerd.protocol.api_types import ReloadAnswer

VERSION = version("schedulerd")
SILENT = 5.0  # seconds without a finished round after which it is not ready
SILENCE = 20.0  # seconds without a finished round after which the loop does not count as alive
UPKEEP_EVERY = 60.0  # seconds between two rounds of the ledger's housekeeping
RELOAD_WAIT = 60.0  # seconds the loop may take for a new table

log = logging.getLogger(__name__)


class Service:
    """A running schedulerd; also the door that its HTTP server knocks at."""

    def __init__(self, settings: SchedulerdSettings, watches: Sequence[Watch] = ()) -> None:
        self.settings = settings
        self._started_at = clock.utc_now()
        self._table_faults: tuple[str, ...] = ()
        self._known = jobfiles.Known()
        self._discovery_error = ""
        self._metrics = Metrics()
        self._inbox = Inbox()
        # a ledger file has a lock of its own: another state directory may name the same file
        ledger = settings.ledger.path
        self._elections = (
            FileElection(settings.state_dir),
            *([FileElection(ledger.parent, f"{ledger.name}.lock")] if ledger is not None else []),
        )
        self._trust = ClockTrust(settings.clock_wait)
        self._table_waits = False  # the job files change what must wait until the clock is believed
        self._loop = Loop(
            open_ledger=lambda: open_ledger(settings.ledger.url),
            inbox=self._inbox,
            leader=_own_id(settings.state_dir),
            listen=settings.results.listen,
            advertise=settings.results.advertise,
            output="",
            timing=settings.timing,
            trust=self._trust,
            watches=(chronicle, self._metrics.watch, *watches),
            on_bad_frame=self._metrics.bad_frames.inc,
            on_fenced=self._metrics.fenced.inc,
            on_connection=self._metrics.connection,
        )
        self._discovery = _discovery_of(settings)
        self._metrics.loop_lag.set_function(self._lag)
        self._metrics.watch_age.set_function(self._watch_age)
        app = build_app(
            self,
            lambda: open_reader(settings.ledger.url),
            metrics=self._metrics,
            defaults=lambda: self.settings.defaults,
        )
        self._server = serve(
            app, settings.api.listen, str(settings.api.socket) if settings.api.socket else None
        )
        self._vitals = Vitals(on_clock_step=self._clock_stepped, is_alive=self._is_alive, status=self.words)

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
            self._read_first_table()
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
        """Leading, table loaded, discovery answered once."""
        return self._loop.is_leading and self._loop.has_workers and self._silence() < SILENT

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

    def words(self) -> str:
        """STATUS for systemd."""
        reasons = "; ".join(self._reasons())
        head = f"leading, epoch {self._loop.epoch}" if self._loop.is_leading else "not leading"
        return f"{head}: {reasons}" if reasons else head

    # ---- the door ----------------------------------------------------------------------------------------------

    def ask(self, request: rq.Request, timeout: float) -> object:
        """See api/door.py."""
        if isinstance(request, rq.PutJob):
            trigger = request.definition.job.trigger
            if isinstance(trigger, Cron) and trigger.is_at_boot and not self._has_boots():
                raise CommandError("invalid", f"schedule: {jobfiles.NO_BOOTS}")
            filled = self._filled([request.definition])
            request = structs.replace(request, filled=tuple(instant for _, instant in filled))
        if isinstance(request, rq.TriggerJob):
            known = self._manual_run(request.job, request.key)
            if known is not None:
                return rq.Triggered(outcome="started", run=known, reason=rq.KEY_USED)
        return self._inbox.ask(request, timeout)

    def status(self) -> DoorStatus:
        """See api/door.py."""
        return DoorStatus(
            is_leading=self._loop.is_leading,
            epoch=self._loop.epoch,
            ready=self.is_ready(),
            reasons=tuple(self._reasons()),
            started_at=self._started_at,
            version=VERSION,
        )

    def reload(self, timeout: float) -> ReloadAnswer:
        """See api/door.py. A faulty table changes nothing and is answered with every fault."""
        try:
            table = jobfiles.load_table(
                self.settings.jobs_dir, self.settings.defaults, self._known, has_boots=self._has_boots()
            )
            filled = tuple(self._filled(table.definitions))
            order = rq.ReplaceTable(definitions=table.definitions, pools=table.pools, filled=filled)
            answer = self._inbox.ask(order, timeout)
        except JobFileError as error:
            return self._refused_table(tuple(error.faults))
        except CommandError as error:
            if error.kind != "conflict":
                raise
            return self._refused_table(tuple(error.text.splitlines()))
        assert isinstance(answer, rq.TableReplaced)
        self._table_faults = ()
        return ReloadAnswer(
            added=list(answer.added),
            changed=list(answer.changed),
            removed=list(answer.removed),
            unchanged=answer.unchanged,
        )

    # ---- facts for the loop ------------------------------------------------------------------------------------

    def _workers_seen(self, found: tuple[FoundWorker, ...]) -> None:
        self._discovery_error = ""
        self._inbox.put(WorkersSeen(found))

    def _discovery_failed(self, text: str) -> None:
        if text != self._discovery_error:
            log.warning("workers cannot be looked for: %s; trying again", text)
        self._discovery_error = text
        self._metrics.discovery_errors.inc()

    def _clock_stepped(self, seconds: float) -> None:
        self._metrics.clock_jumps.inc()
        self._loop.alarm.stepped()

    def _upkeep(self) -> None:
        self._loop.is_upkeep_due = True
        self._inbox.wake()

    def _lag(self) -> float:
        return max(self._loop.lag, self._silence() - PATIENCE_MS / 1000)

    def _watch_age(self) -> float:
        heard_at = self._discovery.heard_at
        return 0.0 if heard_at is None else clock.boot_seconds() - heard_at

    # ---- what it says of itself --------------------------------------------------------------------------------

    def _is_alive(self) -> bool:
        return self._loop.is_alive and self._silence() < SILENCE and self._loop.alarm.is_alive()

    def _silence(self) -> float:
        """Seconds since the loop last finished a round; 0 before its first."""
        return clock.boot_seconds() - self._loop.progress if self._loop.progress else 0.0

    def _reasons(self) -> list[str]:
        reasons = [text for text in (self._loop.trouble, self._trust.words()) if text]
        if self._loop.is_leading and self._silence() >= SILENT:
            reasons.append(f"the loop has been busy for {self._silence():.0f} s: nothing is fired meanwhile")
        if self._table_waits:
            reasons.append("the job files are read when it is, the table in force stays until then")
        if self._discovery_error:
            reasons.append(self._discovery_error)
        elif not self._loop.has_workers:
            reasons.append("waiting for the first word on workers")
        if self._table_faults:
            count = len(self._table_faults)
            reasons.append(f"the job files have {count} fault{'s' * (count > 1)}, the table in force stays")
        return reasons

    # ---- the table ---------------------------------------------------------------------------------------------

    def _read_first_table(self) -> None:
        try:
            answer = self.reload(RELOAD_WAIT)
        except CommandError as error:
            if self._trust.is_given:
                raise
            log.warning("the job files are not in force yet: %s", error)
            self._table_waits = True
            threading.Thread(target=self._read_table_later, name="table", daemon=True).start()
            return
        if not answer.faults:
            return
        cluster = self._inbox.ask(rq.DescribeCluster(), RELOAD_WAIT)
        assert isinstance(cluster, rq.ClusterView)
        if cluster.jobs == 0:
            raise JobFileError(answer.faults)

    def _read_table_later(self) -> None:
        """In a thread of its own: as soon as the clock is believed; a fault then leaves the table in force."""
        while not self._trust.wait(1.0):
            if not self._loop.is_alive:
                return
        try:
            self.reload(RELOAD_WAIT)
        except CommandError as error:
            log.error("the job files could not be read: %s; the table in force stays", error)
        self._table_waits = False

    def _refused_table(self, faults: tuple[str, ...]) -> ReloadAnswer:
        self._table_faults = faults
        for fault in faults:
            log.error("%s", fault)
        return ReloadAnswer(faults=list(faults))

    def _has_boots(self) -> bool:
        """`@reboot` has a meaning: the ledger, and so the leader, stays on one host."""
        return self.settings.ledger.path is not None

    def _manual_run(self, job: str, key: str) -> str | None:
        """The run that this key made before, also before a restart."""
        reader = open_reader(self.settings.ledger.url)
        try:
            return reader.manual_run(job, key)
        finally:
            reader.close()

    def _filled(self, definitions: Sequence[Definition]) -> list[tuple[str, datetime]]:
        """Past `at` instants of these jobs that have their row already."""
        now = clock.utc_now()
        past = {
            definition.job.name: [instant for instant in definition.job.trigger.instants if instant <= now]
            for definition in definitions
            if isinstance(definition.job.trigger, At)
        }
        if not any(past.values()):
            return []
        reader = open_reader(self.settings.ledger.url)
        try:
            return [
                (name, instant)
                for name, instants in past.items()
                for instant in instants
                if reader.has_slot(name, instant)
            ]
        finally:
            reader.close()


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
