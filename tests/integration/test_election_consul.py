"""The election by Consul: hand-over, lock-delay, quick restarts, a Consul that is gone, forgets or never answers."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs
from support.consul_agent import ConsulAgent
from support.elections import TERMS, card, cluster_of, consul_election
from support.waiting import wait_until

from schedulerd.adapters.election_consul import ConsulElection
from schedulerd.adapters.election_consul.others import Others
from schedulerd.daemon.succession import Succession
from schedulerd.hostkit.clock import boot_seconds, utc_now
from schedulerd.hostkit.consul_client import ConsulClient, ConsulError
from schedulerd.protocol import consul_names
from schedulerd.protocol.leader_card import LeaderCard, card_in, value_of

Make = Callable[..., ConsulElection]

# an election in a process of its own that can be stopped and killed; prints a line when it leads and when it does not
PROGRAM = """
import sys, pathlib, threading
from schedulerd.adapters.election_consul import ConsulElection
from schedulerd.hostkit.consul_client import ConsulClient
from schedulerd.protocol.leader_card import LeaderCard
from schedulerd.protocol.timing import ElectionTerms
address, cluster, directory, value = sys.argv[1:5]
import msgspec
election = ConsulElection(lambda s: ConsulClient(address, timeout_seconds=s), cluster,
    msgspec.json.decode(value, type=LeaderCard), ElectionTerms(*[], **msgspec.json.decode(sys.argv[5])),
    pathlib.Path(directory))
changed = threading.Event()
election.start(changed.set)
led = None
while True:
    lease = election.lease
    leads = lease is not None and lease.holds()
    if leads != led:
        led = leads
        print("leads" if leads else "stands", flush=True)
    changed.wait(0.02)
    changed.clear()
"""


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[ConsulElection] = []

    def one(
        consul: ConsulAgent, name: str, *, start: bool = True, own: LeaderCard | None = None
    ) -> ConsulElection:
        made.append(consul_election(consul, request, tmp_path, name, own=own))
        if start:
            made[-1].start(lambda: None)
        return made[-1]

    yield one
    for election in made:
        election.stop()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return consul_names.leader_key(cluster_of(request))


def leads(election: ConsulElection) -> bool:
    return election.lease is not None and election.lease.holds()


def wait_leads(election: ConsulElection, seconds: float = 20.0) -> None:
    assert wait_until(lambda: leads(election), seconds, every=0.002), election.trouble


@contextmanager
def process(consul: ConsulAgent, cluster: str, place: Path, name: str) -> "Iterator[subprocess.Popen[str]]":
    """An election as a process, which ends with the block however that ends."""
    (place / name).mkdir(exist_ok=True)
    terms = ",".join(f'"{field}":{getattr(TERMS, field)}' for field in TERMS.__struct_fields__)
    words = [
        sys.executable,
        "-c",
        PROGRAM,
        consul.address,
        cluster,
        place / name,
        value_of(card(name)),
        f"{{{terms}}}",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as found:
        try:
            yield found
        finally:
            found.kill()


def says(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"


def test_a_leader_that_stops_is_followed_within_a_second(consul: ConsulAgent, make: Make, key: str) -> None:
    first = make(consul, "alpha")
    wait_leads(first)
    second = make(consul, "beta")
    assert wait_until(lambda: second.leader == card("alpha"), 20)
    began = boot_seconds()
    first.stop()
    wait_leads(second)
    assert boot_seconds() - began < 1.0
    _, entry = consul.client().read_key(key)
    assert entry is not None
    assert card_in(entry.value) == card("beta")
    assert not any("alpha" in name for name in consul.client().session_names() if key.split("/")[1] in name)


def test_one_that_gave_up_leaves_the_lead_to_a_standby_and_can_get_it_back(
    consul: ConsulAgent, make: Make
) -> None:
    first = make(consul, "alpha")
    wait_leads(first)
    second = make(consul, "beta")
    assert wait_until(lambda: second.leader is not None, 20)
    began = boot_seconds()
    assert first.give_up("asked to", 30.0)
    assert not leads(first)
    wait_leads(second)
    assert boot_seconds() - began < 1.0
    assert wait_until(lambda: first.leader is not None and first.leader.name == "beta", 20)
    second.stop()
    wait_leads(first, 5.0)  # its 30 s aside ended when another led


def test_without_a_standby_one_that_gave_up_leads_again_after_a_while(
    consul: ConsulAgent, make: Make
) -> None:
    only = make(consul, "alpha")
    wait_leads(only)
    began = boot_seconds()
    only.give_up("asked to", 1.0)
    wait_leads(only)
    assert 0.9 <= boot_seconds() - began < 5.0


def test_after_kill_9_a_standby_leads_within_two_ttls_and_the_lock_delay_and_not_before_the_delay(
    consul: ConsulAgent, make: Make, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with process(consul, cluster_of(request), tmp_path, "alpha") as first:
        says(first, "stands")
        says(first, "leads")
        second = make(consul, "beta")
        assert wait_until(lambda: second.leader is not None, 20)
        began = boot_seconds()
        first.kill()
        wait_leads(second)
        took = boot_seconds() - began
    assert took <= 2 * TERMS.ttl + TERMS.lock_delay + 0.3  # a look at the clock and a poll
    assert took >= TERMS.lock_delay


def test_a_quick_restart_after_kill_9_takes_its_session_up_again_and_leads_at_once(
    consul: ConsulAgent, make: Make, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with process(consul, cluster_of(request), tmp_path, "alpha") as first:
        says(first, "stands")
        says(first, "leads")
        first.kill()
    began = boot_seconds()
    again = make(consul, "alpha")
    wait_leads(again)
    assert boot_seconds() - began < TERMS.lock_delay


def test_a_copied_state_directory_does_not_bring_the_session_with_it(
    consul: ConsulAgent, make: Make, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    first = make(consul, "alpha")
    wait_leads(first)
    shutil.copytree(tmp_path / "alpha", tmp_path / "copy")
    second = make(consul, "copy")
    assert wait_until(lambda: second.leader is not None, 20)
    assert second.leader == card("alpha")
    assert not leads(second)
    assert leads(first)


def test_a_stopped_process_finds_its_lease_over_when_it_wakes_up(
    consul: ConsulAgent, make: Make, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with process(consul, cluster_of(request), tmp_path, "alpha") as first:
        says(first, "stands")
        says(first, "leads")
        second = make(consul, "beta")
        assert wait_until(lambda: second.leader is not None, 20)
        first.send_signal(signal.SIGSTOP)
        wait_leads(second)
        first.send_signal(signal.SIGCONT)
        says(first, "stands")
        assert leads(second)
        first.kill()


def test_a_lease_ends_by_our_clock_when_consul_is_gone(own_consul: ConsulAgent, make: Make) -> None:
    only = make(own_consul, "alpha")
    wait_leads(only)
    lease = only.lease
    assert lease is not None
    own_consul.kill()
    began = boot_seconds()
    assert wait_until(lambda: not lease.holds(), 20, every=0.002)
    assert boot_seconds() - began <= TERMS.lease + 0.1
    assert lease.lost == "the lease ran out"
    assert wait_until(lambda: own_consul.address in only.trouble, 20)
    own_consul.start()
    wait_leads(only, 60)
    assert only.lease is not lease
    assert wait_until(lambda: only.trouble == "", 20)


def test_a_consul_that_takes_calls_and_never_answers_ends_the_lease_in_time(
    consul: ConsulAgent, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    is_dumb = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as dumb:
        address = f"http://127.0.0.1:{dumb.getsockname()[1]}"

        class Fickle(ConsulClient):
            def renew_session(self, session: str) -> bool:
                return (silent if is_dumb.is_set() else super()).renew_session(session)

        silent = ConsulClient(address, timeout_seconds=0.35)
        election = ConsulElection(
            lambda seconds: Fickle(consul.address, timeout_seconds=seconds),
            cluster_of(request),
            card("alpha"),
            TERMS,
            tmp_path,
        )
        election.start(lambda: None)
        try:
            wait_leads(election)
            lease = election.lease
            assert lease is not None
            is_dumb.set()
            began = boot_seconds()
            assert wait_until(lambda: not lease.holds(), 20, every=0.002)
            assert (
                boot_seconds() - began <= TERMS.lease + 0.5
            )  # it ends by the clock; we look when we are let
        finally:
            election.stop()


def test_a_consul_that_forgot_everything_ends_the_leadership_and_elects_anew(
    own_consul: ConsulAgent, make: Make
) -> None:
    first, second = make(own_consul, "alpha"), make(own_consul, "beta")
    assert wait_until(lambda: leads(first) or leads(second), 20)
    old = first.lease if leads(first) else second.lease
    assert old is not None
    own_consul.stop()
    own_consul.start()
    assert wait_until(lambda: not old.holds(), 30)
    assert wait_until(lambda: leads(first) != leads(second), 30)
    winner, other = (first, second) if leads(first) else (second, first)
    assert wait_until(lambda: other.leader is not None and other.leader.name == winner._card.name, 20)


def test_a_consul_that_comes_back_with_its_data_keeps_the_leader(
    consul_program: Path, make: Make, tmp_path: Path
) -> None:
    with ConsulAgent(consul_program, tmp_path, keeps_data=True) as agent:
        only = make(agent, "alpha")
        wait_leads(only)
        agent.kill()
        assert wait_until(lambda: not leads(only), 20)
        agent.start()
        wait_leads(only, 30)
        names = agent.client().session_names()
        assert len(names) == 1, names  # the session it had, taken up again or renewed
        only.stop()


def test_a_lock_that_is_taken_away_ends_the_lease_at_once(consul: ConsulAgent, make: Make, key: str) -> None:
    only = make(consul, "alpha")
    wait_leads(only)
    lease = only.lease
    assert lease is not None
    client = consul.client()
    _, entry = client.read_key(key)
    assert entry is not None
    assert client.release_key(key, b"", entry.session)
    assert wait_until(lambda: not lease.holds(), 5)
    assert lease.lost == "the lock in Consul is not ours any more"
    wait_leads(only)  # it is free, and it is still a candidate


def test_a_session_that_an_operator_ends_ends_the_lease_and_costs_the_lock_delay(
    consul: ConsulAgent, make: Make, key: str
) -> None:
    only = make(consul, "alpha")
    wait_leads(only)
    lease = only.lease
    assert lease is not None
    client = consul.client()
    _, entry = client.read_key(key)
    assert entry is not None
    client.destroy_session(entry.session)
    began = boot_seconds()
    assert wait_until(lambda: not lease.holds(), 5)
    wait_leads(only)
    assert boot_seconds() - began >= TERMS.lock_delay - 0.3


def test_others_learn_of_the_epoch_and_who_stands_by(consul: ConsulAgent, make: Make) -> None:
    first = make(consul, "alpha")
    wait_leads(first)
    second = make(consul, "beta")
    first.announce(card("alpha", epoch=12, since="2026-11-24T02:00:00Z"))
    assert wait_until(lambda: second.leader is not None and second.leader.epoch == 12, 20)
    assert wait_until(lambda: second.standbys == ("beta",), 20)


def test_who_leads_is_no_standby_even_if_it_led_later_than_it_was_looked_for(
    consul: ConsulAgent, request: pytest.FixtureRequest
) -> None:
    others, client = Others(cluster_of(request)), consul.client()
    assert others.names("") is None
    name = consul_names.session_name(cluster_of(request), "id-of-alpha", "alpha")
    session = client.create_session(name, ttl_seconds=30, lock_delay_seconds=1)
    others.look(client)
    client.destroy_session(session)
    assert others.names("") == ("alpha",)
    assert others.names("id-of-alpha") == ()


def test_one_that_was_elected_and_never_began_to_lead_is_not_whom_the_next_leader_follows(
    consul: ConsulAgent, make: Make
) -> None:
    first = make(consul, "alpha")
    wait_leads(first)
    second = make(consul, "beta")
    assert wait_until(lambda: second.leader is not None, 20)
    first.stop()
    wait_leads(second)
    told = Succession(second, card("beta"), lambda reason: None)
    assert [event.detail for event in told.begin(7, utc_now(), None, "")] == ["beta leads in epoch 7"]


@pytest.mark.parametrize("is_live", [True, False], ids=["leads", "led-before"])
def test_sqlite_on_another_host_is_refused_in_one_sentence(
    consul: ConsulAgent, make: Make, key: str, is_live: bool
) -> None:
    elsewhere = card("alpha", host="another", boot="another")
    first = make(consul, "alpha", own=elsewhere)
    wait_leads(first)
    if not is_live:
        first.stop()
    second = make(consul, "beta")
    assert wait_until(lambda: second.fault != "", 20)
    assert second.fault == (
        f'[ledger] url: a SQLite ledger serves one host, and that of cluster "{key.split("/")[1]}" is on another, '
        "alpha (alpha.example:7480): use postgresql:// for schedulers on several hosts, or, if the ledger has moved "
        f"here for good, delete the key {key} in Consul; this schedulerd takes no part"
    )
    assert not leads(second)


def test_another_ledger_than_the_leaders_is_refused(consul: ConsulAgent, make: Make) -> None:
    first = make(consul, "alpha", own=card("alpha", ledger="postgresql"))
    wait_leads(first)
    second = make(consul, "beta")
    assert wait_until(lambda: second.fault != "", 20)
    assert "all schedulers of a cluster share one ledger" in second.fault


def test_a_scheduler_that_moved_with_its_state_directory_is_not_refused(
    consul: ConsulAgent, make: Make
) -> None:
    before = make(consul, "alpha", own=card("alpha", host="another", boot="another"))
    wait_leads(before)
    before.stop()
    wait_leads(make(consul, "alpha"))


def test_after_a_reboot_of_the_same_host_it_is_not_refused(consul: ConsulAgent, make: Make) -> None:
    before = make(consul, "alpha", own=card("alpha", boot="another"))
    wait_leads(before)
    second = make(consul, "beta")
    assert wait_until(lambda: second.leader is not None, 20)
    assert second.fault == ""


def test_a_ttl_that_consul_does_not_take_is_told_in_its_words(consul: ConsulAgent) -> None:
    with pytest.raises(ConsulError, match=r"did not create a session: \d+ Invalid Session TTL"):
        consul.client().create_session("short", ttl_seconds=0.5, lock_delay_seconds=1)


def test_a_session_nobody_knows_is_not_renewed_and_locks_nothing(consul: ConsulAgent, key: str) -> None:
    client = consul.client()
    assert not client.renew_session("00000000-0000-0000-0000-000000000000")
    with pytest.raises(ConsulError, match=f"did not lock {key}: "):
        client.acquire_key(key, b"x", "00000000-0000-0000-0000-000000000000")
    assert client.read_key(key)[1] is None


def test_a_key_is_locked_by_one_session_and_freed_without_delay_by_a_release(
    consul: ConsulAgent, key: str
) -> None:
    client = consul.client()
    one, two = (client.create_session(name, ttl_seconds=30, lock_delay_seconds=10) for name in ("one", "two"))
    assert client.acquire_key(key, b"1", one)
    assert not client.acquire_key(key, b"2", two)
    assert not client.release_key(key, b"2", two)
    assert client.acquire_key(key, b"1b", one)
    _, entry = client.read_key(key)
    assert entry is not None
    assert (entry.value, entry.session) == (b"1b", one)
    assert client.release_key(key, b"", one)
    assert client.acquire_key(key, b"2", two)
    client.destroy_session(two)  # with its lock: now the delay counts
    assert not client.acquire_key(key, b"1", one)
    client.destroy_session(one)


def test_a_value_of_another_kind_is_no_card() -> None:
    assert card_in(b"") is None
    assert card_in(b"\xff") is None
    assert card_in(b"[]") is None
    assert card_in(b'{"id": "x", "name": "y", "later": [1]}') == LeaderCard(id="x", name="y")
    known = structs.replace(card("alpha"), epoch=3)
    assert card_in(value_of(known)) == known


def test_a_thread_of_the_election_that_fails_ends_the_lease_and_is_a_fault(
    consul: ConsulAgent, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    is_broken = threading.Event()

    class Broken(ConsulClient):
        def renew_session(self, session: str) -> bool:
            if is_broken.is_set():
                raise RuntimeError("a fault of ours")
            return super().renew_session(session)

    election = ConsulElection(
        lambda seconds: Broken(consul.address, timeout_seconds=seconds),
        cluster_of(request),
        card("alpha"),
        TERMS,
        tmp_path,
    )
    election.start(lambda: None)
    try:
        wait_leads(election)
        lease = election.lease
        assert lease is not None
        is_broken.set()
        assert wait_until(lambda: election.fault != "", 20)
        assert election.fault == "the election has ended: RuntimeError: a fault of ours"
        assert lease.lost == "the election has ended"
    finally:
        election.stop()
