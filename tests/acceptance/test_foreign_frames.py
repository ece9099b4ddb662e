"""Whatever arrives on either socket that is not ours is refused, counted and forgotten, and the jobs go on.

`make fuzz FRAMES=1000000` sends more of it; a seed that found something stays here as a test of its own.
"""

import re
import signal
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
import zmq
from support.bent_frames import Bender
from support.consul_agent import ConsulAgent
from support.fleet import Fleet, lines
from support.flood import BROKEN, Host, Watched, flood, raw_connections
from support.waiting import wait_until

from schedulerd.protocol.codec import Envelope, encode
from schedulerd.protocol.messages import Hello, Message, Refused

GROWTH_MB = 64.0  # what a flood of small frames may add to a daemon, however many they are
LARGE_GROWTH_MB = 400.0  # what frames of the largest size may add for a while
LATE_SECONDS = 6.0  # from a fire time to its process, while two cores are busy with a flood
HOPS = (
    5  # processes that must have their turn in between; on a starved machine each waits as long as any other
)


HOST = Host()


@pytest.fixture(scope="module", autouse=True)
def _host() -> Iterator[None]:
    with HOST:
        yield


@pytest.fixture
def fleet(tmp_path: Path, consul: ConsulAgent) -> Iterator[Fleet]:
    """One that the test may end."""
    yield from ticking(tmp_path, consul, f"frames-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, consul: ConsulAgent) -> Iterator[Fleet]:
    """One for all tests that leave it as it was."""
    yield from ticking(tmp_path_factory.mktemp("shared"), consul, "frames-shared")


def ticking(place: Path, consul: ConsulAgent, cluster: str) -> Iterator[Fleet]:
    """A scheduler, a worker, and a job every second that writes down when it ran."""
    with Fleet(place, consul, cluster) as fleet:
        fleet.table(f"""
[job.tick]
every = "1s"
overlap = "allow"
command = "echo $SCHEDULERD_FIRE_TIME $(date +%s.%N) >> {place / "seen"}"
""")
        fleet.start_worker("a")
        fleet.start_scheduler()
        fleet.wait_ready("a")
        assert wait_until(lambda: len(ticks(fleet)) >= 2, 30)
        yield fleet


def ticks(fleet: Fleet) -> dict[str, float]:
    """How many seconds after its fire time each tick ran; a tick that ran twice fails."""
    late: dict[str, float] = {}
    for line in lines(fleet.place / "seen"):
        fire_time, _, ran_at = line.partition(" ")
        assert fire_time not in late, f"{fire_time} ran twice"
        late[fire_time] = float(ran_at) - datetime.fromisoformat(fire_time).timestamp()
    return late


def still_served(fleet: Fleet, since: float) -> None:
    """Ticks came on time ever since, go on, and nothing has ended that should not."""
    before = len(ticks(fleet))
    assert wait_until(lambda: len(ticks(fleet)) >= before + 3, 60)
    late = ticks(fleet)
    instants = sorted(datetime.fromisoformat(text).timestamp() for text in late)
    assert all(later - one < 1.5 for one, later in pairwise(instants)), instants
    worst = max(late.items(), key=lambda item: item[1])
    assert worst[1] < LATE_SECONDS + HOPS * HOST.worst, (worst, HOST.worst)
    assert time.time() - since < len(late) + 30, "ticks stood still"
    assert fleet.scheduler is not None
    assert fleet.scheduler.process.poll() is None
    assert fleet.workers["a"].process.poll() is None
    assert wait_until(lambda: fleet.ready_workers() == {"a"}, 30)
    assert not [run for run in fleet.json("runs", "tick")["items"] if run["state"] == "failed"]


def dropped(fleet: Fleet) -> float:
    """Frames that the scheduler says it did not act on."""
    found = [line for line in fleet.metrics().splitlines() if line.startswith("schedulerd_bad_frames_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def counted(fleet: Fleet) -> dict[str, int]:
    """What the worker has counted, as its log says when it ends."""
    worker = fleet.workers["a"]
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    (line,) = [line for line in lines(fleet.place / "a.log") if "counted since the start" in line]
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line.partition("start")[2])}


def about_frames(fleet: Fleet, log: str) -> list[str]:
    """Lines of a log that complain."""
    return [
        line for line in lines(fleet.place / log) if re.search("frame|peer=|told so|new leader|leading", line)
    ]


def worker_of(fleet: Fleet) -> tuple[str, str]:
    """(address, id) of the worker."""
    (worker,) = fleet.json("workers")["items"]
    return worker["address"], worker["id"]


def own_id(fleet: Fleet) -> str:
    """The scheduler's own id."""
    (path,) = (fleet.place / "schedulerd").glob("*id*")
    return path.read_text().strip()


def test_a_flood_of_bent_frames_to_the_scheduler_changes_nothing(fleet: Fleet, frames: int) -> None:
    assert fleet.scheduler is not None
    address, worker = worker_of(fleet)
    watched = Watched(fleet.scheduler.pid)
    since = time.time() - len(ticks(fleet))
    count = frames // 2
    bender = Bender(1, (worker, address))
    lost = BROKEN * flood(f"tcp://127.0.0.1:{fleet.results_port}", bender.message, count, watched)
    assert wait_until(lambda: dropped(fleet) >= count - lost, 120), f"{dropped(fleet)} of {count} counted"
    watched.look()
    still_served(fleet, since)
    assert count - lost <= dropped(fleet) <= count
    assert watched.growth < GROWTH_MB
    assert 0 < len(about_frames(fleet, "schedulerd.log")) < 60 + frames / 5_000
    assert max(len(line) for line in lines(fleet.place / "schedulerd.log")) < 1000
    fleet.scheduler.send(signal.SIGTERM)
    assert fleet.scheduler.wait() == 0


def test_a_flood_of_bent_frames_to_a_worker_changes_nothing(fleet: Fleet, frames: int) -> None:
    address, worker = worker_of(fleet)
    watched = Watched(fleet.workers["a"].pid)
    since = time.time() - len(ticks(fleet))
    count = frames // 2
    bender = Bender(2, (worker, own_id(fleet), address))
    lost = BROKEN * flood(f"tcp://{address}", bender.message, count, watched)
    still_served(fleet, since)
    watched.look()
    assert watched.growth < GROWTH_MB
    assert 0 < len(about_frames(fleet, "a.log")) < 100 + frames / 2_000
    assert max(len(line) for line in lines(fleet.place / "a.log")) < 1000
    found = counted(fleet)
    refused = sum(
        number for name, number in found.items() if name.startswith(("frames_", "refused_", "hellos_"))
    )
    assert refused + found["hellos"] >= count - lost, (
        found
    )  # a Hello of a higher epoch is believed: see below
    assert refused >= count * 0.99 - lost, found


def forge(fleet: Fleet, endpoint: str, *frames: tuple[Envelope, Message]) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 30_000)
        push.connect(endpoint)
        for envelope, message in frames:
            push.send(encode(envelope, message))


def test_a_forged_leader_holds_a_worker_no_longer_than_a_beat(shared: Fleet) -> None:
    """Without keys anybody can say a higher epoch; the leader hears of it and takes a higher one."""
    address, worker = worker_of(shared)
    since = time.time() - len(ticks(shared))
    epoch = shared.json("status")["epoch"]
    liar = Envelope(epoch + 5, "liar", "n", worker, "")
    forge(shared, f"tcp://{address}", (liar, Hello("tcp://127.0.0.1:9", "", 0, "x")))
    assert wait_until(lambda: shared.json("status")["epoch"] == epoch + 6, 60)
    still_served(shared, since)


def test_an_epoch_that_no_ledger_can_have_reached_is_not_believed(fleet: Fleet) -> None:
    address, worker = worker_of(fleet)
    since = time.time() - len(ticks(fleet))
    epoch = fleet.json("status")["epoch"]
    for most in (1 << 53, (1 << 53) - 1):
        forge(
            fleet,
            f"tcp://{address}",
            (Envelope(most, "l", "n", worker, ""), Hello("tcp://127.0.0.1:9", "", 0)),
        )
        told = (Envelope(most, worker, "n", own_id(fleet), ""), Refused([], most))
        forge(fleet, f"tcp://127.0.0.1:{fleet.results_port}", told)
    assert wait_until(lambda: dropped(fleet) == 2, 30)
    still_served(fleet, since)
    assert fleet.json("status")["epoch"] == epoch
    assert counted(fleet)["frames_epoch_out_of_reach"] == 2


def test_a_stranger_cannot_make_the_leader_step_down(shared: Fleet) -> None:
    since = time.time() - len(ticks(shared))
    epoch = shared.json("status")["epoch"]
    before = dropped(shared)
    strangers = [(Envelope(epoch + n, "x", "n", "nobody", ""), Refused([], epoch + n)) for n in range(1, 50)]
    forge(shared, f"tcp://127.0.0.1:{shared.results_port}", *strangers)
    assert wait_until(lambda: dropped(shared) - before == 49, 30)
    still_served(shared, since)
    assert shared.json("status")["epoch"] == epoch


def test_hellos_with_many_made_up_endpoints_open_few_sockets_and_write_few_lines(fleet: Fleet) -> None:
    address, worker = worker_of(fleet)
    since = time.time() - len(ticks(fleet))
    watched = Watched(fleet.workers["a"].pid)
    before = watched.descriptors()
    hellos = [
        (Envelope(0, f"l{n}", "n", worker, ""), Hello(f"tcp://127.0.0.1:{1024 + n}", "", 0))
        for n in range(5000)
    ]
    forge(fleet, f"tcp://{address}", *hellos)
    still_served(fleet, since)
    assert watched.descriptors() < before + 60
    assert len(about_frames(fleet, "a.log")) < 40
    assert counted(fleet)["refused_stale"] == 5000


def test_frames_up_to_the_largest_size_and_beyond(shared: Fleet) -> None:
    assert shared.scheduler is not None
    address, worker = worker_of(shared)
    since = time.time() - len(ticks(shared))
    bender = Bender(3, (worker,))
    ends = (
        (f"tcp://127.0.0.1:{shared.results_port}", 8 << 20, shared.scheduler.pid),
        (f"tcp://{address}", 4 << 20, shared.workers["a"].pid),
    )
    for endpoint, most, pid in ends:
        watched = Watched(pid)
        for size in (most // 2, most - 1, most, most + 1, most + 1, 4 * most):
            for _ in range(2):
                flood(endpoint, lambda size=size: [bender.large(size)], 4, watched)  # type: ignore[misc]
        assert watched.growth < LARGE_GROWTH_MB
    still_served(shared, since)


def test_connections_that_speak_no_zeromq_or_only_begin_to(shared: Fleet) -> None:
    assert shared.scheduler is not None
    address, _ = worker_of(shared)
    since = time.time() - len(ticks(shared))
    watched = [Watched(shared.scheduler.pid), Watched(shared.workers["a"].pid)]
    before = [process.descriptors() for process in watched]
    said = {log: len(about_frames(shared, log)) for log in ("schedulerd.log", "a.log")}
    for port in (shared.results_port, int(address.rpartition(":")[2])):
        with raw_connections(port, 400, port):
            still_served(shared, since)
    for process, descriptors in zip(watched, before, strict=True):
        assert wait_until(lambda p=process, d=descriptors: p.descriptors() <= d + 8, 60)  # type: ignore[misc]
        process.look()
        assert process.growth < GROWTH_MB
    for log in said:
        assert len(about_frames(shared, log)) - said[log] < 40
