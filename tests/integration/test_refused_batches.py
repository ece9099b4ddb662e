"""A real loop with what the core or the job files' reader cannot do: told, bounded, and no harm to anything else."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from support.elections import card
from support.waiting import wait_until

from schedulerd.adapters.election_file import FileElection, FileLock
from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.core import commands, firing
from schedulerd.core import requests as rq
from schedulerd.core.events import AlarmRang
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.loop import Loop
from schedulerd.daemon.table import JobFiles
from schedulerd.errors import CommandError
from schedulerd.hostkit import clock
from schedulerd.protocol.api_types import EventQuery
from schedulerd.protocol.timing import Timing

JOB = '[job.once]\nat = 2100-01-10T03:00:00Z\ncommand = "true"\n'


class Led(NamedTuple):
    """A loop that leads."""

    loop: Loop
    inbox: Inbox
    url: str

    def rejected(self) -> list[str]:
        """Details of the events `rejected`, newest first."""
        reader = open_reader(self.url)
        try:
            return [event.detail for event in reader.find_events(EventQuery(types=("rejected",), limit=1000))]
        finally:
            reader.close()


@pytest.fixture
def led(tmp_path: Path) -> Iterator[Led]:
    url, inbox, own = f"sqlite://{tmp_path}/ledger.db", Inbox(), card("alpha")
    election = FileElection([FileLock(tmp_path)], own)
    loop = Loop(
        open_ledger=lambda: open_ledger(url),
        election=election,
        inbox=inbox,
        card=own,
        listen="tcp://127.0.0.1:*",
        advertise="",
        output="",
        timing=Timing(),
        trust=ClockTrust(0),
    )
    election.start(inbox.wake)
    loop.start()
    yield Led(loop, inbox, url)
    loop.stop()
    election.stop()


def fails(*_: object) -> NoReturn:
    raise RuntimeError("planted")


def test_a_request_that_the_core_cannot_do_is_answered_and_recorded_and_the_others_are_done(
    led: Led, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(commands.HANDLERS, rq.DescribeCluster, fails)
    with pytest.raises(CommandError, match="planted"):
        led.inbox.ask(rq.DescribeCluster(), 20)
    assert led.inbox.ask(rq.DescribeWorkers(), 20) == ()
    (detail,) = led.rejected()
    assert detail.startswith("CommandGiven: ")


def test_what_fails_again_with_every_step_is_tried_once_a_second_and_no_oftener(
    led: Led, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "fire_due", fails)
    led.inbox.put(AlarmRang())
    assert wait_until(lambda: len(led.rejected()) >= 1)
    begun, before = clock.boot_seconds(), len(led.rejected())
    assert wait_until(lambda: len(led.rejected()) >= before + 2)
    assert clock.boot_seconds() - begun > 0.9
    monkeypatch.undo()
    assert led.inbox.ask(rq.DescribeWorkers(), 20) == ()


def test_one_whose_epoch_is_over_and_that_nobody_else_may_succeed_leads_again_after_a_while(led: Led) -> None:
    """Two with locks of their own and one ledger: they must not take the lead from each other all the time."""
    other = open_ledger(led.url)
    try:
        epoch = other.lead("other", 0, clock.utc_now())
    finally:
        other.close()
    begun = clock.boot_seconds()
    led.loop.is_upkeep_due = True
    led.inbox.wake()
    assert wait_until(lambda: led.loop.epoch > epoch)
    assert clock.boot_seconds() - begun > 0.9


def files_of(led: Led, place: Path, failures: int) -> JobFiles:
    """Job files with a one-off, for which the ledger cannot be read the first times."""
    (place / "jobs.d").mkdir()
    (place / "jobs.d" / "jobs.toml").write_text(JOB)
    missing = [f"sqlite://{place}/none.db"] * failures

    def reader() -> LedgerReader:
        return open_reader(missing.pop() if missing else led.url)

    return JobFiles(
        place / "jobs.d",
        defaults=dict,
        inbox=led.inbox,
        loop=led.loop,
        trust=ClockTrust(0),
        open_reader=reader,
        has_boots=True,
    )


def test_a_reload_while_the_ledger_cannot_be_read_is_refused_and_ends_nothing(
    led: Led, tmp_path: Path
) -> None:
    files = files_of(led, tmp_path, failures=1)
    with pytest.raises(CommandError, match="the ledger cannot be read"):
        files.reload(20)
    assert files.reload(20).added == ["once"]


def test_a_first_table_that_could_not_be_read_is_read_again(led: Led, tmp_path: Path) -> None:
    files = files_of(led, tmp_path, failures=2)
    files.take_over(has_table=False)
    assert wait_until(lambda: files.is_settled)
