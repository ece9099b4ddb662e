"""A real loop whose leadership ends before its first round: its begin is in the ledger all the same, and its end."""

from pathlib import Path

from support.elections import card
from support.waiting import wait_until

from schedulerd.adapters.election_file import FileElection, FileLock
from schedulerd.adapters.ledger.base import Ledger
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.loop import Loop
from schedulerd.protocol.api_types import EventQuery
from schedulerd.protocol.timing import Timing


def test_a_leadership_that_is_ended_as_it_begins_is_told_from_its_begin_to_its_end(tmp_path: Path) -> None:
    url, inbox, own = f"sqlite://{tmp_path}/ledger.db", Inbox(), card("alpha")
    lost: list[str] = []

    def open_and_ask_for_the_end() -> Ledger:
        if not lost:
            loop.step_down("somebody")
        return open_ledger(url)

    election = FileElection([FileLock(tmp_path)], own)
    loop = Loop(
        open_ledger=open_and_ask_for_the_end,
        election=election,
        inbox=inbox,
        card=own,
        listen="tcp://127.0.0.1:*",
        advertise="",
        output="",
        timing=Timing(),
        trust=ClockTrust(0),
        on_lost=lost.append,
    )
    election.start(inbox.wake)
    loop.start()
    try:
        assert wait_until(lambda: loop.is_leading)
    finally:
        loop.stop()
        election.stop()
    reader = open_reader(url)
    try:
        events = reader.find_events(EventQuery(types=("leader_gained", "leader_lost"), after=0, limit=10))
    finally:
        reader.close()
    assert [(event.type, event.epoch) for event in events] == [
        ("leader_gained", 1),
        ("leader_lost", 1),
        ("leader_gained", 2),
        ("leader_lost", 2),
    ]
    assert lost == ["stepped_down", "stopping"]
