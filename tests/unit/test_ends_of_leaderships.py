"""What is told of leaderships: each that began has one end, as an event and a count; what never began has none."""

from datetime import UTC, datetime
from pathlib import Path

from schedulerd.adapters.election_file import FileElection, FileLock
from schedulerd.daemon.succession import UNRECORDED, Succession
from schedulerd.protocol.leader_card import LeaderCard

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def make(place: Path) -> tuple[Succession, list[str]]:
    """One, and the reasons that it has counted."""
    lost: list[str] = []
    own = LeaderCard(id="1", name="alpha")
    return Succession(FileElection([FileLock(place)], own), own, lost.append), lost


def test_a_try_to_lead_that_failed_is_no_leadership_that_ended(tmp_path: Path) -> None:
    told, lost = make(tmp_path)
    assert not told.end("ledger", "it cannot be connected to", 0)
    told.begin(1, NOW, None, "")
    told.recorded()
    assert told.end("ledger", "the connection was lost", 1)
    for _ in range(3):  # it is still away
        assert not told.end("ledger", "it cannot be connected to", 1)
    assert lost == ["ledger"]
    lost_then, gained = told.begin(2, NOW, None, "")
    assert lost_then.detail == "alpha led in epoch 1 until now: ledger: the connection was lost"
    assert gained.detail == "alpha leads in epoch 2"


def test_the_ends_of_leaderships_whose_first_commit_failed_are_all_told_by_the_next(tmp_path: Path) -> None:
    told, lost = make(tmp_path)
    for epoch in (1, 2, 3):
        told.begin(epoch, NOW, None, "")
        told.end("ledger", "the first commit failed", epoch)
    events = told.begin(4, NOW, None, "")
    assert [event.detail.partition(" until")[0] for event in events[:-1]] == [
        f"alpha led in epoch {epoch}" for epoch in (1, 2, 3)
    ]
    assert len(lost) == 3
    told.recorded()
    assert told.farewell() == []


def test_no_more_ends_wait_to_be_told_than_a_memory_has_room_for(tmp_path: Path) -> None:
    told, _ = make(tmp_path)
    for epoch in range(1, UNRECORDED + 50):
        told.begin(epoch, NOW, None, "")
        told.end("ledger", "the first commit failed", epoch)
    assert len(told.farewell()) == UNRECORDED
