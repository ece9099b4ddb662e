"""A leader's sockets in a test's hands: it says what the test says, and keeps what the worker answers."""

import time
from types import TracebackType
from typing import Self, TypeVar

import zmq

from schedulerd.hostkit.clock import boot_ms
from schedulerd.protocol.codec import Envelope, Frame, decode, encode
from schedulerd.protocol.messages import (
    Dispatch,
    Heartbeat,
    Hello,
    Inventory,
    Message,
    Order,
    Outcome,
    Result,
    ResultAck,
    Spec,
)

T = TypeVar("T")


def spec(
    *argv: str, guarded: bool = False, timeout_ms: int = 60_000, kill_after_ms: int = 10_000, run: str = ""
) -> Spec:
    """A run of one program."""
    return Spec(
        run=run or "job@20261123T020000Z",
        job="job",
        fire_utc_us=1_795_399_200_000_000,
        timezone="UTC",
        kind="argv",
        argv=list(argv),
        text="",
        shell=[],
        env={},
        cwd=None,
        timeout_ms=timeout_ms,
        kill_after_ms=kill_after_ms,
        success_codes=[0],
        subtasks=1,
        output_limit=10_000,
        guarded=guarded,
        chunked=False,
    )


class ScriptedLeader:
    """Connected to one worker at `endpoint` (HOST:PORT), with a results socket of its own."""

    def __init__(self, endpoint: str, *, epoch: int = 1) -> None:
        self.epoch = epoch
        self.frames: list[Frame] = []  # all that came, in order
        self.worker = self.nonce = ""
        self._greetings = 0
        self._context = zmq.Context()
        self.push = self._context.socket(zmq.PUSH)
        self.push.setsockopt(zmq.IMMEDIATE, 1)
        self.push.setsockopt(zmq.LINGER, 0)
        self.push.setsockopt(zmq.SNDTIMEO, 30_000)
        self.push.setsockopt(zmq.RECONNECT_IVL, 20)
        self.push.connect(f"tcp://{endpoint}")
        self._pull = self._context.socket(zmq.PULL)
        self._pull.setsockopt(zmq.LINGER, 0)
        self._pull.bind("tcp://127.0.0.1:*")
        self.results = self._pull.getsockopt_string(zmq.LAST_ENDPOINT)

    def say(self, message: Message, *, nonce: str | None = None, epoch: int | None = None) -> None:
        """Send one frame to the worker, waiting until there is a connection."""
        envelope = Envelope(
            self.epoch if epoch is None else epoch,
            f"leader-{self.epoch}",
            "boot",
            self.worker,
            self.nonce if nonce is None else nonce,
        )
        self.push.send(encode(envelope, message))

    def greet(self, heard: int = 0) -> Inventory:
        """Say Hello until the worker answers with its Inventory; from then on frames bear its nonce.

        The link's name is a new one each time, so that an answer to an earlier greeting is not taken for this one's.
        """
        before = len(self.frames)
        self._greetings += 1
        link = f"greeting {self._greetings}"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.say(Hello(self.results, "", heard, link), nonce="")
            self._listen(500)
            for frame in self.frames[before:]:
                if isinstance(frame.message, Inventory) and frame.message.link == link:
                    self.worker, self.nonce = frame.envelope.sender, frame.envelope.sender_nonce
                    return frame.message
        raise AssertionError("no Inventory within 30 s")

    def order(self, attempt: str, position: int = 0, ttl_ms: int = 30_000) -> Order:
        """One attempt that may start within `ttl_ms` (this host's clock is the worker's)."""
        return Order(attempt, position, boot_ms() + ttl_ms, 1)

    def dispatch(self, what: Spec, *attempts: str) -> None:
        """Hand over attempts of one run."""
        self.say(Dispatch([what], [self.order(attempt) for attempt in attempts]))

    def acknowledge(self, *attempts: str) -> None:
        """Say that these are in the ledger."""
        self.say(ResultAck(list(attempts)))

    def wait_for(self, kind: type[T], seconds: float = 30.0, *, since: int = 0) -> T:
        """The first message of this kind from frame number `since` on."""
        deadline = time.monotonic() + seconds
        while True:
            for frame in self.frames[since:]:
                if isinstance(frame.message, kind):
                    return frame.message
            if time.monotonic() > deadline:
                raise AssertionError(f"no {kind.__name__} within {seconds:g} s")
            self._listen(200)

    def outcome(self, attempt: str, seconds: float = 30.0, *, since: int = 0) -> Outcome:
        """How this attempt ended, as the first Result from frame number `since` on says."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.outcomes(since)
            if attempt in found:
                return found[attempt]
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"no result of {attempt} within {seconds:g} s; there are {sorted(found)}"
                )
            self._listen(200)

    def outcomes(self, since: int = 0) -> dict[str, Outcome]:
        """Every outcome told from frame number `since` on."""
        told: dict[str, Outcome] = {}
        for frame in self.frames[since:]:
            if isinstance(frame.message, Result):
                for outcome in frame.message.outcomes:
                    told.setdefault(outcome.attempt, outcome)
        return told

    def echo(self) -> None:
        """Say Hello with the newest beat heard, as a leader does every 2 s."""
        beats = [frame.message.number for frame in self.frames if isinstance(frame.message, Heartbeat)]
        self.say(Hello(self.results, "", max(beats, default=0)))

    def listen(self, ms: int = 0) -> None:
        """Take in what has come, waiting at most so long for the first."""
        self._listen(ms)

    def close(self) -> None:
        """Close both sockets."""
        self.push.close(linger=0)
        self._pull.close(linger=0)
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self, ms: int) -> None:
        if not self._pull.poll(ms):
            return
        while True:
            try:
                self.frames.append(decode(self._pull.recv_multipart(zmq.NOBLOCK)))
            except zmq.Again:
                return
