"""A new leader and what it finds in the ledger: every kind of open run goes on, and none twice."""

from dataclasses import dataclass, field
from datetime import timedelta

from msgspec import structs
from support.leading import (
    BEGIN,
    EPOCH,
    MONO,
    a_job,
    asked,
    beat,
    closed,
    defined,
    ended,
    events_of,
    fired,
    found,
    given,
    instant,
    inventory,
    of,
    outcomes,
    rebuilt,
    row,
    said,
    sent,
    skipped,
    told,
)

from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang, LeadershipGained
from schedulerd.core.requests import ReplaceTable
from schedulerd.core.state import State
from schedulerd.model.job import Argv, Cron, Job, ListedItems, OnLost, Overlap, PerWorker, Shards
from schedulerd.model.run import (
    AttemptState,
    Cause,
    NewAttempt,
    NewRun,
    OpenAttempt,
    OpenRun,
    OpenSubtask,
    RunState,
    SubtaskState,
)
from schedulerd.protocol import messages as msg

RUN = "backup@20261123T015900Z"
FIRST = f"{RUN}~0~1"


@dataclass
class Found:
    """An open run as the ledger gives it, in the making."""

    job: Job = field(default_factory=a_job)
    cause: Cause = Cause.SCHEDULE
    is_split: bool = True
    is_cancelled: bool = False
    subtasks: list[OpenSubtask] = field(default_factory=list)
    attempts: list[OpenAttempt] = field(default_factory=list)

    def subtask(self, index: int, state: SubtaskState, attempts: int = 0, **more: object) -> "Found":
        """One more subtask."""
        known = {"item": None, "counted_failures": 0, "losses": 0, "previous": "none", **more}
        self.subtasks.append(OpenSubtask(index=index, state=state, attempts=attempts, **known))  # type: ignore[arg-type]
        return self

    def attempt(
        self, subtask: int, state: AttemptState, worker: str = "w1", epoch: int = EPOCH - 1
    ) -> "Found":
        """One more attempt, the subtask's first."""
        new = NewAttempt(
            id=f"{RUN}~{subtask}~1",
            run=RUN,
            subtask=subtask,
            number=1,
            worker=worker,
            worker_name=worker,
            nonce="n1",
            epoch=epoch,
            fence=1,
            assigned_at=BEGIN,
        )
        self.attempts.append(OpenAttempt(attempt=new, state=state, started_at=None))
        return self

    @property
    def run(self) -> OpenRun:
        """The whole."""
        definition = defined(self.job)
        record = NewRun(
            id=RUN,
            job=self.job.name,
            version=definition.version,
            cause=self.cause,
            fire_time=instant("01:59:00"),
            has_slot=True,
            created_at=instant("01:59:00"),
        )
        return OpenRun(
            run=record,
            definition=definition,
            state=RunState.RUNNING if self.attempts else RunState.PENDING,
            started_at=None,
            is_split=self.is_split,
            is_cancelled=self.is_cancelled,
            subtasks=tuple(self.subtasks),
            attempts=tuple(self.attempts),
        )

    def taken(self) -> tuple[State, list[fx.Effect]]:
        """The leader after its first step, with w1 and w2 found; and what it ordered."""
        state = rebuilt(row(self.job), runs=[self.run])
        return state, told(state, [LeadershipGained(), found("w1", "w2")], "02:00:00")


def joined(state: State, now: str = "02:00:00.2", **held: object) -> list[fx.Effect]:
    """w1 and w2 have answered; w1 holds something."""
    return told(state, [inventory("w1", now, **held), inventory("w2", now)], now)  # type: ignore[arg-type]


# ---- runs that nobody had begun


def test_a_run_without_subtasks_gets_them() -> None:
    state, effects = Found(job=a_job(split=Shards(count=2)), is_split=False).taken()
    assert of(fx.RecordSubtasks, effects) == [
        fx.RecordSubtasks(RUN, ((0, None, None), (1, None, None)), True)
    ]
    assert given(joined(state)) == [("w1", FIRST), ("w2", f"{RUN}~1~1")]


def test_a_run_that_waits_for_its_split_command_gets_it() -> None:
    job = a_job(split=ListedItems(work=Argv(argv=("list",))))
    state, _ = Found(job=job, is_split=False).taken()
    assert given(joined(state)) == [("w1", f"{RUN}~-4~1")]
    state, _ = Found(job=job, is_split=False).subtask(-4, SubtaskState.PENDING).taken()
    assert given(joined(state)) == [("w1", f"{RUN}~-4~1")]


def test_a_broadcast_that_was_not_expanded_waits_for_the_workers_found() -> None:
    state, _ = Found(job=a_job(split=PerWorker()), is_split=False).taken()
    assert given(joined(state)) == [("w1", FIRST), ("w2", f"{RUN}~1~1")]


def test_a_broadcast_keeps_its_workers() -> None:
    found_run = Found(job=a_job(split=PerWorker()))
    found_run.subtask(0, SubtaskState.SUCCEEDED, 1, pinned="w1").subtask(1, SubtaskState.PENDING, pinned="w2")
    state, _ = found_run.taken()
    assert given(joined(state)) == [("w2", f"{RUN}~1~1")]


def test_a_subtask_that_failed_before_is_given_out_under_its_next_number() -> None:
    found_run = Found(job=a_job(retry_max=2))
    found_run.subtask(0, SubtaskState.PENDING, 1, counted_failures=1, previous="failed")
    state, _ = found_run.taken()
    effects = joined(state)
    assert given(effects) == [("w1", f"{RUN}~0~2")]
    told(state, [ended("w1", f"{RUN}~0~2", "failed")], "02:00:01")
    assert closed(told(state, [ended("w2", f"{RUN}~0~3", "failed")], "02:00:02")) == [(RUN, "failed", "exit")]


def test_catchup_runs_are_held_again_and_begin_in_turn() -> None:
    state, effects = Found(cause=Cause.CATCHUP, is_split=False).taken()
    assert of(fx.RecordSubtasks, effects)  # the only one of its job: at once
    assert given(joined(state)) == [("w1", FIRST)]


# ---- runs whose end was not written


def test_a_run_whose_subtasks_are_all_final_is_closed() -> None:
    _, effects = Found().subtask(0, SubtaskState.SUCCEEDED, 1).taken()
    assert closed(effects) == [(RUN, "succeeded", "")]
    _, effects = Found().subtask(0, SubtaskState.TIMEOUT, 1).taken()
    assert closed(effects) == [(RUN, "failed", "timeout")]


def test_gather_follows_if_it_had_not_begun_and_is_not_begun_twice() -> None:
    job = a_job(gather=Argv(argv=("collect",)))
    state, effects = Found(job=job).subtask(0, SubtaskState.SUCCEEDED, 1).taken()
    assert of(fx.RecordSubtasks, effects) == [fx.RecordSubtasks(RUN, ((-1, None, None),), True)]
    assert given(joined(state)) == [("w1", f"{RUN}~-1~1")]
    found_run = Found(job=job).subtask(-1, SubtaskState.RUNNING, 1).subtask(0, SubtaskState.SUCCEEDED, 1)
    state, effects = found_run.attempt(-1, AttemptState.RUNNING).taken()
    assert not of(fx.RecordSubtasks, effects)
    assert not given(joined(state, running=[f"{RUN}~-1~1"]))
    assert closed(told(state, [ended("w1", f"{RUN}~-1~1")], "02:00:01")) == [(RUN, "succeeded", "")]


def test_a_cancelled_run_ends_what_waits_and_goes_on_asking_for_what_runs() -> None:
    found_run = Found(job=a_job(split=Shards(count=2)), is_cancelled=True)
    found_run.subtask(0, SubtaskState.RUNNING, 1).subtask(1, SubtaskState.PENDING)
    state, effects = found_run.attempt(0, AttemptState.RUNNING).taken()
    assert not closed(effects)
    joined(state, running=[FIRST])
    asked_again = told(state, [AlarmRang(), beat("w1", 1, "02:00:02")], "02:00:02")
    assert sent(msg.Cancel, asked_again) == [("w1", msg.Cancel([msg.Cancellation(FIRST)]))]
    effects = told(state, [ended("w1", FIRST, "cancelled")], "02:00:03")
    assert closed(effects) == [(RUN, "cancelled", "operator")]


# ---- attempts that somebody may have


def test_an_attempt_that_its_worker_still_runs_is_left_alone() -> None:
    state, _ = Found().subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.RUNNING).taken()
    effects = joined(state, running=[FIRST])
    assert not given(effects)
    assert not outcomes(effects)
    assert closed(told(state, [ended("w1", FIRST)], "02:00:05")) == [(RUN, "succeeded", "")]


def test_an_attempt_that_never_arrived_is_given_out_at_once() -> None:
    """The worker has seen this epoch, so that it would refuse the former leader's Dispatch."""
    state, _ = Found().subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.ASSIGNED).taken()
    effects = joined(state)
    assert outcomes(effects) == [(FIRST, "unstarted")]
    assert given(effects) == [("w2", f"{RUN}~0~2")]


def test_an_attempt_of_this_epoch_that_never_arrived_may_still_arrive() -> None:
    """The State was rebuilt within a leadership, after the ledger had refused a batch."""
    found_run = Found().subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.ASSIGNED, epoch=EPOCH)
    state, _ = found_run.taken()
    assert not outcomes(joined(state))
    told(state, [beat("w1", 1, "02:00:12"), beat("w2", 1, "02:00:12")], "02:00:12")
    effects = told(state, [inventory("w1", "02:00:12.5")], "02:00:12.5")
    assert outcomes(effects) == [(FIRST, "unstarted")]


def test_an_attempt_that_ran_and_is_not_known_any_more_is_lost() -> None:
    state, _ = Found().subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.RUNNING).taken()
    assert closed(joined(state)) == [(RUN, "failed", "lost")]


def test_a_result_may_come_before_the_inventory() -> None:
    state, _ = Found().subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.ASSIGNED).taken()
    joined(state, ended=[FIRST])
    effects = told(state, [ended("w1", FIRST)], "02:00:01")
    assert closed(effects) == [(RUN, "succeeded", "")]


def test_attempts_of_a_worker_that_is_not_heard_of_are_lost_after_the_lease_and_not_before() -> None:
    job = a_job(on_lost=OnLost.RETRY)
    found_run = Found(job=job).subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.RUNNING, "w9")
    state, _ = found_run.taken()
    joined(state)
    effects: list[fx.Effect] = []
    for second in range(1, 60):
        now = f"02:00:{second:02}"
        effects += told(state, [beat("w1", second, now), beat("w2", second, now)], now)
    assert not outcomes(effects)
    for second in range(60, 64):
        now = f"02:01:{second - 60:02}"
        effects += told(state, [beat("w1", second, now), beat("w2", second, now)], now)
    assert outcomes(effects) == [(FIRST, "lost")]
    assert given(effects)[0] == ("w1", f"{RUN}~0~2")


# ---- two daemons with one id


def a_running_attempt() -> State:
    """The leader before had given it to the boot n1 of w1."""
    found_run = Found(job=a_job(on_lost=OnLost.RETRY)).subtask(0, SubtaskState.RUNNING, 1)
    return found_run.attempt(0, AttemptState.RUNNING).taken()[0]


def test_a_copy_that_answers_first_after_a_takeover_has_no_word_on_what_the_first_one_runs() -> None:
    state = a_running_attempt()
    told(state, [found("w1", "w2", "w3")], "02:00:00.1")
    noted: list[str] = []
    for number, holds in enumerate(({}, {"ended": [FIRST]}, {"running": [FIRST]})):
        now = f"02:00:0{number}.5"
        copy = inventory("w1", now, nonce="n7", link="w3:7482", former=["n0"], **holds)  # type: ignore[arg-type]
        # it was copied while the attempt ran, so it takes it for lost
        result = msg.Result([msg.Outcome(FIRST, "lost", "lost")])
        effects = told(state, [copy, said("w1", result, nonce="n7")], now)
        assert [drop.reason for drop in of(fx.Drop, effects)] == ["duplicate_worker", "unknown_worker"]
        assert not outcomes(effects)
        assert not given(effects)
        noted += events_of(effects)
    assert "worker_refused" in noted
    assert not outcomes(joined(state, "02:00:05", running=[FIRST]))
    assert closed(told(state, [ended("w1", FIRST)], "02:00:06")) == [(RUN, "succeeded", "")]


def test_the_next_boot_of_the_same_directory_settles_what_the_one_before_had_at_once() -> None:
    state = a_running_attempt()
    effects = told(state, [inventory("w1", "02:00:00.2", nonce="n2", former=["n0", "n1"])], "02:00:00.2")
    assert outcomes(effects) == [(FIRST, "lost")]


def test_without_a_word_of_the_first_one_the_other_is_taken_when_the_lease_rule_has_ended_it() -> None:
    state = a_running_attempt()
    ends: list[tuple[str, str]] = []
    for second in range(1, 66):
        now = f"02:0{second // 60}:{second % 60:02}"
        effects = told(state, [inventory("w1", now, nonce="n7", former=["n0"])], now)
        ends += outcomes(effects)
        assert (state.workers["w1:7482"].nonce == "n7") == (second > 60), second
        assert bool(ends) == (second >= 60), second
    assert ends == [(FIRST, "lost")]


def test_who_has_nothing_open_in_the_ledger_is_taken_whatever_its_boot() -> None:
    state = rebuilt(row(a_job()))
    told(state, [LeadershipGained(), found("w1")], "02:00:00")
    told(state, [inventory("w1", "02:00:00.2", nonce="n7")], "02:00:00.2")
    assert state.workers["w1:7482"].nonce == "n7"


# ---- time


def test_an_open_run_still_keeps_the_next_fire_time_from_running() -> None:
    job = a_job(trigger=Cron(expressions=("* * * * *",)))
    state, _ = Found(job=job).subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.RUNNING).taken()
    assert skipped(told(state, [AlarmRang()], "02:01:00")) == [("02:01:00", "02:01:00", "overlap", 1)]


def test_catchup_runs_wait_for_the_run_that_the_former_leader_had_begun() -> None:
    job = a_job(trigger=Cron(expressions=("* * * * *",)))
    found_run = Found(job=job).subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.RUNNING)
    state = rebuilt(row(job, mark="01:59:30"), runs=[found_run.run], now="02:00:30")
    effects = told(state, [LeadershipGained(), found("w1", "w2")], "02:00:30")
    assert fired(effects) == ["backup@20261123T020000Z"]
    assert not given(joined(state, "02:00:30.5", running=[FIRST]))
    effects = told(state, [ended("w1", FIRST)], "02:00:31")
    assert given(effects) == [("w1", "backup@20261123T020000Z~0~1")]


def test_a_removed_job_that_comes_back_counts_from_its_old_mark_and_its_open_runs() -> None:
    job = a_job(trigger=Cron(expressions=("* * * * *",)), overlap=Overlap.SKIP)
    found_run = Found(job=job).subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.RUNNING)
    state = rebuilt(runs=[found_run.run], removed={"backup": instant("02:01:00")})
    told(state, [LeadershipGained(), found("w1")], "02:00:00")
    told(state, [asked(ReplaceTable(definitions=(defined(job),)))], "02:00:10")
    assert not skipped(told(state, [AlarmRang()], "02:01:00"))
    assert skipped(told(state, [AlarmRang()], "02:02:00")) == [("02:02:00", "02:02:00", "overlap", 1)]


# ---- runs with steps of their own


STEP = Argv(argv=("step",))
STAGED = a_job(split=Shards(count=1), setup=STEP, gather=STEP, teardown=STEP)


def test_a_run_in_setup_goes_on_with_setup() -> None:
    state, _ = Found(job=STAGED, is_split=False).subtask(-2, SubtaskState.PENDING).taken()
    assert given(joined(state)) == [("w1", f"{RUN}~-2~1")]


def test_a_run_whose_setup_succeeded_is_split_under_the_next_leader() -> None:
    state, effects = Found(job=STAGED, is_split=False).subtask(-2, SubtaskState.SUCCEEDED, 1).taken()
    assert of(fx.RecordSubtasks, effects) == [fx.RecordSubtasks(RUN, ((0, None, None),), True)]
    assert given(joined(state)) == [("w1", FIRST)]


def test_gather_and_teardown_come_once_each_under_the_next_leader() -> None:
    found_run = Found(job=STAGED).subtask(-2, SubtaskState.SUCCEEDED, 1).subtask(0, SubtaskState.SUCCEEDED, 1)
    state, _ = found_run.taken()
    assert given(joined(state)) == [("w1", f"{RUN}~-1~1")]
    state, _ = found_run.subtask(-1, SubtaskState.SUCCEEDED, 1).taken()
    assert given(joined(state)) == [("w1", f"{RUN}~-3~1")]
    _, effects = found_run.subtask(-3, SubtaskState.SUCCEEDED, 1).taken()
    assert closed(effects) == [(RUN, "succeeded", "")]


def test_a_cancelled_run_has_its_teardown_under_the_next_leader() -> None:
    found_run = Found(job=STAGED, is_cancelled=True)
    found_run.subtask(-2, SubtaskState.SUCCEEDED, 1).subtask(0, SubtaskState.CANCELLED, 1)
    state, _ = found_run.subtask(-3, SubtaskState.PENDING).taken()
    assert given(joined(state)) == [("w1", f"{RUN}~-3~1")]
    assert closed(told(state, [ended("w1", f"{RUN}~-3~1")], "02:00:01")) == [(RUN, "cancelled", "operator")]


def test_a_cancelled_run_whose_subtask_runs_has_its_teardown_after_that() -> None:
    found_run = Found(job=STAGED, is_cancelled=True).subtask(-2, SubtaskState.SUCCEEDED, 1)
    state, _ = found_run.subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.RUNNING).taken()
    effects = joined(state, running=[FIRST])
    assert not given(effects)
    effects = told(state, [ended("w1", FIRST, "cancelled")], "02:00:01")
    assert [attempt for _, attempt in given(effects)] == [f"{RUN}~-3~1"]


def test_a_run_whose_setup_failed_gets_no_subtasks_from_the_next_leader() -> None:
    found_run = Found(job=STAGED, is_split=False).subtask(-2, SubtaskState.FAILED, 1)
    state, effects = found_run.subtask(-3, SubtaskState.PENDING).taken()
    assert not of(fx.RecordSubtasks, effects)
    joined(state)
    assert closed(told(state, [ended("w1", f"{RUN}~-3~1")], "02:00:01")) == [(RUN, "failed", "setup")]


def test_a_run_that_fails_fast_goes_on_doing_so() -> None:
    job = a_job(split=Shards(count=3), fail_fast=True)
    found_run = Found(job=job).subtask(0, SubtaskState.FAILED, 1, reason="exit")
    found_run.subtask(1, SubtaskState.RUNNING, 1).attempt(1, AttemptState.RUNNING)
    state, effects = found_run.subtask(2, SubtaskState.PENDING).taken()
    states = [one for record in of(fx.RecordSubtaskStates, effects) for one in record.states]
    assert states == [(2, SubtaskState.CANCELLED, "fail_fast")]
    effects = joined(state, running=[f"{RUN}~1~1"])
    effects = told(state, [AlarmRang(), beat("w1", 1, "02:00:02")], "02:00:02")
    assert [one.attempt for _, mail in sent(msg.Cancel, effects) for one in mail.attempts] == [f"{RUN}~1~1"]
    assert closed(told(state, [ended("w1", f"{RUN}~1~1", "cancelled")], "02:00:03")) == [
        (RUN, "failed", "exit")
    ]


def test_the_term_of_a_run_is_not_prolonged_by_a_takeover() -> None:
    job = a_job(run_timeout=timedelta(seconds=90))
    found_run = Found(job=job).subtask(0, SubtaskState.RUNNING, 1).attempt(0, AttemptState.RUNNING)
    state = rebuilt(row(job), runs=[structs.replace(found_run.run, started_at=instant("01:59:00"))])
    assert state.terms == [(MONO + 30, RUN)]
    state = rebuilt(row(job), runs=[structs.replace(found_run.run, started_at=instant("01:00:00"))])
    told(state, [LeadershipGained(), found("w1")], "02:00:00")
    assert state.runs[RUN].cancel_reason == "timeout"
