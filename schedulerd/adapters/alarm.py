"""The alarm clock: rings once at the time last asked for, and runs the housekeeping. Decides nothing.

APScheduler's default grace would silently drop a late alarm, so there is none (misfire_grace_time=None), and a ring
needs no thread pool: it only puts a fact into the inbox. APScheduler compares with the wall clock and forgets nothing
when that steps back an hour: it would sleep for that hour. So every job of it is armed anew after a step.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Self

import apscheduler.executors.base
import apscheduler.schedulers.base
import apscheduler.triggers.interval
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from schedulerd.hostkit import clock

_RING = "ring"

logging.getLogger("apscheduler").setLevel(logging.WARNING)


class _MovedDatetime(datetime):
    """What APScheduler reads its clock with while a test moves ours."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(clock.utc_now().timestamp(), tz)


if clock.moved is not None:
    for _module in (apscheduler.schedulers.base, apscheduler.executors.base, apscheduler.triggers.interval):
        _module.datetime = _MovedDatetime


class Alarm:
    """One alarm; setting it again replaces it."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._armed: float | None = None  # boot-time seconds
        self._housekeeping: dict[str, tuple[float, Callable[[], None]]] = {}
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": DebugExecutor(), "housekeeping": ThreadPoolExecutor(1)},
            job_defaults={"misfire_grace_time": None, "coalesce": True},
        )

    def start(self) -> None:
        """Begin to ring."""
        self._scheduler.start()

    def set(self, delay: float) -> None:
        """Ring `delay` seconds from now (at once if it is over); an earlier ring that is set already is kept."""
        at = clock.boot_seconds() + max(delay, 0.0)
        if self._armed is not None and self._armed <= at + 0.0005:
            return
        self._armed = at
        self._scheduler.add_job(
            self._ring,
            "date",
            run_date=clock.utc_now() + timedelta(seconds=max(delay, 0.0)),
            id=_RING,
            replace_existing=True,
        )

    def rang(self) -> None:
        """The ring has been heard, or a clock stepped: the next `set` arms anew."""
        self._armed = None

    def stepped(self) -> None:
        """A clock has moved: ring at once, so that what is due is looked at, and count housekeeping from now.

        For any thread.
        """
        for name, (seconds, housekeeping) in list(self._housekeeping.items()):
            self.every(seconds, housekeeping, name)
        self._ring()

    def every(self, seconds: float, housekeeping: Callable[[], None], name: str) -> None:
        """Run `housekeeping` every `seconds`, in a thread of its own, never twice at once."""
        self._housekeeping[name] = (seconds, housekeeping)
        self._scheduler.add_job(
            housekeeping,
            "interval",
            seconds=seconds,
            id=name,
            executor="housekeeping",
            max_instances=1,
            replace_existing=True,
        )

    def is_alive(self) -> bool:
        """The alarm's thread runs."""
        thread = self._scheduler._thread
        return thread is not None and thread.is_alive()

    def stop(self) -> None:
        """No ring and no housekeeping from now on."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
