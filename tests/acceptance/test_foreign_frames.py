"""Whatever arrives on either socket that is not ours is counted and dropped, and the jobs go on."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from support.consul_agent import ConsulAgent
from support.fleet import Fleet, lines
from support.waiting import wait_until

from schedulerd.protocol.codec import MAGIC, VERSION, Envelope, encode
from schedulerd.protocol.messages import (
    Dispatch,
    Heartbeat,
    Hello,
    Inventory,
    Outcome,
    Result,
    ResultAck,
    Spec,
)

FRAMES = 10_000


@pytest.fixture
def fleet(tmp_path: Path, consul: ConsulAgent) -> Iterator[Fleet]:
    with Fleet(tmp_path, consul, "frames") as fleet:
        yield fleet


def junk(rng: random.Random) -> list[bytes]:
    """One message: random bytes, a torn or bent frame of ours, several parts, a large one, or a well-formed lie."""
    stranger = Envelope(rng.randrange(3), "stranger", "nonce", "", "")
    lies = (
        Result([Outcome("a@20261123T020000Z~0~1", "succeeded")]),
        Heartbeat(rng.randrange(99), 1, 1, 0, 0, 0),
        Inventory("x", 4, [], "1", 0, [], [], []),
        ResultAck(["x~0~1"]),
        Dispatch(
            [
                Spec(
                    "r",
                    "j",
                    0,
                    "UTC",
                    "argv",
                    ["touch", "/tmp/never"],
                    "",
                    [],
                    {},
                    None,
                    1,
                    1,
                    [0],
                    1,
                    1,
                    True,
                    False,
                )
            ],
            [],
        ),
    )
    frame = encode(stranger, rng.choice(lies))
    match rng.randrange(7):
        case 0:
            return [rng.randbytes(rng.randrange(300))]
        case 1:
            return [frame[: rng.randrange(len(frame))]]
        case 2:
            place = rng.randrange(len(frame))
            return [frame[:place] + rng.randbytes(1) + frame[place + 1 :]]
        case 3:
            return [rng.randbytes(9) for _ in range(rng.randrange(2, 9))]
        case 4:
            return [MAGIC + bytes((VERSION, rng.randrange(256))) + rng.randbytes(rng.randrange(5000))]
        case 5:
            return [MAGIC + bytes((VERSION, 36)) + b"\xdd\xff\xff\xff\xff" * rng.randrange(1, 50)]
        case _:
            return [frame]


def flood(endpoint: str, seed: int) -> None:
    """FRAMES messages of junk to a PULL socket, as fast as it takes them."""
    rng = random.Random(seed)
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.SNDTIMEO, 20_000)
        push.connect(endpoint)
        for _ in range(FRAMES):
            push.send_multipart(junk(rng))
        push.send(encode(Envelope(0, "stranger", "n", "", ""), Hello("tcp://127.0.0.1:1", "", 0, "x")))
        push.setsockopt(zmq.LINGER, 20_000)


def test_ten_thousand_foreign_frames_on_each_socket_change_nothing(fleet: Fleet, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    fleet.table(f"""
[job.tick]
every = "1s"
overlap = "allow"
command = "echo $SCHEDULERD_RUN_ID >> {seen}"
""")
    worker = fleet.start_worker("a")
    scheduler = fleet.start_scheduler()
    fleet.wait_ready("a")
    address = fleet.json("workers")["items"][0]["address"]
    assert wait_until(lambda: len(lines(seen)) >= 2, 30)

    flood(f"tcp://127.0.0.1:{fleet.results_port}", 1)
    flood(f"tcp://{address}", 2)
    before = len(lines(seen))
    assert wait_until(lambda: len(lines(seen)) >= before + 3, 60)
    assert scheduler.process.poll() is None
    assert worker.process.poll() is None
    assert fleet.ready_workers() == {"a"}
    assert not [run for run in fleet.json("runs", "tick")["items"] if run["state"] == "failed"]
    assert len(lines(seen)) == len(set(lines(seen)))
    for log in ("schedulerd.log", "a.log"):
        complaints = [line for line in (tmp_path / log).read_text().splitlines() if "frame" in line]
        assert 0 < len(complaints) < 60, complaints  # at most one a minute for each kind and peer
    metrics = fleet.ctl("version") and fleet.metrics()
    dropped = sum(
        float(line.rsplit(" ", 1)[1])
        for line in metrics.splitlines()
        if line.startswith("schedulerd_bad_frames_total")
    )
    assert dropped > FRAMES / 2
    scheduler.send(signal.SIGTERM)
    assert scheduler.wait() == 0
