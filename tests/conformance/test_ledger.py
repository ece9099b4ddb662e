"""What every ledger must do, written against the Protocol alone; each test runs on both."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.ledger_material import (
    MINUTE,
    T0,
    Place,
    at,
    close,
    definition,
    fired,
    job_row,
    new_attempt,
    new_run,
    outcome,
    skip,
    subtasks,
)

from schedulerd.adapters.ledger.base import Ledger, LedgerReader
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.core.backfill import Piece, RowSplit
from schedulerd.core.effects import (
    Noted,
    Record,
    RecordAnchors,
    RecordAttempts,
    RecordBackfill,
    RecordBoots,
    RecordCancel,
    RecordEvent,
    RecordJobs,
    RecordLateResults,
    RecordMarks,
    RecordOutcomes,
    RecordPause,
    RecordPools,
    RecordRemovals,
    RecordReopening,
    RecordResult,
    RecordRound,
    RecordRunCounts,
    RecordRuns,
    RecordSkips,
    RecordStarted,
    RecordSubtasks,
    RecordSubtaskStates,
)
from schedulerd.errors import CommandError, LedgerContentError, LedgerError, StaleEpoch
from schedulerd.hostkit import failpoint
from schedulerd.model.job import At, Calendar, Definition, Every, Pool
from schedulerd.model.run import (
    Again,
    AttemptState,
    Cause,
    JobRow,
    NewRun,
    OpenRun,
    Pause,
    RunState,
    SkipReason,
    SubtaskState,
)
from schedulerd.protocol.api_types import EventQuery, PauseInfo, RunDetail, RunQuery, SubtaskCounts
from schedulerd.protocol.messages import Captured, Outcome

Commit = Callable[..., None]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where the ledger of this kind lives."""
    if request.param == "sqlite":
        url = f"sqlite://{tmp_path}/ledger.db"
    else:
        url = request.getfixturevalue("postgres").schema()
    return Place(open=lambda: open_ledger(url), reader=lambda: open_reader(url))


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    ledger = place.open()
    yield ledger
    ledger.close()


@pytest.fixture
def commit(ledger: Ledger) -> Commit:
    """Leads, accepts the job `backup`, and writes batches of that leadership."""
    epoch = ledger.lead("here", 0, T0)
    ledger.commit(epoch, [RecordJobs((job_row(),))])
    return lambda *records: ledger.commit(epoch, records)


@pytest.fixture
def reader(place: Place, commit: Commit) -> Iterator[LedgerReader]:
    reader = place.reader()
    yield reader
    reader.close()


def only_run(ledger: Ledger) -> OpenRun:
    (run,) = ledger.load().runs
    return run


def detail(reader: LedgerReader, run: str) -> RunDetail:
    found = reader.run(run)
    assert found is not None
    return found


# ---- leadership ------------------------------------------------------------------------------------------------


def test_each_leader_gets_a_higher_epoch_than_any_seen(ledger: Ledger) -> None:
    assert ledger.lead("a", 0, T0) == 1
    assert ledger.lead("b", 0, T0) == 2
    assert ledger.lead("c", 41, T0) == 42
    assert ledger.lead("d", 7, T0) == 43


def test_a_deposed_leader_writes_nothing(place: Place, ledger: Ledger) -> None:
    old = ledger.lead("old", 0, T0)
    other = place.open()
    other.lead("new", 0, T0)
    with pytest.raises(StaleEpoch, match='"new" leads in epoch 2'):
        ledger.commit(old, [RecordJobs((job_row(),))])
    assert other.load().jobs == ()
    other.close()


@pytest.mark.parametrize(
    ("point", "is_written"), [("ledger.before_commit", False), ("ledger.after_commit", True)]
)
def test_a_commit_that_fails_on_either_side_of_the_disk_is_all_or_nothing_and_may_be_written_again(
    place: Place, ledger: Ledger, commit: Commit, point: str, is_written: bool
) -> None:
    records = fired(new_run(1))
    failpoint.arm({failpoint.VARIABLE: f"{point}=error:ENOSPC"})
    try:
        with pytest.raises(LedgerError, match="No space left on device"):
            commit(*records)
    finally:
        failpoint.arm({})
    assert bool(ledger.load().runs) == is_written
    commit(*records)
    assert only_run(ledger).run.id == new_run(1).id


def test_a_leader_that_returns_sees_what_the_other_wrote(
    place: Place, ledger: Ledger, commit: Commit
) -> None:
    first, second, third = new_run(1), new_run(2), new_run(3)
    commit(*fired(first))
    other = place.open()
    other.commit(
        other.lead("there", 0, T0), [*fired(second), RecordOutcomes((outcome(first.id, stdout=b"x"),))]
    )
    other.close()
    epoch = ledger.lead("here", 0, T0)
    ledger.commit(epoch, [*fired(third), RecordOutcomes((outcome(second.id, stdout=b"y"),))])
    assert [run.run.id for run in ledger.load().runs] == [first.id, second.id, third.id]


# ---- the job table ---------------------------------------------------------------------------------------------


def test_the_table_comes_back_as_it_was_accepted(ledger: Ledger, commit: Commit) -> None:
    row = JobRow(
        definition=definition("every", trigger=Every(period=timedelta(seconds=5))),
        first_seen=at(1),
        mark=at(2),
        anchor=at(0.5),
    )
    commit(RecordJobs((row,)))
    assert ledger.load().jobs == (job_row(), row)


def test_a_changed_job_keeps_first_seen_mark_and_pause(ledger: Ledger, commit: Commit) -> None:
    pause = Pause(by="ann", reason="disk", since=at(1), until=at(9))
    commit(RecordPause("backup", pause), RecordMarks((("backup", at(5)),)))
    commit(RecordJobs((JobRow(definition=definition(version="v2"), first_seen=at(3), mark=at(4)),)))
    (row,) = ledger.load().jobs
    assert (row.definition.version, row.first_seen, row.mark, row.pause) == ("v2", T0, at(5), pause)


def test_a_pause_is_kept_and_lifted(ledger: Ledger, commit: Commit, reader: LedgerReader) -> None:
    commit(RecordPause("backup", Pause(by="ann", reason="disk", since=at(1))))
    facts = reader.job("backup")
    assert facts is not None
    assert facts.pause == PauseInfo(by="ann", reason="disk", since="2026-11-23T02:01:00Z", until=None)
    commit(RecordPause("backup", None))
    assert ledger.load().jobs[0].pause is None


def test_a_pause_of_an_unknown_job_is_refused(commit: Commit) -> None:
    with pytest.raises(LedgerContentError, match='job "nosuch" is not in the accepted table'):
        commit(RecordPause("nosuch", Pause(by="ann", reason="", since=T0)))


def test_a_mark_never_moves_back(ledger: Ledger, commit: Commit) -> None:
    commit(RecordMarks((("backup", at(5)),)))
    commit(RecordMarks((("backup", at(4)), ("nosuch", at(9)))))
    assert ledger.load().jobs[0].mark == at(5)


def test_a_moved_definition_has_its_new_line(ledger: Ledger, commit: Commit) -> None:
    commit(RecordJobs((JobRow(definition=definition(line=77), first_seen=T0, mark=T0),)))
    assert ledger.load().jobs[0].definition.origin.line == 77


def test_a_removed_job_keeps_its_history_and_loses_its_pause(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    commit(RecordPause("backup", Pause(by="ann", reason="", since=T0)), *fired(run))
    commit(RecordRemovals(("backup",)))
    assert reader.job_names() == []
    assert only_run(ledger).definition == definition()
    assert len(reader.slots("backup", "", 10)[0]) == 1
    commit(RecordJobs((job_row(),)))
    assert ledger.load().jobs[0].pause is None


def test_jobs_are_listed_by_name_in_pages(commit: Commit, reader: LedgerReader) -> None:
    commit(RecordJobs(tuple(job_row(name) for name in ("c", "a", "b"))))
    assert reader.job_names() == ["a", "b", "backup", "c"]
    assert [facts.name for facts in reader.jobs("", 3)] == ["a", "b", "backup"]
    assert [facts.name for facts in reader.jobs("backup", 3)] == ["c"]
    assert reader.job("nosuch") is None


def test_a_job_shows_its_definition_newest_run_and_open_runs(commit: Commit, reader: LedgerReader) -> None:
    older, newer = new_run(1), new_run(2)
    commit(*fired(newer), *fired(older), close(newer))
    facts = reader.job("backup")
    assert facts is not None
    assert msgspec.json.decode(facts.definition_json, type=Definition) == definition()
    assert facts.last_run is not None
    assert (facts.last_run.id, facts.last_run.state) == (newer.id, "succeeded")
    assert facts.last_run.finished_at == "2026-11-23T02:02:05Z"
    assert facts.open_runs == 1


# ---- runs and slots --------------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was_recorded(ledger: Ledger, commit: Commit) -> None:
    run = NewRun(
        id="backup@20261123T020130.5Z-m0123abcd",
        job="backup",
        version="v1",
        cause=Cause.MANUAL,
        fire_time=at(1.5) + timedelta(microseconds=500_001),
        has_slot=False,
        created_at=at(2),
        nominal="2026-11-23T02:01:30",
        env={"K": "ä\n", "EMPTY": ""},
        by="ann",
        parent="other@20261123T020000Z",
    )
    commit(RecordRuns((run,)))
    assert only_run(ledger) == OpenRun(
        run=run,
        definition=definition(),
        state=RunState.PENDING,
        started_at=None,
        is_split=False,
        is_cancelled=False,
        subtasks=(),
        attempts=(),
    )


def test_a_run_needs_its_version(commit: Commit) -> None:
    with pytest.raises(LedgerContentError, match='version "v9" of job "backup"'):
        commit(RecordRuns((new_run(version="v9"),)))


def test_a_run_keeps_the_version_it_was_fired_from(ledger: Ledger, commit: Commit) -> None:
    commit(RecordRuns((new_run(),)))
    commit(RecordJobs((job_row(version="v2", mark=at(1)),)))
    assert only_run(ledger).definition.version == "v1"


def test_definitions_are_shared_by_the_runs_of_a_version(ledger: Ledger, commit: Commit) -> None:
    commit(RecordRuns((new_run(1), new_run(2))))
    work = ledger.load()
    assert work.runs[0].definition is work.runs[1].definition is work.jobs[0].definition


def test_a_slot_is_filled_once(commit: Commit, ledger: Ledger) -> None:
    run = new_run()
    commit(RecordRuns((run,)))
    twin = msgspec.structs.replace(run, id=f"{run.id}-c00000000")
    with pytest.raises(
        LedgerContentError, match=f"at 2026-11-23T02:01:00Z is filled already by run {run.id}"
    ):
        commit(RecordRuns((new_run(2), twin)))
    assert only_run(ledger).run == run


def test_a_run_does_not_fall_into_a_range_of_skips(commit: Commit, ledger: Ledger) -> None:
    commit(RecordSkips((skip(1, 9, 9),)))
    for minute in (1, 5, 9):
        with pytest.raises(LedgerContentError, match=r"skipped already \(paused\)"):
            commit(RecordRuns((new_run(minute),)))
    commit(RecordRuns((new_run(10), new_run(0))))
    assert len(ledger.load().runs) == 2


def test_a_run_that_is_replaced_is_known_as_such(ledger: Ledger, commit: Commit) -> None:
    run = new_run()
    commit(RecordRuns((run,)), RecordCancel(run.id, new_run(2).id, "replaced"))
    found = only_run(ledger)
    assert (found.is_cancelled, found.cancel_reason) == (True, "replaced")


def test_the_pools_of_the_table_are_kept_and_replaced_as_a_whole(ledger: Ledger, commit: Commit) -> None:
    assert ledger.load().pools == ()
    disk, base = Pool(name="disk", max=7), Pool(name="db", max=2)
    commit(RecordPools((disk, base)))
    assert ledger.load().pools == (base, disk)  # by name
    commit(RecordPools((Pool(name="db", max=3, is_retired=True),)))
    assert ledger.load().pools == (Pool(name="db", max=3, is_retired=True),)


def test_a_range_of_skips_overlaps_nothing(commit: Commit, reader: LedgerReader) -> None:
    commit(RecordRuns((new_run(5),)), RecordSkips((skip(1, 3, 3),)))
    for first, last in ((5, 5), (4, 6), (2, 9), (3, 4), (0, 1), (0, 9)):
        with pytest.raises(LedgerContentError, match="expected a free one"):
            commit(RecordSkips((skip(first, last, 1, SkipReason.MISFIRE),)))
    assert len(reader.slots("backup", "", 100)[0]) == 4


def test_runs_without_a_slot_share_a_fire_time(commit: Commit, ledger: Ledger) -> None:
    run = new_run()
    manual = [
        msgspec.structs.replace(run, id=f"{run.id}-m{number:08x}", cause=Cause.MANUAL, has_slot=False)
        for number in range(2)
    ]
    commit(RecordRuns((run, *manual)))
    assert len(ledger.load().runs) == 3


def test_slots_show_runs_and_skips_newest_first_in_pages(commit: Commit, reader: LedgerReader) -> None:
    commit(RecordSkips((skip(1, 1000, 1000),)), RecordRuns((new_run(1001),)))
    commit(RecordSkips((skip(1002, 1003, 2, SkipReason.OVERLAP),)), RecordRuns((new_run(1004),)))
    seen, cursor = [], ""
    for page in itertools.count():
        slots, following = reader.slots("backup", cursor, 99)
        assert len(slots) == (99 if following else 1004 - 99 * page)
        seen += slots
        if following is None:
            break
        cursor = following
    newest = [(slot.fire_time, slot.outcome, slot.run_id, slot.reason) for slot in seen[:5]]
    assert newest == [
        ("2026-11-23T18:44:00Z", "run", new_run(1004).id, None),
        ("2026-11-23T18:43:00Z", "skipped", None, "overlap"),
        ("2026-11-23T18:42:00Z", "skipped", None, "overlap"),
        ("2026-11-23T18:41:00Z", "run", new_run(1001).id, None),
        ("2026-11-23T18:40:00Z", "skipped", None, "paused"),
    ]
    times = [slot.fire_time for slot in seen]
    assert times == sorted(set(times), reverse=True)
    assert len(times) == 1004


def test_skips_of_a_period_are_spread_by_the_period(commit: Commit, reader: LedgerReader) -> None:
    commit(RecordJobs((job_row(version="v5", trigger=Every(period=timedelta(seconds=20))),)))
    commit(RecordSkips((skip(1, 2, 4, version="v5"),)))
    assert [slot.fire_time[17:19] for slot in reader.slots("backup", "", 10)[0]] == ["00", "40", "20", "00"]


def test_skips_that_follow_each_other_become_one_range(commit: Commit, reader: LedgerReader) -> None:
    for minute in range(1, 6):
        commit(RecordSkips((skip(minute, minute, 1),)), RecordMarks((("backup", at(minute)),)))
    # a range is refused as a whole, so this shows that the five became one
    with pytest.raises(LedgerContentError, match="02:01:00Z is skipped already"):
        commit(RecordSkips((skip(0, 9, 10, SkipReason.MISFIRE),)))
    commit(RecordSkips((skip(1, 5, 5),)))
    assert len(reader.slots("backup", "", 100)[0]) == 5


def test_skips_of_a_job_that_was_away_stay_apart(commit: Commit, reader: LedgerReader) -> None:
    commit(RecordSkips((skip(1, 2, 2),)))
    commit(RecordRemovals(("backup",)))
    commit(RecordJobs((job_row(mark=at(10)),)))
    commit(RecordSkips((skip(11, 12, 2),)))
    minutes = [slot.fire_time[14:16] for slot in reader.slots("backup", "", 100)[0]]
    assert minutes == ["12", "11", "02", "01"]


def test_recording_a_batch_again_changes_nothing(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    batches: list[list[Record]] = [
        [*fired(run, 2), RecordSkips((skip(2, 3, 2),)), RecordMarks((("backup", at(3)),))],
        [
            RecordOutcomes((outcome(run.id, 0, stdout=b"out"), outcome(run.id, 1, state="failed"))),
            RecordSubtaskStates(run.id, ((0, SubtaskState.SUCCEEDED, ""), (1, SubtaskState.FAILED, "exit"))),
            RecordResult(run.id, b"result"),
            close(run, RunState.FAILED, "exit"),
        ],
    ]
    for batch in batches:
        commit(*batch)
        before = ledger.load(), reader.run(run.id), reader.output(run.id, None), reader.slots("backup", "", 9)
        commit(*batch)
        after = ledger.load(), reader.run(run.id), reader.output(run.id, None), reader.slots("backup", "", 9)
        assert after == before
    for batch in batches:
        commit(*batch)
    assert (
        ledger.load(),
        reader.run(run.id),
        reader.output(run.id, None),
        reader.slots("backup", "", 9),
    ) == before


# ---- subtasks, attempts, outcomes ------------------------------------------------------------------------------


def test_open_work_is_loaded_with_its_history(ledger: Ledger, commit: Commit) -> None:
    run = new_run()
    commit(
        RecordRuns((run,)), RecordSubtasks(run.id, ((0, '"a"', None), (1, '{"k":1}', "uuid-of-w2")), False)
    )
    commit(RecordSubtasks(run.id, ((-1, None, None),), True))
    commit(RecordAttempts((new_attempt(run.id, 0, 1, fence=1),)))
    commit(RecordOutcomes((outcome(run.id, 0, 1, "timeout"),)))
    commit(RecordSubtaskStates(run.id, ((0, SubtaskState.PENDING, "timeout"),)))
    commit(RecordAttempts((new_attempt(run.id, 0, 2, fence=2),)))
    commit(RecordOutcomes((outcome(run.id, 0, 2, "lost"),)))
    third = new_attempt(run.id, 0, 3, fence=3, worker="w2")
    commit(RecordSubtaskStates(run.id, ((0, SubtaskState.PENDING, "lost"),)), RecordAttempts((third,)))
    commit(
        RecordStarted(((third.id, at(2)),)),
        RecordCancel(run.id, "ann"),
        RecordCancel(run.id, "r", "replaced"),
    )
    found = only_run(ledger)
    assert (found.state, found.is_split, found.is_cancelled) == (RunState.RUNNING, True, True)
    gather, first, second = found.subtasks
    assert (gather.index, gather.state, gather.attempts, gather.previous) == (
        -1,
        SubtaskState.PENDING,
        0,
        "none",
    )
    assert (first.item, first.state, first.attempts) == ('"a"', SubtaskState.RUNNING, 3)
    assert (first.counted_failures, first.losses, first.previous) == (1, 1, "lost")
    assert (second.item, second.pinned, second.state) == ('{"k":1}', "uuid-of-w2", SubtaskState.PENDING)
    (attempt,) = found.attempts
    assert (attempt.attempt, attempt.state, attempt.started_at) == (third, AttemptState.RUNNING, at(2))
    assert ledger.load().next_fence == 4


def test_the_fence_goes_on_after_everything_is_final(ledger: Ledger, commit: Commit) -> None:
    assert ledger.load().next_fence == 1
    run = new_run()
    commit(*fired(run, 7), close(run))
    assert ledger.load().runs == ()
    assert ledger.load().next_fence == 8


def test_an_attempt_keeps_its_first_outcome(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    commit(*fired(run))
    commit(RecordOutcomes((outcome(run.id, stdout=b"first"),)))
    commit(RecordOutcomes((outcome(run.id, state="failed", stdout=b"second"),)))
    commit(RecordOutcomes((outcome(run.id, state="lost"), outcome(run.id, state="cancelled"))))
    (output,) = reader.output(run.id, 0)
    assert (output.state, output.stdout_head) == ("succeeded", b"first")


def test_one_batch_with_two_outcomes_of_an_attempt_keeps_the_first(
    commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    commit(
        *fired(run),
        RecordOutcomes((outcome(run.id, stdout=b"1"), outcome(run.id, state="failed", stdout=b"2"))),
    )
    assert [(found.state, found.stdout_head) for found in reader.output(run.id, 0)] == [("succeeded", b"1")]


def test_a_lost_attempt_takes_the_word_of_its_worker(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    commit(*fired(run), RecordOutcomes((outcome(run.id, state="lost"),)))
    commit(RecordOutcomes((outcome(run.id, state="unstarted"),)))
    assert reader.output(run.id, 0)[0].state == "lost"
    commit(RecordOutcomes((outcome(run.id, stdout=b"late"),)))
    commit(RecordOutcomes((outcome(run.id, state="lost"),)))
    (output,) = reader.output(run.id, 0)
    assert (output.state, output.stdout_head) == ("succeeded", b"late")


def test_a_late_outcome_leaves_the_final_run_as_it_is(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    commit(*fired(run), RecordSubtaskStates(run.id, ((0, SubtaskState.LOST, "lost"),)))
    commit(close(run, RunState.FAILED, "lost"))
    before = detail(reader, run.id)
    commit(
        RecordOutcomes((outcome(run.id, stdout=b"late"),)),
        RecordSubtaskStates(run.id, ((0, SubtaskState.SUCCEEDED, ""),)),
        close(run),
    )
    after = detail(reader, run.id)
    assert (after.state, after.reason, after.subtasks) == (before.state, "lost", before.subtasks)
    assert after.finished_at == before.finished_at
    (subtask,) = after.subtasks_detail
    assert (subtask.state, subtask.attempts[0].state, subtask.attempts[0].output_tail) == (
        "lost",
        "succeeded",
        "late",
    )


def test_an_outcome_of_an_unknown_attempt_is_kept_as_an_event(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    commit(*fired(run))
    missing = [outcome(run.id, 0, 2), outcome(run.id, 5, 1), outcome("backup@20200101T000000Z")]
    commit(RecordOutcomes((*missing, outcome(run.id))))
    assert reader.output(run.id, 0)[0].state == "succeeded"
    events = reader.events(0, 10)
    assert [(event.type, event.attempt) for event in reversed(events)] == [
        ("unknown_result", lacking.attempt) for lacking in missing
    ]


def test_a_run_starts_with_its_first_process(ledger: Ledger, commit: Commit) -> None:
    run = new_run()
    commit(*fired(run, 2))
    assert only_run(ledger).started_at is None
    commit(RecordStarted(((new_attempt(run.id, 1).id, at(3)), (new_attempt(run.id, 0).id, at(2)))))
    commit(RecordOutcomes((outcome(run.id, 0),)))
    assert only_run(ledger).started_at == at(2)
    assert [open_attempt.attempt.subtask for open_attempt in only_run(ledger).attempts] == [1]


def test_a_start_of_a_final_attempt_is_left_alone(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    commit(*fired(run), RecordOutcomes((outcome(run.id),)))
    before = detail(reader, run.id)
    commit(RecordStarted(((new_attempt(run.id).id, at(9)), ("backup@20200101T000000Z~0~1", at(9)))))
    assert detail(reader, run.id) == before


def test_subtasks_are_counted_by_state(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    commit(RecordRuns((run,)), subtasks(run.id, 9), RecordSubtasks(run.id, ((-1, None, None),), True))
    commit(RecordAttempts(tuple(new_attempt(run.id, index, fence=index + 1) for index in range(8))))
    states = [SubtaskState.SUCCEEDED, SubtaskState.FAILED, SubtaskState.TIMEOUT, SubtaskState.PENDING]
    commit(RecordSubtaskStates(run.id, tuple((index, state, "") for index, state in enumerate(states))))
    assert detail(reader, run.id).subtasks == SubtaskCounts(
        total=9, succeeded=1, failed=2, running=4, pending=2
    )
    # cancelled while pending; a lost one that turns out well; the same state again
    commit(
        RecordSubtaskStates(run.id, ((8, SubtaskState.CANCELLED, "operator"), (4, SubtaskState.LOST, "lost")))
    )
    commit(RecordSubtaskStates(run.id, ((4, SubtaskState.SUCCEEDED, ""), (0, SubtaskState.SUCCEEDED, ""))))
    assert detail(reader, run.id).subtasks == SubtaskCounts(
        total=9, succeeded=2, failed=3, running=3, pending=1
    )
    commit(RecordAttempts((new_attempt(run.id, 3, 2, fence=10), new_attempt(run.id, -1, 1, fence=11))))
    commit(RecordSubtaskStates(run.id, ((-1, SubtaskState.SUCCEEDED, ""),)))
    assert detail(reader, run.id).subtasks == SubtaskCounts(
        total=9, succeeded=2, failed=3, running=4, pending=0
    )


@pytest.mark.parametrize(
    "records",
    [
        [subtasks("backup@20200101T000000Z")],
        [RecordAttempts((new_attempt("backup@20200101T000000Z"),))],
        [RecordAttempts((new_attempt(new_run().id, 5),))],
        [RecordSubtaskStates(new_run().id, ((5, SubtaskState.FAILED, ""),))],
        [RecordOutcomes((Outcome(attempt="nonsense", state="failed"),))],
        [RecordOutcomes((Outcome(attempt=f"{new_run().id}~0~1", state="failed", exit_code=1 << 80),))],
        [RecordEvent(type="x", time=T0, detail="\udc80")],
        [close(new_run(7))],
    ],
    ids=["subtasks", "run", "subtask", "state", "attempt id", "integer", "text", "close"],
)
def test_content_that_cannot_be_written_is_refused_whole(
    ledger: Ledger, commit: Commit, reader: LedgerReader, records: list[Record]
) -> None:
    run = new_run()
    commit(*fired(run))
    before = ledger.load()
    with pytest.raises(LedgerContentError):
        commit(*fired(new_run(2)), RecordEvent(type="before", time=T0), *records)
    assert ledger.load() == before
    assert reader.events(0, 9) == []
    commit(RecordOutcomes((outcome(run.id, stdout=b"x"),)), *fired(new_run(2)))
    assert len(ledger.load().runs) == 2


def test_a_final_run_takes_no_more_work(commit: Commit) -> None:
    run = new_run()
    commit(*fired(run), close(run))
    with pytest.raises(LedgerContentError, match="takes no more attempts"):
        commit(RecordAttempts((new_attempt(run.id, 0, 2),)))
    with pytest.raises(LedgerContentError, match="takes no more subtasks"):
        commit(subtasks(run.id, 3))


# ---- what readers see ------------------------------------------------------------------------------------------


def test_a_run_is_shown_with_its_subtasks_and_attempts(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    commit(RecordRuns((run,)), RecordSubtasks(run.id, ((0, '{"path":"/etc"}', None), (-1, None, None)), True))
    commit(RecordAttempts((new_attempt(run.id, 0), new_attempt(run.id, -1, fence=2, worker="w2"))))
    commit(RecordOutcomes((outcome(run.id, 0, state="failed", stdout=b"so far\xff", stderr=b"no space\n"),)))
    commit(RecordSubtaskStates(run.id, ((0, SubtaskState.FAILED, "exit"),)))
    commit(RecordResult(run.id, b"manifest \xff"), close(run, RunState.FAILED, "exit"))
    found = detail(reader, run.id)
    assert (found.job, found.trigger, found.state, found.reason) == ("backup", "schedule", "failed", "exit")
    assert (found.fire_time, found.started_at) == ("2026-11-23T02:01:00Z", "2026-11-23T02:01:01Z")
    assert (found.late_seconds, found.result) == (1.0, "manifest \ufffd")
    ordinary, gather = found.subtasks_detail
    assert (ordinary.index, ordinary.item, ordinary.state) == (0, {"path": "/etc"}, "failed")
    (attempt,) = ordinary.attempts
    assert (attempt.id, attempt.attempt, attempt.epoch) == (f"{run.id}~0~1", 1, 1)
    assert (attempt.worker, attempt.worker_id) == ("w1", "uuid-of-w1")
    assert (attempt.state, attempt.reason, attempt.exit_code, attempt.signal) == ("failed", "exit", 3, None)
    assert attempt.finished_at == "2026-11-23T02:01:03Z"
    assert attempt.output_tail == "so far\ufffd\nno space\n"
    assert attempt.usage is not None
    assert attempt.usage["wall_ms"] == 2000
    assert (gather.index, gather.attempts[0].state, gather.attempts[0].usage) == (-1, "assigned", None)
    assert reader.run("backup@20200101T000000Z") is None


def test_a_run_that_has_not_started_is_late_by_when_it_was_recorded(
    commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    commit(RecordRuns((run,)))
    assert detail(reader, run.id).late_seconds == 0.003


def test_the_tail_is_the_end_of_a_long_output(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    commit(*fired(run))
    captured = Captured(head=b"HEAD" * 5000, tail=b"middle " * 3000 + b"the end", dropped=12)
    commit(RecordOutcomes((msgspec.structs.replace(outcome(run.id), stdout=captured),)))
    tail = detail(reader, run.id).subtasks_detail[0].attempts[0].output_tail
    assert tail.endswith("middle the end")
    assert len(tail) <= 2000
    (output,) = reader.output(run.id, None)
    assert (output.stdout_head, output.stdout_tail, output.stdout_dropped) == (
        captured.head,
        captured.tail,
        12,
    )


def test_output_is_kept_byte_for_byte_by_attempt(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    every_byte = bytes(range(256))
    commit(*fired(run, 2))
    commit(RecordOutcomes((outcome(run.id, 1, stderr=every_byte), outcome(run.id, 0, stdout=every_byte))))
    first, second = reader.output(run.id, None)
    assert (first.subtask, first.stdout_head, first.stderr_head) == (0, every_byte, b"")
    assert reader.output(run.id, 1) == [second]
    assert second.stderr_head == every_byte
    assert reader.output("backup@20200101T000000Z", None) == []


def test_runs_come_newest_first_in_pages_that_miss_nothing(commit: Commit, reader: LedgerReader) -> None:
    runs = [new_run(minute) for minute in range(1, 8)]
    twins = [msgspec.structs.replace(run, id=f"{run.id}-m00000000", has_slot=False) for run in runs]
    commit(RecordRuns((*runs, *twins)))
    seen, cursor = [], ""
    while True:
        page, following = reader.runs(RunQuery(job="backup", cursor=cursor, limit=3))
        seen += [run.id for run in page]
        if following is None:
            break
        cursor = following
    assert sorted(seen, reverse=True) == seen
    assert sorted(seen) == sorted(run.id for run in (*runs, *twins))


@pytest.mark.parametrize(
    ("query", "minutes"),
    [
        (RunQuery(), [5, 4, 3, 2, 1]),
        (RunQuery(states=("running",)), [5]),
        (RunQuery(states=("pending", "running")), [5, 4]),
        (RunQuery(states=("failed",)), [2]),
        (RunQuery(states=("failed", "cancelled")), [3, 2]),
        (RunQuery(states=("succeeded", "pending")), [4, 1]),
        (RunQuery(since="2026-11-23T03:04:00+01:00"), [5]),
        (RunQuery(job="backup", states=("failed",), since="2026-11-23T02:02:00Z"), [2]),
        (RunQuery(job="other"), []),
    ],
)
def test_runs_are_chosen_by_job_state_and_time(
    commit: Commit, reader: LedgerReader, query: RunQuery, minutes: list[int]
) -> None:
    runs = [new_run(minute) for minute in range(1, 6)]
    expected = [runs[minute - 1].id for minute in minutes]
    commit(RecordRuns(tuple(runs)), subtasks(runs[4].id), RecordAttempts((new_attempt(runs[4].id),)))
    commit(
        close(runs[0]),
        close(runs[1], RunState.FAILED, "exit"),
        close(runs[2], RunState.CANCELLED, "operator"),
    )
    if query.since and query.since.endswith("+01:00"):
        expected = [runs[4].id, runs[3].id]
    assert [run.id for run in reader.runs(query)[0]] == expected


def test_a_time_or_cursor_that_is_none_is_the_callers_fault(reader: LedgerReader) -> None:
    for query in (RunQuery(since="yesterday"), RunQuery(since="2026-11-23T02:00:00"), RunQuery(cursor="1.x")):
        with pytest.raises(CommandError):
            reader.runs(query)
    with pytest.raises(CommandError):
        reader.slots("backup", "-1", 10)


def test_a_run_is_found_by_its_prefix(commit: Commit, reader: LedgerReader) -> None:
    runs = [new_run(minute) for minute in (1, 2, 12)]
    commit(RecordRuns(tuple(runs)))
    assert reader.run_ids("backup@20261123T020", 10) == [runs[0].id, runs[1].id]
    assert reader.run_ids("backup@20261123T021", 10) == [runs[2].id]
    assert reader.run_ids("backup", 2) == [runs[0].id, runs[1].id]
    assert reader.run_ids("backup@2026%", 10) == []


def test_events_come_newest_first_with_the_epoch_that_wrote_them(
    commit: Commit, reader: LedgerReader
) -> None:
    for number in range(5):
        commit(RecordEvent(type="skip", time=at(number), job="backup", subtask=number, detail=str(number)))
    newest = reader.events(0, 2)
    assert [(event.detail, event.epoch, event.time) for event in newest] == [
        ("4", 1, "2026-11-23T02:04:00Z"),
        ("3", 1, "2026-11-23T02:03:00Z"),
    ]
    assert [event.detail for event in reader.events(newest[-1].seq, 10)] == ["2", "1", "0"]


def test_readers_do_not_wait_for_the_writer(commit: Commit, place: Place, reader: LedgerReader) -> None:
    commit(RecordRuns((new_run(1),)))
    other = place.reader()
    assert other.job_names() == reader.job_names() == ["backup"]
    commit(RecordRuns((new_run(2),)))
    assert len(other.runs(RunQuery())[0]) == 2
    other.close()


# ---- gather ----------------------------------------------------------------------------------------------------


def test_gather_gets_each_subtask_with_its_newest_attempt(ledger: Ledger, commit: Commit) -> None:
    run = new_run()
    commit(RecordRuns((run,)))
    items = ((0, '{"a":\n1}', None), (1, None, None), (2, "[1.0]", None), (-1, None, None))
    commit(RecordSubtasks(run.id, items, True))
    commit(RecordAttempts((new_attempt(run.id, 0), new_attempt(run.id, 1, fence=2, worker="w2"))))
    commit(RecordOutcomes((outcome(run.id, 0, state="failed", stdout=b"old"),)))
    commit(RecordAttempts((new_attempt(run.id, 0, 2, fence=3, worker="w3"),)))
    captured = Captured(head="é".encode() + b"\xff", tail=b'"tail"\n', dropped=3)
    commit(
        RecordOutcomes((msgspec.structs.replace(outcome(run.id, 0, 2), stdout=captured), outcome(run.id, 1)))
    )
    commit(RecordSubtaskStates(run.id, ((0, SubtaskState.SUCCEEDED, ""), (1, SubtaskState.SUCCEEDED, ""))))
    text, size = ledger.gather_input(run.id, 1 << 20)
    assert size == len(text)
    assert [msgspec.json.decode(line) for line in text.splitlines()] == [
        {
            "subtask": 0,
            "item": {"a": 1},
            "state": "succeeded",
            "code": 0,
            "output": 'é\ufffd"tail"\n',
            "worker": "w3",
            "output_dropped": 3,
        },
        {"subtask": 1, "item": None, "state": "succeeded", "code": 0, "output": "", "worker": "w2"},
        {"subtask": 2, "item": [1.0], "state": "pending", "code": None, "output": "", "worker": None},
    ]


def test_gather_tells_only_the_size_of_what_is_too_large(ledger: Ledger, commit: Commit) -> None:
    run = new_run()
    commit(*fired(run, 2), RecordOutcomes((outcome(run.id, 0, stdout=b"x" * 500), outcome(run.id, 1))))
    text, size = ledger.gather_input(run.id, 1 << 20)
    assert ledger.gather_input(run.id, size) == (text, size)
    assert ledger.gather_input(run.id, size - 1) == (b"", size)
    least = ledger.gather_input(run.id, 100)
    assert least[0] == b""
    assert 100 < least[1] <= size
    with pytest.raises(LedgerError, match="is not in the ledger"):
        ledger.gather_input("backup@20200101T000000Z", 100)


# ---- housekeeping ----------------------------------------------------------------------------------------------


def sweep(ledger: Ledger, minutes: float) -> int:
    """Housekeeping until nothing is left to do; how many bites it took."""
    for bite in itertools.count(1):
        if not ledger.maintain(at(minutes)):
            return bite
    raise AssertionError


def test_a_job_keeps_its_newest_thousand_final_runs(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    runs = [new_run(minute) for minute in range(1, 1031)]
    commit(RecordRuns(tuple(runs)), *(subtasks(run.id) for run in runs))
    commit(RecordAttempts(tuple(new_attempt(run.id, fence=n) for n, run in enumerate(runs, 1))))
    commit(RecordOutcomes(tuple(outcome(run.id, stdout=b"x") for run in runs)))
    commit(*(close(run) for run in runs[1:]))
    sweep(ledger, 2000)
    kept = [run.id for run in reader.runs(RunQuery(limit=2000))[0]]
    assert kept == [run.id for run in reversed(runs[30:])] + [runs[0].id]  # the oldest is still open
    assert reader.output(runs[1].id, None) == []
    assert [slot.run_id for slot in reader.slots("backup", "", 2000)[0]] == kept
    assert reader.output(runs[0].id, None)[0].stdout_head == b"x"


def test_what_is_older_than_90_days_goes_in_bites(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    run, big, day = new_run(1), new_run(2), 24 * 60
    commit(*fired(big, 3000), close(big), *fired(run), close(run))
    commit(RecordSkips((skip(3, 9, 7),)), RecordEvent(type="old", time=at(1)))
    commit(RecordEvent(type="new", time=at(85 * day)), RecordRuns((new_run(91 * day),)))
    assert sweep(ledger, 89 * day) == 1
    assert len(reader.runs(RunQuery())[0]) == 3
    assert sweep(ledger, 91 * day) > 2
    assert [found.id for found in reader.runs(RunQuery())[0]] == [new_run(91 * day).id]
    assert [event.type for event in reader.events(0, 10)] == ["new"]
    assert len(reader.slots("backup", "", 100)[0]) == 1
    assert ledger.gather_input(new_run(91 * day).id, 100) == (b"", 0)


def test_a_backfilled_run_of_an_old_fire_time_is_kept_since_its_end(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    run, day = new_run(1), 24 * 60
    end = msgspec.structs.replace(close(run), finished_at=at(200 * day))
    commit(*fired(run), end)
    sweep(ledger, 201 * day)
    assert [slot.run_id for slot in reader.slots("backup", "", 100)[0]] == [run.id]
    sweep(ledger, 291 * day)
    assert not reader.slots("backup", "", 100)[0]


def test_a_one_off_in_the_table_keeps_the_rows_of_its_instants(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    run, day = new_run(1), 24 * 60
    one_off = job_row(trigger=At(instants=(at(1), at(2))))
    commit(RecordJobs((one_off,)), *fired(run), close(run), RecordSkips((skip(2, 2, 1),)))
    sweep(ledger, 400 * day)
    assert [slot.run_id for slot in reader.slots("backup", "", 100)[0]] == [None, run.id]
    commit(RecordRemovals(("backup",)))
    sweep(ledger, 400 * day)
    assert not reader.slots("backup", "", 100)[0]


@pytest.mark.parametrize("again", [False, True], ids=["once", "recorded-again"])
@pytest.mark.parametrize(
    "done",
    [range(40), range(10, 40), [*range(12), *range(20, 40)], range(0, 40, 2), [*range(39, -1, -1)]],
    ids=["all", "the-end", "with-a-gap", "every-other", "backwards"],
)
def test_wide_runs_are_given_out_and_end_in_whatever_stretches(
    commit: Commit, reader: LedgerReader, done: Sequence[int], again: bool
) -> None:
    run = new_run()
    attempts = RecordAttempts(tuple(new_attempt(run.id, index, fence=index + 1) for index in range(40)))
    states = RecordSubtaskStates(run.id, tuple((index, SubtaskState.SUCCEEDED, "") for index in done))
    outcomes = RecordOutcomes(tuple(outcome(run.id, index) for index in done))
    commit(RecordRuns((run,)), subtasks(run.id, 60), attempts)
    commit(outcomes, states)
    if again:
        commit(attempts, outcomes, states)
    found = detail(reader, run.id)
    assert found.subtasks == SubtaskCounts(
        total=60, succeeded=len(done), failed=0, running=40 - len(done), pending=20
    )
    shown = {part.index: part.state for part in found.subtasks_detail}
    assert {index for index, state in shown.items() if state == "succeeded"} == set(done)
    assert {index for index, state in shown.items() if state == "pending"} == set(range(40, 60))


def test_a_stretch_in_which_some_have_ended_already_is_counted_anew(
    commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    attempts = RecordAttempts(tuple(new_attempt(run.id, index, fence=index + 1) for index in range(20)))
    commit(RecordRuns((run,)), subtasks(run.id, 30), attempts)
    commit(RecordSubtaskStates(run.id, ((7, SubtaskState.FAILED, "exit"), (25, SubtaskState.CANCELLED, ""))))
    commit(RecordSubtaskStates(run.id, tuple((index, SubtaskState.SUCCEEDED, "") for index in range(28))))
    assert detail(reader, run.id).subtasks == SubtaskCounts(
        total=30, succeeded=28, failed=0, running=0, pending=2
    )


def test_the_account_reaches_to_the_newest_mark_or_run_whatever_the_clock_says(
    commit: Commit, reader: LedgerReader
) -> None:
    commit(RecordJobs((job_row(mark=at(5)),)))
    assert reader.accounted_to() == at(5)
    commit(*fired(new_run(9)), RecordRemovals(("backup",)))  # the job is gone, its run is not
    assert reader.accounted_to() == at(9)


def test_versions_that_nothing_refers_to_are_forgotten(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    run, day = new_run(1), 24 * 60
    commit(*fired(run), close(run), RecordJobs((job_row(version="v2", mark=at(1)),)))
    sweep(ledger, 100 * day)
    with pytest.raises(LedgerContentError, match='version "v1"'):
        commit(RecordRuns((new_run(2),)))
    commit(RecordRuns((new_run(3, version="v2"),)))


def test_housekeeping_is_the_leaders(ledger: Ledger, place: Place) -> None:
    assert ledger.maintain(T0) is False
    ledger.lead("old", 0, T0)
    other = place.open()
    other.lead("new", 0, T0)
    with pytest.raises(StaleEpoch):
        ledger.maintain(T0)
    other.close()


# ---- the account of one fire time or run


def test_the_account_of_a_skip_names_its_row_its_definition_and_the_pause(
    ledger: Ledger, reader: LedgerReader, commit: Commit
) -> None:
    commit(
        RecordJobs((job_row(),)),
        RecordEvent(type="paused", time=at(0.5), job="backup", detail="by eva"),
        RecordSkips((skip(1, 3, 3),)),
        RecordEvent(type="resumed", time=at(3.5), job="backup", detail="by tom"),
        RecordEvent(type="paused", time=at(9), job="backup", detail="by ada"),
        RecordEvent(type="paused", time=at(0.7), job="other", detail="by bob"),
    )
    account = reader.fire_account("backup", at(2))
    assert (account.reason, account.count, account.run_id) == ("paused", 3, None)
    assert (account.first, account.last) == ("2026-11-23T02:01:00Z", "2026-11-23T02:03:00Z")
    assert msgspec.json.decode(account.definition_json or b"", type=Definition) == definition()
    assert account.paused is not None
    assert account.paused.detail == "by eva"
    assert account.resumed is not None
    assert account.resumed.detail == "by tom"
    assert account.counted_from == "2026-11-23T02:00:00Z"
    nothing = reader.fire_account("backup", at(4))
    assert (nothing.reason, nothing.first, nothing.count) == (None, None, 0)


def test_the_account_of_a_fire_time_names_runs_that_were_open_and_who_led_next(
    ledger: Ledger, reader: LedgerReader, commit: Commit
) -> None:
    run, later = new_run(1), new_run(9)
    commit(RecordJobs((job_row(),)), RecordRuns((run, later)), close(run))
    ledger.lead("there", 0, at(30))
    assert reader.fire_account("backup", at(1)).run_id == run.id
    assert reader.fire_account("backup", at(1.05)).open_runs == [run.id]
    assert reader.fire_account("backup", at(2)).open_runs == []
    assert reader.fire_account("backup", at(20)).open_runs == [later.id]
    leadership = reader.fire_account("backup", at(20)).leadership
    assert leadership is not None
    assert (leadership.epoch, leadership.leader, leadership.since) == (2, "there", "2026-11-23T02:30:00Z")
    assert reader.fire_account("backup", at(31)).leadership is None
    assert reader.fire_account("unknown", at(1)).counted_from is None


def test_the_account_of_a_run_has_its_definition_and_what_was_noted(
    ledger: Ledger, reader: LedgerReader, commit: Commit
) -> None:
    run, other = new_run(1), new_run(2)
    commit(
        RecordJobs((job_row(),)),
        RecordRuns((run, other)),
        RecordEvent(type="cancelled", time=at(1), job="backup", run=run.id, detail="by eva"),
        RecordEvent(type="cancelled", time=at(1), job="backup", run=other.id, detail="by tom"),
    )
    account = reader.run_account(run.id)
    assert account is not None
    assert account.detail == reader.run(run.id)
    assert account.created_at == "2026-11-23T02:01:00.003000Z"
    assert account.has_slot
    assert [event.detail for event in account.events] == ["by eva"]
    assert msgspec.json.decode(account.definition_json, type=Definition) == definition()
    assert reader.run_account("backup@20200101T000000Z") is None


# ---- room for backfilled runs


def _split(
    first: float, last: float, pieces: Sequence[Piece], taken: int, rest: float | None
) -> RecordBackfill:
    more = None if rest is None else at(rest)
    split = RowSplit(first=at(first), last=at(last), pieces=tuple(pieces), taken=taken, rest=more)
    return RecordBackfill("backup", 3, (split,))


def test_a_range_that_grew_meanwhile_is_split_all_the_same(
    ledger: Ledger, reader: LedgerReader, commit: Commit
) -> None:
    commit(
        RecordJobs((job_row(mark=at(-1)),)), RecordSkips((skip(1, 5, 5),)), RecordMarks((("backup", at(5)),))
    )
    planned = _split(1, 5, [Piece(at(1), at(4), 4)], 1, 6)
    commit(RecordSkips((skip(6, 8, 3),)))
    commit(planned, RecordRuns((new_run(5),)))
    found = [(row.first, row.last, row.count, row.run) for row in reader.slot_rows("backup", at(0), at(9))]
    assert found == [
        (at(1), at(4), 4, None),
        (at(5), at(5), 1, new_run(5).id),
        (at(6), at(8), 3, None),
    ]
    assert [row.first for row in reader.slot_rows("backup", at(3), at(5))] == [at(1), at(5)]
    assert ledger.load().backfills == (("backup", 3),)


@pytest.mark.parametrize(
    "planned",
    [
        _split(1, 5, [Piece(at(1), at(4), 4)], 1, 6),  # the row ends at 4
        _split(2, 3, [], 2, None),  # no row begins at 2
        _split(1, 4, [Piece(at(1), at(1), 1)], 1, None),  # two would be lost
        _split(1, 4, [Piece(at(1), at(3), 3)], 2, 4),  # one too many
    ],
)
def test_a_split_that_does_not_fit_changes_nothing(
    planned: RecordBackfill, reader: LedgerReader, commit: Commit
) -> None:
    commit(RecordJobs((job_row(),)), RecordSkips((skip(1, 4, 4),)))
    with pytest.raises(LedgerContentError):
        commit(planned)
    assert [(row.first, row.last, row.count) for row in reader.slot_rows("backup", at(0), at(9))] == [
        (at(1), at(4), 4)
    ]


def test_a_removed_job_forgets_how_many_may_go_at_once(ledger: Ledger, commit: Commit) -> None:
    commit(RecordJobs((job_row(),)), RecordBackfill("backup", 3, ()))
    commit(RecordRemovals(("backup",)))
    assert ledger.load().backfills == ()


# ---- what triggers need to remember ------------------------------------------------------------------------------


def test_what_a_job_counts_from_and_how_many_runs_it_had_come_back(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    commit(RecordJobs((job_row(),)))
    commit(RecordAnchors((("backup", at(7)),)), RecordRunCounts((("backup", 2), ("gone", 1))))
    (row,) = ledger.load().jobs
    assert (row.anchor, row.runs) == (at(7), 2)
    facts = reader.job("backup")
    assert facts is not None
    assert facts.runs == 2
    commit(RecordJobs((msgspec.structs.replace(job_row(version="v2"), runs=0),)))
    (row,) = ledger.load().jobs
    assert (row.anchor, row.runs) == (None, 0)


def test_the_boot_in_which_a_job_fired_outlives_the_job(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    commit(RecordJobs((job_row(),)), RecordBoots((("backup", "boot-1"),)))
    commit(RecordBoots((("backup", "boot-2"),)), RecordRemovals(("backup",)))
    assert ledger.load().boots == (("backup", "boot-2"),)


def test_a_skip_that_stands_apart_is_never_part_of_a_range(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    commit(RecordJobs((job_row(),)))
    apart = msgspec.structs.replace(skip(2.5, 2.5, 1), is_apart=True)
    commit(RecordSkips((skip(1, 2, 2), apart, skip(3, 4, 2), skip(5, 5, 1))))
    slots, _ = reader.slots("backup", "", 50)
    assert [slot.fire_time[14:19] for slot in reversed(slots)] == [
        "01:00",
        "02:00",
        "02:30",
        "03:00",
        "04:00",
        "05:00",
    ]


def test_a_range_of_excluded_fire_times_is_spread_with_the_calendar_of_its_definition(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    row = job_row()
    closed = Calendar(days=((T0.date().toordinal(), T0.date().toordinal()),))
    limited = msgspec.structs.replace(
        row.definition.job, excluded=(closed,), jitter=MINUTE / 2, start=at(2), end=at(4)
    )
    row = msgspec.structs.replace(row, definition=msgspec.structs.replace(row.definition, job=limited))
    commit(RecordJobs((row,)))
    commit(RecordSkips((skip(2, 4, 3, SkipReason.CALENDAR),)))
    slots, _ = reader.slots("backup", "", 50)
    assert [(slot.fire_time[14:16], slot.reason) for slot in slots] == [
        ("04", "calendar"),
        ("03", "calendar"),
        ("02", "calendar"),
    ]
    assert ledger.load().jobs[0].definition.job == limited


# ---- what the ledger notes by itself, and events by what they are about -----------------------------------------


def test_a_commit_tells_what_only_the_ledger_knows(ledger: Ledger) -> None:
    epoch = ledger.lead("here", 0, T0)
    ledger.commit(epoch, [RecordJobs((job_row(),))])
    run = new_run()
    assert ledger.commit(epoch, [*fired(run), RecordOutcomes((outcome(run.id, state="lost"),))]) == Noted()
    late, unknown = outcome(run.id), outcome(run.id, 7, 1)
    noted = ledger.commit(epoch, [RecordLateResults((late, unknown), at(2))])
    assert [(event.type, event.attempt, event.job, event.run) for event in noted.events] == [
        ("late_result", late.attempt, "backup", run.id),
        ("unknown_result", unknown.attempt, "backup", run.id),
    ]
    assert [event.worker for event in noted.events] == ["w1", None]
    assert noted.repeated == ()
    assert ledger.commit(epoch, [RecordLateResults((late,), at(3))]) == Noted((), (late.attempt,))


def test_skips_are_told_when_they_begin_and_not_when_they_go_on(ledger: Ledger) -> None:
    epoch = ledger.lead("here", 0, T0)
    ledger.commit(epoch, [RecordJobs((job_row(),))])
    first, second = RecordSkips((skip(1, 2, 2),), at(7)), RecordSkips((skip(3, 3, 1),), at(8))
    (told,) = ledger.commit(epoch, [first]).events
    assert (told.type, told.job, told.time) == ("skipped", "backup", at(7))
    assert told.detail == "paused: 2026-11-23T02:01:00Z to 2026-11-23T02:02:00Z, 2 fire times"
    assert ledger.commit(epoch, [second]) == Noted()
    (other,) = ledger.commit(epoch, [RecordSkips((skip(4, 4, 1, SkipReason.OVERLAP),), at(9))]).events
    assert other.detail == "overlap: 2026-11-23T02:04:00Z"


def test_events_are_found_by_job_run_type_and_number(commit: Commit, reader: LedgerReader) -> None:
    told = [
        RecordEvent(type="worker_lost", time=at(1), worker="w1"),
        RecordEvent(type="retried", time=at(2), job="backup", run="backup@1", attempt="backup@1~0~1"),
        RecordEvent(type="retried", time=at(3), job="backup", run="backup@2", attempt="backup@2~0~1"),
        RecordEvent(type="paused", time=at(4), job="backup"),
    ]
    assert reader.newest_event() == 0
    commit(*told)
    newest = reader.newest_event()

    def found(**query: Any) -> list[tuple[str, str | None]]:
        return [(event.type, event.run) for event in reader.find_events(EventQuery(**query))]

    assert found(job="backup") == [("paused", None), ("retried", "backup@2"), ("retried", "backup@1")]
    assert found(run="backup@1") == [("retried", "backup@1")]
    assert found(types=("worker_lost", "paused")) == [("paused", None), ("worker_lost", None)]
    assert found(limit=1) == [("paused", None)]
    assert found(before=newest, limit=1) == [("retried", "backup@2")]
    assert found(after=newest - 3, limit=2) == [("retried", "backup@1"), ("retried", "backup@2")]
    assert found(after=newest) == []


def test_the_account_of_a_run_has_its_leaders_its_workers_and_who_was_ahead(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    ahead, run = new_run(0.5), new_run(1)
    commit(*fired(ahead))
    commit(RecordEvent(type="worker_suspect", time=T0 - MINUTE, worker="w1"))
    commit(*fired(run))
    (attempt,) = detail(reader, run.id).subtasks_detail[0].attempts
    assert attempt.assigned_at is not None
    commit(RecordEvent(type="worker_suspect", time=run.created_at + MINUTE / 2, worker=attempt.worker))
    commit(RecordEvent(type="worker_suspect", time=run.created_at + MINUTE / 2, worker="another"))
    ledger.lead("there", 0, run.created_at + MINUTE)
    account = reader.run_account(run.id)
    assert account is not None
    assert [one.leader for one in account.leaderships] == ["here", "there"]
    assert [(event.type, event.worker) for event in account.beside] == [("worker_suspect", attempt.worker)]
    assert account.ahead == [ahead.id]


# ---- rounds ----------------------------------------------------------------------------------------------------


def retried(commit: Commit, run: NewRun, again: Again = Again.FAILED) -> None:
    """A run of three subtasks, of which the last one failed, is final and then open again."""
    commit(*fired(run, 3))
    commit(
        RecordOutcomes(
            (outcome(run.id, 0), outcome(run.id, 1), outcome(run.id, 2, state="failed", stderr=b"no"))
        ),
        RecordSubtaskStates(
            run.id,
            (
                (0, SubtaskState.SUCCEEDED, ""),
                (1, SubtaskState.SUCCEEDED, ""),
                (2, SubtaskState.FAILED, "exit"),
            ),
        ),
        RecordResult(run.id, b"first"),
        RecordCancel(run.id, "eva", "timeout"),
        close(run, RunState.FAILED, "timeout"),
    )
    commit(RecordReopening(run.id, 2, again))


def test_a_reopened_run_is_open_work_as_it_was_left(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    retried(commit, run)
    (found,) = ledger.load().runs
    assert (found.state, found.rounds, found.again) == (RunState.PENDING, 2, Again.FAILED)
    assert (found.started_at, found.is_cancelled, found.is_split) == (None, False, True)
    assert [(part.state, part.reason) for part in found.subtasks][-1] == (SubtaskState.FAILED, "exit")
    shown = detail(reader, run.id)
    assert (shown.state, shown.reason, shown.finished_at, shown.rounds) == ("pending", "", None, 2)
    assert shown.result == "first"
    commit(RecordRound(run.id, 4, (2,)))
    assert detail(reader, run.id).result is None


def test_a_round_counts_its_own_failures_and_numbers_its_attempts_on(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    retried(commit, run)
    commit(RecordRound(run.id, 4, (2,)))
    (found,) = ledger.load().runs
    last = found.subtasks[2]
    assert found.again is None
    assert (last.state, last.attempts, last.counted_failures, last.previous) == (
        SubtaskState.PENDING,
        1,
        0,
        "failed",
    )
    assert detail(reader, run.id).subtasks == SubtaskCounts(total=3, succeeded=2, pending=1)
    again = new_attempt(run.id, 2, 2, fence=4)
    commit(RecordAttempts((again,)))
    commit(RecordStarted(((again.id, at(90)),)))
    assert detail(reader, run.id).started_at == "2026-11-23T03:30:00Z"
    assert detail(reader, run.id).late_seconds == 0.003  # as it was recorded, not as it was retried
    commit(RecordOutcomes((outcome(run.id, 2, 2, state="failed"),)))
    commit(
        RecordSubtaskStates(run.id, ((2, SubtaskState.FAILED, "exit"),)), close(run, RunState.FAILED, "exit")
    )
    found_again = reader.recorded_run(run.id)
    assert found_again is not None
    assert (found_again.state, found_again.rounds) == (RunState.FAILED, 2)
    assert (found_again.subtasks[2].attempts, found_again.subtasks[2].counted_failures) == (2, 1)


def test_a_round_may_be_about_any_subtasks(commit: Commit, reader: LedgerReader) -> None:
    run = new_run()
    commit(*fired(run, 40))
    commit(RecordSubtaskStates(run.id, tuple((index, SubtaskState.LOST, "lost") for index in range(40))))
    commit(close(run, RunState.FAILED, "lost"), RecordReopening(run.id, 2, Again.ALL))
    commit(RecordRound(run.id, 41, (*range(20), 33, 35, 37)))
    assert detail(reader, run.id).subtasks == SubtaskCounts(total=40, failed=17, pending=23)


def test_recording_a_reopening_and_its_round_again_changes_nothing(
    ledger: Ledger, commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    retried(commit, run)
    commit(RecordReopening(run.id, 2, Again.FAILED))
    commit(RecordRound(run.id, 4, (2,)))
    commit(RecordAttempts((new_attempt(run.id, 2, 2, fence=4),)))
    before = ledger.load(), reader.run(run.id)
    commit(RecordReopening(run.id, 2, Again.FAILED), RecordRound(run.id, 4, (2,)))
    assert (ledger.load(), reader.run(run.id)) == before


def test_a_run_is_not_opened_by_what_was_read_of_it_before_its_newest_round(commit: Commit) -> None:
    run = new_run()
    retried(commit, run)
    commit(close(run, RunState.CANCELLED, "operator"))
    for rounds in (1, 2, 4):
        with pytest.raises(LedgerContentError, match=f"round {rounds}"):
            commit(RecordReopening(run.id, rounds, Again.ALL))
    commit(RecordReopening(run.id, 3, Again.ALL))
    with pytest.raises(LedgerContentError, match="not final"):
        commit(RecordReopening(run.id, 4, Again.ALL))
    with pytest.raises(LedgerContentError, match="is not in the ledger"):
        commit(RecordReopening("backup@20200101T000000Z", 2, Again.ALL))


def test_a_reopened_run_that_is_closed_forgets_what_was_asked_of_it(ledger: Ledger, commit: Commit) -> None:
    run = new_run()
    retried(commit, run)
    commit(close(run, RunState.CANCELLED, "operator"))
    assert ledger.load().runs == ()
    commit(RecordReopening(run.id, 3, Again.ALL))
    assert [found.again for found in ledger.load().runs] == [Again.ALL]


# ---- wide runs -------------------------------------------------------------------------------------------------


def test_subtasks_come_in_pages_by_index_and_the_steps_after_them(
    commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    commit(
        *fired(run, 10),
        RecordSubtasks(run.id, tuple((index, None, None) for index in (-4, -3, -2, -1)), True),
    )
    commit(RecordAttempts((new_attempt(run.id, -2, fence=20), new_attempt(run.id, 3, 2, fence=21))))
    whole = [part.index for part in detail(reader, run.id).subtasks_detail]
    assert whole == [*range(10), -2, -4, -1, -3]
    for limit in (1, 3, 9, 10, 11, 13, 14, 100):
        found: list[int] = []
        cursor: str | None = ""
        while cursor is not None:
            page, cursor = reader.subtasks(run.id, cursor, limit)
            assert 0 < len(page) <= limit
            found += [part.index for part in page]
        assert found == whole
    page, _ = reader.subtasks(run.id, "", 100)
    assert [len(part.attempts) for part in page] == [1, 1, 1, 2, *[1] * 6, 1, 0, 0, 0]
    assert reader.subtasks("backup@20200101T000000Z", "", 9) == ([], None)
    with pytest.raises(CommandError, match="cursor"):
        reader.subtasks(run.id, "-5", 9)


def test_of_a_wide_run_steps_and_what_went_wrong_are_shown_first(
    commit: Commit, reader: LedgerReader
) -> None:
    run = new_run()
    commit(*fired(run, 30), RecordSubtasks(run.id, ((-1, None, None),), True))
    ends = {5: SubtaskState.FAILED, 20: SubtaskState.TIMEOUT, 21: SubtaskState.CANCELLED}
    commit(
        RecordSubtaskStates(
            run.id,
            tuple((index, ends.get(index, SubtaskState.SUCCEEDED), "") for index in range(30) if index != 29),
        )
    )
    found = reader.run(run.id, 6)
    assert found is not None
    assert [part.index for part in found.subtasks_detail] == [0, 5, 20, 21, 29, -1]
    assert found.subtasks_hidden == 25
    assert all(part.attempts for part in found.subtasks_detail if part.index >= 0)
