"""One frame of every type, with every field filled: what golden bytes and fuzzers start from. Sends nothing."""

from schedulerd.protocol.codec import Envelope
from schedulerd.protocol.messages import (
    Accepted,
    Cancel,
    Cancellation,
    Captured,
    Counted,
    Dispatch,
    Drain,
    Heartbeat,
    Hello,
    Inventory,
    Message,
    Order,
    Outcome,
    OutputChunk,
    ReadOutput,
    Reconcile,
    Refusal,
    Refused,
    Result,
    ResultAck,
    Revoke,
    Spec,
    Start,
    Started,
    Usage,
)

ATTEMPT = "backup@20261123T020000Z~0~1"
OTHER = "backup@20261123T020000.25Z-m0a1b2c3d~-1~2"
NOON_MS = 1_795_399_200_000
COUNTS = Counted(1, 2, 3, 4, 5, 6)

TO_WORKER = Envelope(7, "leader-id", "leader-nonce", "worker-id", "worker-nonce")
TO_LEADER = Envelope(7, "worker-id", "worker-nonce", "leader-id", "")

SPEC = Spec(
    run="backup@20261123T020000Z",
    job="backup",
    fire_utc_us=NOON_MS * 1000,
    timezone="Europe/Prague",
    kind="argv",
    argv=["/bin/dump", "{{ fire_time.date }}"],
    text="exit 0",
    shell=["/bin/sh", "-c"],
    env={"TARGET": "žluťoučký"},
    cwd="/srv",
    timeout_ms=3_600_000,
    kill_after_ms=10_000,
    success_codes=[0, 3],
    subtasks=2,
    output_limit=65_536,
    guarded=True,
    chunked=False,
)
ORDER = Order(
    attempt=ATTEMPT,
    spec=0,
    expiry_clock_ms=987_654_321,
    fence=42,
    item='{"table": 1}',
    stdin=b"\x00\xff in",
    previous="failed",
    env={"SCHEDULERD_NEED_MET": "1"},
)
OUTCOME = Outcome(
    attempt=ATTEMPT,
    state="failed",
    reason="exit",
    detail="it ended with 3",
    exit_code=3,
    signal=9,
    started_utc_ms=NOON_MS,
    finished_utc_ms=NOON_MS + 1500,
    stdout=Captured(head=b"first \xff", tail=b"last", dropped=17),
    stderr=Captured(head=b"oh", tail=b"no", dropped=1),
    usage=Usage(wall_ms=1500, user_ms=20, system_ms=10, peak_bytes=1 << 24, output_bytes=28),
)

SAMPLES: dict[type[Message], tuple[Envelope, Message]] = {
    type(message): (envelope, message)
    for envelope, message in (
        (TO_WORKER, Hello("tcp://127.0.0.1:4711", "tcp://127.0.0.1:4712", 12, "127.0.0.1:4713", COUNTS)),
        (TO_WORKER, Dispatch(specs=[SPEC], orders=[ORDER])),
        (TO_WORKER, Cancel([Cancellation(ATTEMPT, True), Cancellation(OTHER)])),
        (TO_WORKER, ResultAck([ATTEMPT, OTHER])),
        (TO_WORKER, Reconcile()),
        (TO_WORKER, Revoke([ATTEMPT, OTHER])),
        (TO_WORKER, ReadOutput(attempt=ATTEMPT, stream="stderr", offset=10, length=4096)),
        (TO_WORKER, Drain(on=False)),
        (
            TO_LEADER,
            Heartbeat(
                number=3,
                clock_ms=987_000_000,
                free=5,
                digest=0xFEDCBA9876543210,
                lag_ms=2,
                journal_depth=9,
                state="draining",
                counts=Counted(5, 4, 3, 2, 1, 6),
                told=COUNTS,
            ),
        ),
        (TO_LEADER, Accepted([ATTEMPT, OTHER])),
        (
            TO_LEADER,
            Refused(refusals=[Refusal(ATTEMPT, "expired", "by 3 s"), Refusal(OTHER, "full")], seen=7),
        ),
        (TO_LEADER, Started([Start(ATTEMPT, NOON_MS)])),
        (TO_LEADER, Result([OUTCOME, Outcome(OTHER, "unstarted")])),
        (
            TO_LEADER,
            Inventory(
                name="alfa",
                slots=8,
                labels=["role=db", "zone=1"],
                version="0.1.0",
                clock_ms=987_000_000,
                accepted=[ATTEMPT],
                running=[OTHER],
                ended=["report@20261123T030000Z~3~1"],
                state="draining",
                link="127.0.0.1:4713",
                place="b5f2:2049:131",
                former=["9c0ffee09c0ffee09c0ffee09c0ffee0"],
            ),
        ),
        (TO_LEADER, OutputChunk(attempt=ATTEMPT, stream="stdout", offset=0, data=b"\x00\xff", is_last=True)),
    )
}
