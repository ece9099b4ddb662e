"""When a worker wants to be woken: never for something that it cannot do."""

from schedulerd.protocol.messages import Outcome
from workerd.core import WorkerMoment, boot, step
from workerd.events import Tick
from workerd.records import AttemptsEnded, Record
from workerd.state import Identity


def test_unacknowledged_results_without_a_leader_do_not_keep_a_worker_awake() -> None:
    identity = Identity(worker="w", nonce="n", name="web-01", slots=2, labels=(), version="1")
    records: list[Record] = [AttemptsEnded([Outcome("a", "succeeded", "exit")], 90_000)]
    state, _ = boot(identity, records, WorkerMoment(100_000, 0))
    for clock_ms in range(100_001, 110_000, 400):
        step(state, [Tick()], WorkerMoment(clock_ms, 0))
        assert state.alarm_ms > clock_ms
