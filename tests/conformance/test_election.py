"""One suite for both elections: one leads, its lease holds, and when it stops the next one can lead."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.elections import TERMS, card, consul_election
from support.waiting import wait_until

from schedulerd.adapters.election import Election, who_leads
from schedulerd.adapters.election_file import FileElection, FileLock
from schedulerd.errors import SettingsError

Make = Callable[[str], Election]


@pytest.fixture(params=["file", "consul"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes an election for a scheduler of this name; all of one test are rivals."""
    made: list[Election] = []

    def one(name: str) -> Election:
        if request.param == "file":
            (tmp_path / "shared").mkdir(exist_ok=True)
            made.append(FileElection([FileLock(tmp_path / "shared")], card(name)))
        else:
            made.append(consul_election(request.getfixturevalue("consul"), request, tmp_path, name))
        return made[-1]

    yield one
    for election in made:
        election.stop()


def leads(election: Election) -> bool:
    return election.lease is not None and election.lease.holds()


def started(election: Election) -> Election:
    election.start(lambda: None)
    assert wait_until(lambda: leads(election), 20)
    return election


def test_the_only_one_leads_and_says_who_it_is(make: Make) -> None:
    changed = threading.Event()
    election = make("alpha")
    assert election.lease is None
    election.start(changed.set)
    assert changed.wait(20)
    assert wait_until(lambda: leads(election), 20)
    assert election.leader is not None
    assert election.leader.name == "alpha"
    assert not election.fault


def test_it_leads_far_longer_than_one_lease_would_last(make: Make) -> None:
    election = started(make("alpha"))
    lease = election.lease
    assert lease is not None
    assert not wait_until(lambda: not lease.holds(), 2.5 * TERMS.lease)
    assert election.lease is lease


def test_a_second_one_does_not_lead_beside_the_first(make: Make) -> None:
    started(make("alpha"))
    second = make("beta")
    if second.kind == "file":  # the lock on a directory lets nobody even start
        with pytest.raises(SettingsError, match="holds the lock"):
            second.start(lambda: None)
    else:
        second.start(lambda: None)
        assert wait_until(lambda: second.leader is not None, 20)
        assert second.leader is not None
        assert second.leader.name == "alpha"
        assert "the leader is alpha" in who_leads(second)
    assert not leads(second)


def test_when_it_stops_its_lease_is_over_and_the_next_can_lead(make: Make) -> None:
    first = started(make("alpha"))
    lease = first.lease
    assert lease is not None
    first.stop()
    assert not lease.holds()
    assert lease.lost == "schedulerd is stopping"
    second = started(make("beta"))
    assert second.leader is not None
    assert second.leader.name == "beta"


def test_what_is_announced_is_what_is_known_of_the_leader(make: Make) -> None:
    election = started(make("alpha"))
    election.announce(card("alpha", epoch=7))
    assert election.leader is not None
    assert election.leader.epoch == 7


def test_a_stop_before_the_start_and_a_second_stop_are_fine(make: Make) -> None:
    make("alpha").stop()
    election = started(make("beta"))
    election.stop()
    election.stop()


def test_a_lease_that_ran_out_stays_over(make: Make) -> None:
    election = started(make("alpha"))
    lease = election.lease
    assert lease is not None
    lease.end("because")
    lease.extend(1e12, 10.0)
    assert not lease.holds()
    assert lease.left() == 0.0
    assert lease.lost == "because"


def test_giving_up_ends_the_lease_only_where_another_could_lead(make: Make) -> None:
    election = started(make("alpha"))
    lease = election.lease
    assert lease is not None
    assert election.give_up("asked to", 0.5) == (election.kind == "consul")
    assert lease.holds() == (election.kind == "file")
    assert wait_until(lambda: leads(election), 20)  # nobody else is there


def test_the_end_of_the_process_frees_the_lock_of_a_directory(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from schedulerd.adapters.election_file import FileLock\n"
        "print(FileLock(pathlib.Path(sys.argv[1])).acquire(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        election = FileElection([FileLock(tmp_path)], card("alpha"))
        with pytest.raises(SettingsError, match=f"process {other.pid} holds the lock"):
            election.start(lambda: None)
        other.kill()
        other.wait()
    started(election).stop()
