"""Pools through the leader's mind: never more attempts than `max`, nobody else held up, counted anew by a takeover."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from support.leading import (
    a_job,
    answer,
    asked,
    beat,
    began,
    closed,
    defined,
    ended,
    events_of,
    inventory,
    leading,
    of,
    refused,
    sent,
    told,
    took,
)
from support.takeovers import Leadership

from schedulerd.core import effects as fx
from schedulerd.core import requests as rq
from schedulerd.core.events import AlarmRang
from schedulerd.core.state import State
from schedulerd.errors import CommandError
from schedulerd.model.job import Argv, Job, OnLost, Overlap, PerWorker, Pool, Shards
from schedulerd.protocol import messages as msg


def table(*jobs: Job, **limits: int) -> rq.ReplaceTable:
    pools = tuple(Pool(name=name, max=limit) for name, limit in limits.items())
    return rq.ReplaceTable(definitions=tuple(map(defined, jobs)), pools=pools)


def pooled(name: str, *pools: str, **changes: object) -> Job:
    return a_job(name, pools=pools or ("db",), **changes)


def with_pools(
    *jobs: Job, slots: int = 10, workers: Sequence[str] = ("w1",), labels: Sequence[str] = (), **limits: int
) -> State:
    state = leading(workers=workers, slots=slots, labels=labels)
    told(state, [asked(table(*jobs, **limits))], "02:00:00.1")
    return state


def start(state: State, job: str, now: str = "02:00:01", key: str = "k") -> list[fx.Effect]:
    return told(state, [asked(rq.TriggerJob(job=job, key=key, by="ann"))], now)


def given(effects: list[fx.Effect]) -> list[tuple[str, str]]:
    """(worker, attempt) of what is given out now; what is sent again is left out."""
    return [
        (attempt.worker, attempt.id)
        for record in of(fx.RecordAttempts, effects)
        for attempt in record.attempts
    ]


def names(effects: list[fx.Effect]) -> list[str]:
    return [f"{attempt.partition('@')[0]}~{attempt.split('~')[1]}" for _, attempt in given(effects)]


def test_a_pool_holds_the_attempts_of_all_its_jobs_to_its_number() -> None:
    state = with_pools(pooled("a", split=Shards(count=3)), pooled("b", split=Shards(count=2)), db=2)
    first = start(state, "a")
    assert names(first) == ["a~0", "a~1"]
    assert names(start(state, "b")) == []
    _, attempt = given(first)[0]
    assert names(told(state, [ended("w1", attempt)], "02:00:02")) == ["a~2"]  # who waited first comes first
    _, attempt = given(first)[1]
    assert names(told(state, [ended("w1", attempt)], "02:00:03")) == ["b~0"]


def test_jobs_that_are_not_in_a_full_pool_go_past_those_that_wait_for_it() -> None:
    free = a_job("free")
    state = with_pools(pooled("a", split=Shards(count=5)), pooled("b", "disk"), free, db=1, disk=1)
    assert names(start(state, "a")) == ["a~0"]
    assert names(start(state, "free")) == ["free~0"]
    assert names(start(state, "b")) == ["b~0"]


def test_with_few_slots_lanes_take_turns_in_the_order_they_began_to_wait() -> None:
    jobs = [a_job("plain1"), pooled("a"), a_job("plain2"), pooled("b")]
    state = with_pools(a_job("busy"), *jobs, slots=1, db=1)
    busy = given(start(state, "busy"))[0][1]
    for job in jobs:
        assert not given(start(state, job.name))
    order = []
    running = busy
    for second in range(2, 6):
        effects = told(state, [ended("w1", running)], f"02:00:0{second}")
        order += names(effects)
        running = given(effects)[0][1]
    assert order == ["plain1~0", "a~0", "plain2~0", "b~0"]


def test_a_job_in_two_pools_needs_a_place_in_both() -> None:
    state = with_pools(pooled("both", "db", "disk"), pooled("a"), pooled("b", "disk"), db=1, disk=1)
    first = given(start(state, "a"))[0][1]
    assert names(start(state, "both")) == []
    second = given(start(state, "b"))[0][1]  # `both` holds no place while it waits
    assert names(told(state, [ended("w1", first)], "02:00:02")) == []
    assert names(told(state, [ended("w1", second)], "02:00:03")) == ["both~0"]
    assert state.pool_use == {"db": 1, "disk": 1}


def test_gather_and_subtasks_for_each_worker_take_places_too() -> None:
    spread = pooled("spread", split=PerWorker(), gather=Argv(argv=("collect",)))
    state = with_pools(spread, pooled("a"), workers=("w1", "w2"), db=1)
    effects = start(state, "spread")
    assert names(effects) == ["spread~0"]
    effects = told(state, [ended("w1", given(effects)[0][1])], "02:00:02")
    assert names(effects) == ["spread~1"]
    assert names(start(state, "a", "02:00:03")) == []
    effects = told(state, [ended("w2", given(effects)[0][1])], "02:00:04")
    assert len(names(effects)) == 1
    (waits,) = {"spread~-1", "a~0"} - set(names(effects))
    assert names(told(state, [ended(given(effects)[0][0], given(effects)[0][1])], "02:00:05")) == [waits]


@pytest.mark.parametrize("end", ["failed", "timeout", "cancelled"])
def test_every_end_of_an_attempt_frees_its_place(end: str) -> None:
    state = with_pools(pooled("a"), pooled("b"), db=1)
    attempt = given(start(state, "a"))[0][1]
    start(state, "b")
    assert names(told(state, [ended("w1", attempt, end)], "02:00:02")) == ["b~0"]


def test_an_attempt_that_was_refused_frees_its_place() -> None:
    state = with_pools(pooled("a"), pooled("b"), workers=("w1", "w2"), db=1)
    worker, attempt = given(start(state, "a"))[0]
    start(state, "b")
    effects = told(state, [refused(worker, attempt, "full")], "02:00:02")
    assert len(given(effects)) == 1
    assert state.pool_use == {"db": 1}


def test_a_lost_attempt_frees_its_place_when_it_is_called_lost_and_not_before() -> None:
    state = with_pools(pooled("a"), pooled("b"), workers=("w1", "w2"), db=1)
    worker, attempt = given(start(state, "a"))[0]
    other = "w2" if worker == "w1" else "w1"
    told(state, [began(worker, attempt)], "02:00:02")
    start(state, "b", "02:00:03")
    for second in range(4, 70, 2):
        now = f"02:{second // 60:02}:{second % 60:02}"
        effects = told(state, [AlarmRang(), beat(other, second, now)], now)
        if "worker_lost" in events_of(effects):
            assert (closed(effects)[0][1:], names(effects)) == (("failed", "lost"), ["b~0"])
            return
        assert not given(effects)
    pytest.fail("the worker was never called lost")


def test_an_attempt_of_a_silent_worker_is_not_given_out_twice_when_its_job_is_in_a_pool() -> None:
    job = pooled("a", on_lost=OnLost.RETRY, overlap=Overlap.ALLOW)
    state = with_pools(job, workers=("w1", "w2"), db=2)
    worker, _ = given(start(state, "a"))[0]
    other = "w2" if worker == "w1" else "w1"
    for second in range(2, 40, 2):
        now = f"02:00:{second:02}"
        assert not given(told(state, [AlarmRang(), beat(other, second, now)], now))


def test_attempts_of_jobs_in_a_pool_end_without_a_leader() -> None:
    state = with_pools(pooled("a", overlap=Overlap.ALLOW), a_job("free", overlap=Overlap.ALLOW), db=1)
    for job, is_guarded in (("a", True), ("free", False)):
        (_, dispatch), *_ = sent(msg.Dispatch, start(state, job))
        assert dispatch.specs[0].guarded is is_guarded


def test_waiting_for_a_pool_has_no_term_and_counts_against_none() -> None:
    state = with_pools(pooled("a"), pooled("b"), workers=("w1", "w2"), db=1)
    attempt = given(start(state, "a"))[0][1]
    start(state, "b", "02:00:02")
    told(state, [took("w1", attempt)], "02:00:02")
    alive = [beat("w1", 1, "02:20:00"), beat("w2", 1, "02:20:00")]
    effects = told(state, [*alive, ended("w1", attempt)], "02:20:00")  # dispatch_timeout is 5 minutes
    assert names(effects) == ["b~0"]
    worker, second = given(effects)[0]
    assert not closed(
        told(state, [refused(worker, second, "full")], "02:20:01")
    )  # its first try: given again


def test_a_reload_that_changes_max_counts_for_new_attempts_and_ends_none() -> None:
    jobs = (pooled("a", split=Shards(count=4)),)
    state = with_pools(*jobs, db=2)
    first = given(start(state, "a"))
    effects = told(state, [asked(table(*jobs, db=3))], "02:00:02")
    assert of(fx.RecordPools, effects) == [fx.RecordPools((Pool(name="db", max=3),))]
    assert names(effects) == ["a~2"]
    effects = told(state, [asked(table(*jobs, db=1))], "02:00:03")
    assert not sent(msg.Cancel, effects)
    for number, (_, attempt) in enumerate(first):
        assert not given(told(state, [ended("w1", attempt)], f"02:00:0{4 + number}"))
    third = next(iter(state.attempts))
    assert names(told(state, [beat("w1", 1, "02:00:06"), ended("w1", third)], "02:00:06")) == ["a~3"]


def test_a_pool_that_no_file_has_any_more_holds_the_open_runs_that_name_it() -> None:
    state = with_pools(pooled("a", split=Shards(count=2)), db=1)
    (_, first), *_ = given(start(state, "a"))
    retired = Pool(name="db", max=1, is_retired=True)
    effects = told(state, [asked(table())], "02:00:02")
    assert of(fx.RecordPools, effects) == [fx.RecordPools((retired,))]
    assert not given(effects)
    named = rq.PutJob(definition=defined(pooled("x"), ""), by="ann")
    assert isinstance(answer(told(state, [asked(named)], "02:00:02.5")), CommandError)
    (_, second), *_ = given(told(state, [ended("w1", first)], "02:00:03"))
    assert closed(told(state, [ended("w1", second)], "02:00:04"))
    assert of(fx.RecordPools, told(state, [asked(table())], "02:00:05")) == [fx.RecordPools(())]


def test_a_table_with_the_same_pools_records_none() -> None:
    state = with_pools(pooled("a"), db=2)
    assert not of(fx.RecordPools, told(state, [asked(table(pooled("a"), db=2))], "02:00:02"))


def test_a_job_of_the_api_may_name_known_pools_only_and_keeps_them_in_the_table() -> None:
    state = with_pools(db=1)
    unknown = defined(pooled("x", "dbb"), "")
    refusal = answer(told(state, [asked(rq.PutJob(definition=unknown, by="ann"))], "02:00:02"))
    assert isinstance(refusal, CommandError)
    assert (refusal.kind, refusal.near) == ("invalid", ("db",))
    known = defined(pooled("x"), "")
    assert isinstance(
        answer(told(state, [asked(rq.PutJob(definition=known, by="ann"))], "02:00:03")), rq.Stored
    )
    refusal = answer(told(state, [asked(table())], "02:00:04"))
    assert isinstance(refusal, CommandError)
    assert refusal.kind == "conflict"
    assert list(state.pools) == ["db"]


def test_a_takeover_counts_the_open_attempts(tmp_path: Path) -> None:
    with closing(Leadership(tmp_path, workers=("w1", "w2"), slots=10)) as leader:
        leader.tell([asked(table(pooled("a", split=Shards(count=4)), pooled("b"), db=2))], "02:00:00.1")
        ask = rq.TriggerJob(job="a", key="k", by="ann")
        first = given(leader.tell([asked(ask)], "02:00:01"))
        assert len(first) == 2
        held = {worker: [attempt] for worker, attempt in first}
        assert not given(leader.take_over("02:00:05", held))
        assert (list(leader.state.pools), leader.state.pool_use) == (["db"], {"db": 2})
        assert not given(leader.tell([asked(rq.TriggerJob(job="b", key="k", by="ann"))], "02:00:06"))
        worker, attempt = first[0]
        assert names(leader.tell([ended(worker, attempt)], "02:00:07")) == ["a~2"]


def test_a_place_is_free_when_a_restarted_worker_does_not_have_the_attempt() -> None:
    state = with_pools(pooled("a"), pooled("b"), db=1)
    attempt = given(start(state, "a"))[0][1]
    told(state, [began("w1", attempt)], "02:00:02")
    start(state, "b", "02:00:03")
    for second in range(4, 20, 2):  # silent for long enough to have been restarted
        told(state, [AlarmRang()], f"02:00:{second:02}")
    effects = told(state, [inventory("w1", "02:00:20", nonce="n2")], "02:00:20")
    assert closed(effects)[0][1:] == ("failed", "lost")
    assert names(effects) == ["b~0"]


def test_runs_in_a_full_pool_cost_one_look() -> None:
    state = with_pools(
        pooled("a", overlap=Overlap.ALLOW), a_job("free", overlap=Overlap.ALLOW), slots=400, db=1
    )
    for number in range(300):
        effects = start(state, "a", key=f"k{number}")
        told(state, [took("w1", *(attempt for _, attempt in given(effects)))], "02:00:01")
    looked = 0

    class Counting(dict[str, object]):
        def values(self) -> object:  # type: ignore[override]
            nonlocal looked
            looked += 1
            return super().values()

    (lane,) = state.waiting
    state.waiting[lane] = Counting(state.waiting[lane])  # type: ignore[assignment]
    assert names(start(state, "free", "02:00:02")) == ["free~0"]
    assert looked == 0
