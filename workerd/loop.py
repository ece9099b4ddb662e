"""The one thread that owns a worker's state, sockets and journal: gather facts, step once, obey. Decides nothing.

Effects are carried out in the order the core gave them; a journal that fails ends the worker before anything that
follows is done.
"""

import logging
import uuid
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Protocol

from msgspec.structs import replace

from schedulerd.errors import SettingsError
from schedulerd.hostkit import clock, failpoint, notify
from schedulerd.hostkit.settings import WorkerdSettings
from schedulerd.protocol.messages import Order, Spec
from workerd import rows
from workerd.adapters.journal import Journal
from workerd.adapters.link import Link
from workerd.adapters.registration import Registrar, registration_of
from workerd.adapters.statedir import StateDir
from workerd.core import WorkerState, boot, envelope_of, snapshot, step
from workerd.effects import ConnectResults, Effect, Exit, Kill, RenewLease, Send, SetAlarm, Spawn
from workerd.effects import Journal as JournalEffect
from workerd.events import (
    ChildEnded,
    ChildExpired,
    ChildStarted,
    DrainAsked,
    Event,
    FrameArrived,
    HelperDied,
    LinkUp,
    SettingsRead,
    WorkerMoment,
)
from workerd.state import Identity, Limits
from workerd.wishes import Wishes

FRAMES_A_STEP = 256  # a Dispatch holds up to a mebibyte of orders, so a step stays short
_LINGER_MS = 2_000  # what a graceful stop gives the last frames

_log = logging.getLogger("workerd")


class Runner(Protocol):
    """What starts and ends attempts: the helper process, or in a benchmark something that only pretends."""

    def start(self) -> None: ...
    def fileno(self) -> int: ...  # one number for good, readable when `read_events` has something to do
    def spawn(
        self, attempt: str, spec: Spec, order: Order, worker_name: str, epoch: int, expiry_clock_ms: int
    ) -> None: ...
    def kill(self, attempt: str, kill_now: bool, kill_after_ms: int) -> None: ...
    def read_events(self) -> Sequence[ChildStarted | ChildExpired | ChildEnded | HelperDied]: ...
    def renew_lease(self, seconds: float) -> None: ...
    def close(self) -> None: ...


class Loop:
    """One worker. Construct and `run`; ask things of it through `wishes`, from wherever."""

    def __init__(
        self,
        settings: WorkerdSettings,
        *,
        runner: Runner,
        reread: Callable[[], WorkerdSettings] | None = None,
    ) -> None:
        """Lock the state directory, read the journal, bind. Raises SettingsError, leaving nothing open.

        `reread` gives the settings as they are now, for a reload.
        """
        self._settings = settings
        self._runner = runner
        self._reread = reread
        self._exit_reason = ""
        self._status = ""
        self._state_dir = StateDir(settings.state_dir)
        try:
            self._journal = Journal(settings.state_dir / "journal")
            try:
                self._link = Link(settings.listen, insecure=settings.insecure)
            except BaseException:
                self._journal.close()
                raise
        except BaseException:
            self._state_dir.close()
            raise
        self.wishes = Wishes()
        self._link.watch(self.wishes.fileno())
        # HOST:PORT that leaders connect to
        self.endpoint = settings.advertise or self._link.endpoint.removeprefix("tcp://")
        self.worker = self._state_dir.worker
        self._identity = Identity(
            worker=self.worker,
            nonce=uuid.uuid4().hex,
            name=settings.name,
            slots=settings.slots,
            labels=settings.labels,
            version=version("schedulerd"),
            place=self._state_dir.place,
            endpoint=self.endpoint,
        )
        self._state: WorkerState
        self._registrar: Registrar | None = None
        if settings.discovery.kind == "consul":
            self._registrar = Registrar(
                settings.discovery.consul,
                lambda: registration_of(self._identity, self.endpoint, settings.cluster),
            )

    @property
    def state(self) -> WorkerState:
        """What the worker remembers; for the loop's own thread, or once `run` has returned."""
        return self._state

    def run(self) -> None:
        """Work until drained or stopped.

        Raises JournalError, after which nothing more was said or started, and SettingsError when the helper
        process cannot be started.
        """
        try:
            self._start_runner()
            self._link.watch(self._runner.fileno())
            self._boot()
            if self._registrar is not None:
                self._registrar.start()
            notify.ready(self._status)
            while not (self.wishes.is_stop or self._exit_reason):
                self._turn()
            self._say_goodbye()
        finally:
            self._runner.close()  # first: children must not outlive the loop's care for them
            if self._registrar is not None:
                self._registrar.stop(deregister=True)
            self._link.close(_LINGER_MS if self._exit_reason else 0)
            self._journal.close()
            self._state_dir.close()
            self.wishes.close()

    def _start_runner(self) -> None:
        try:
            self._runner.start()
        except OSError as error:
            raise SettingsError(
                f"the helper process that starts children cannot be started: {error}"
            ) from error

    def _boot(self) -> None:
        timing = self._settings.timing
        limits = Limits(
            beat_ms=round(timing.beat * 1000),
            fence_term_ms=round(timing.fence * 1000),
            fence_kill_ms=round(timing.fence_kill * 1000),
            helper_lease_ms=round(timing.fence * 1000),
        )
        records = self._journal.records
        self._journal.records = []
        self._state, effects = boot(self._identity, records, _now(), limits)
        self._perform(effects)
        self._journal.compact(snapshot(self._state, clock.boot_ms()))
        self._tell_status()
        _log.info(
            "worker ready  worker=%s name=%s endpoint=%s slots=%d epoch=%d unacknowledged=%d",
            self.worker,
            self._identity.name,
            self.endpoint,
            self._identity.slots,
            self._state.epoch,
            self._state.ended,
        )

    def _turn(self) -> None:
        state = self._state
        self._link.wait(state.alarm_ms - clock.boot_ms())
        events = self._gather()
        if self.wishes.is_stop:
            return
        beat_ms = state.next_beat_ms
        self._perform(step(state, events, _now()))
        if state.next_beat_ms != beat_ms:  # every 2 s: this thread has made progress
            self._tell_status()
            notify.watchdog()
            if self._journal.is_mostly_past:
                self._journal.compact(snapshot(state, clock.boot_ms()))

    def _gather(self) -> list[Event]:
        events: list[Event] = []
        if self._link.look_after():
            events.append(LinkUp())
        for frame in self._link.receive(FRAMES_A_STEP):
            events.append(FrameArrived(frame.envelope, frame.message))
        told = self._runner.read_events()
        for died in told:
            if isinstance(died, HelperDied):  # the next spawn starts a new helper
                _log.error("helper process died; what it had in hand is lost  detail=%s", died.detail)
        failpoint.each(rows.ON_EVENT, told)
        events.extend(told)
        self.wishes.calm()
        if self.wishes.is_reload:
            self.wishes.is_reload = False
            events.extend(self._reload())
        if self.wishes.is_drain:
            self.wishes.is_drain = False
            _log.info(
                "asked to end: finishing what runs, accepting nothing new  running=%d", self._state.live
            )
            notify.stopping("finishing what runs")
            events.append(DrainAsked())
        return events

    def _reload(self) -> list[Event]:
        notify.reloading()
        self._tell_counts()
        told: list[Event] = []
        try:
            settings = self._reread() if self._reread is not None else self._settings
        except SettingsError as error:
            _log.error("settings not read, those in force stay: %s", error)
        else:
            logging.getLogger().setLevel(settings.log_level.upper())
            self._identity = replace(self._identity, labels=settings.labels)
            if self._registrar is not None:
                self._registrar.describe_anew()
            told.append(SettingsRead(self._identity.slots, settings.labels))
            _log.info("labels and log level read anew; every other setting needs a restart")
        notify.ready(self._status)
        return told

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Spawn(order, spec, epoch):
                    failpoint.at("start.before_spawn")
                    self._runner.spawn(
                        order.attempt, spec, order, self._identity.name, epoch, order.expiry_clock_ms
                    )
                case JournalEffect(records, sync):
                    failpoint.each(rows.BEFORE_JOURNAL, records)
                    self._journal.append(records, sync=sync)
                    failpoint.each(rows.AFTER_JOURNAL, records)
                case Send(message, endpoint, receiver):
                    envelope = envelope_of(self._state)
                    if endpoint:
                        self._link.send_aside(endpoint, replace(envelope, receiver=receiver), message)
                    else:
                        self._link.send(envelope, message)
                    failpoint.each(rows.AFTER_SEND, (message,))
                case Kill(attempt, kill_now, kill_after_ms):
                    _log.info("attempt told to end  attempt=%s kill=%s", attempt, kill_now)
                    self._runner.kill(attempt, kill_now, kill_after_ms)
                case RenewLease(seconds):
                    self._runner.renew_lease(seconds)
                case ConnectResults(endpoint):
                    _log.info(
                        "new leader  leader=%s epoch=%d results=%s",
                        self._state.leader[:80].encode("unicode_escape").decode(),
                        self._state.epoch,
                        endpoint[:80].encode("unicode_escape").decode(),
                    )
                    self._link.connect(endpoint)
                case Exit(reason):
                    self._exit_reason = reason
                case SetAlarm():
                    pass  # the state keeps it

    def _tell_counts(self) -> None:
        counters = {**self._link.counters, **self._state.counters}
        counts = " ".join(f"{name}={number}" for name, number in sorted(counters.items()))
        _log.info("counted since the start  %s", counts)

    def _say_goodbye(self) -> None:
        self._tell_counts()
        if self._exit_reason:
            _log.info("worker ends  reason=%s", self._exit_reason)
        else:
            _log.warning("worker stops at once  running=%d", self._state.live)
            notify.stopping("stopping at once")

    def _tell_status(self) -> None:
        state = self._state
        leader = (
            f"leader of epoch {state.epoch} at {state.results}" if state.results else "no leader heard yet"
        )
        text = f"{state.status}: {state.live} of {state.identity.slots} slots busy, {leader}"
        if self._registrar is not None and self._registrar.problem:
            text += "; not registered in Consul, trying again"
        if text != self._status:
            self._status = text
            notify.status(text)


def _now() -> WorkerMoment:
    return WorkerMoment(clock.boot_ms(), clock.utc_ms())
