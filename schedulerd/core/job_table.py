"""Changing the job table: one job put or deleted through the API, the whole table replaced by the job files.

An old definition is accounted for up to now and the new one counts from now. Other orders are in commands.py.
"""

import difflib
from collections.abc import Iterable
from datetime import datetime

from msgspec import structs

from schedulerd.core import firing, overlap, runs
from schedulerd.core import requests as rq
from schedulerd.core.booting import fire_at_boot
from schedulerd.core.cancelling import cancel_run
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordJobs, RecordPools, RecordRemovals
from schedulerd.core.looking_up import entry_of, not_found, refuse_in_doubt
from schedulerd.core.state import JobEntry, State
from schedulerd.core.trigger import FireTime, first_anchor, next_fire
from schedulerd.core.waking import await_fire
from schedulerd.errors import CommandError
from schedulerd.model.job import At, Definition, Pool
from schedulerd.model.moment import Moment
from schedulerd.model.run import JobRow


def put(state: State, request: rq.PutJob, now: Moment, draft: Draft) -> rq.Stored:
    name = request.definition.job.name
    entry = state.jobs.get(name)
    if entry is not None:
        if request.must_be_new:
            raise CommandError("conflict", f"{name} exists already (from {entry.definition.origin.text})")
        _refuse_foreign(entry)
        _refuse_changed(entry, request.expected_version)
        refuse_in_doubt(state, entry, now)
    elif request.expected_version is not None:
        raise not_found(state, name)
    _refuse_unknown_pools(state, request.definition)
    _store(state, request.definition, request.filled, now, draft)
    verb = "created" if entry is None else "changed"
    draft.events.append(runs.event(f"job_{verb}", now, job=name, detail=f"by {request.by}"))
    return rq.Stored(definition=request.definition, is_new=entry is None)


def delete(state: State, request: rq.DeleteJob, now: Moment, draft: Draft) -> rq.Stored:
    entry = entry_of(state, request.job)
    _refuse_foreign(entry)
    _refuse_changed(entry, request.expected_version)
    refuse_in_doubt(state, entry, now)
    definition = _remove(state, request.job, request.cancel, request.by, now, draft)
    draft.events.append(runs.event("job_removed", now, job=request.job, detail=f"by {request.by}"))
    return rq.Stored(definition=definition)


def replace(state: State, request: rq.ReplaceTable, now: Moment, draft: Draft) -> rq.TableReplaced:
    named = {definition.job.name: definition for definition in request.definitions}
    pools = _pools(state, request)
    has_other_pools = pools != state.pools
    added, changed, same, doubles = [], [], [], []
    for (
        name,
        definition,
    ) in named.items():  # often 100,000 of which one has changed: no more than this for the others
        entry = state.jobs.get(name)
        if entry is None:
            added.append(name)
        elif entry.definition is definition:
            continue
        elif not entry.definition.origin.file:
            doubles.append(
                f"{definition.origin.text}: {name} exists already, made through the API; remove it there or rename "
                "this one"
            )
        elif entry.definition.version != definition.version:
            changed.append(name)
        else:
            same.append(entry)
    unnamed = [state.jobs[name] for name in sorted(state.jobs.keys() - named.keys())]
    removed = [entry.job.name for entry in unnamed if entry.definition.origin.file]
    doubles += [
        f"{entry.job.name}, made through the API, is in pool {pool}, for which there is no [pool.{pool}] any more"
        for entry in unnamed
        if not entry.definition.origin.file
        for pool in entry.job.pools
        if pool not in pools or pools[pool].is_retired
    ]
    if doubles:
        raise CommandError("conflict", "\n".join(doubles))
    filled: dict[str, list[datetime]] = {}
    for name, instant in request.filled:
        filled.setdefault(name, []).append(instant)
    for name in (*changed, *removed):
        refuse_in_doubt(
            state, state.jobs[name], now
        )  # the last of the refusals: nothing is changed before it
    if has_other_pools:
        state.pools = pools
        draft.tables.append(RecordPools(tuple(pools.values())))
    rows = [_accept(state, named[name], filled.get(name, ()), now, draft) for name in (*added, *changed)]
    for entry in same:
        definition = named[entry.job.name]
        is_moved = entry.definition != definition  # the same job at another line
        entry.definition = definition  # an equal one too: it shares its parts with others of the table
        if is_moved:
            rows.append(_row(entry))
    if rows:
        draft.tables.append(RecordJobs(tuple(rows)))
    for name in removed:
        _remove(state, name, False, "reload", now, draft)
    if added or changed or removed or has_other_pools:
        detail = f"{len(added)} added, {len(changed)} changed, {len(removed)} removed"
        if has_other_pools:
            shown = ", ".join(f"{pool.name} {pool.max}" for pool in pools.values() if not pool.is_retired)
            detail += f"; pools: {shown or 'none'}"
        draft.events.append(runs.event("table_replaced", now, detail=detail))
    unchanged = len(named) - len(added) - len(changed)
    return rq.TableReplaced(
        added=tuple(sorted(added)),
        changed=tuple(sorted(changed)),
        removed=tuple(sorted(removed)),
        unchanged=unchanged,
    )


def _store(
    state: State, definition: Definition, filled: Iterable[datetime], now: Moment, draft: Draft
) -> JobRow:
    """Take a definition into the table: an old one is accounted for up to now, the new one counts from now."""
    row = _accept(state, definition, filled, now, draft)
    draft.tables.append(RecordJobs((row,)))
    return row


def _remove(state: State, name: str, cancel: bool, by: str, now: Moment, draft: Draft) -> Definition:
    """Take a job out of the table; its open runs finish and keep their history, or are cancelled."""
    entry = state.jobs[name]
    firing.account(state, entry, now, draft)
    firing.settle_removed(state, entry, now, draft)
    draft.tables.append(RecordRemovals((name,)))
    del state.jobs[name]
    state.removed[name] = entry.mark
    if cancel:
        aside = [run.id for run in state.held.get(name, ()) if run.is_aside and run.id in state.runs]
        for run_id in (*entry.open_runs, *aside):
            cancel_run(state, state.runs[run_id], by, False, now, draft)
    return entry.definition


def _accept(
    state: State, definition: Definition, filled: Iterable[datetime], now: Moment, draft: Draft
) -> JobRow:
    """As `_store`; the row that is returned has still to be recorded."""
    job = definition.job
    entry = state.jobs.get(job.name)
    if entry is None:
        was_removed = job.name in state.removed
        mark = max(now.utc, state.removed.pop(job.name, now.utc))
        entry = JobEntry(definition, now.utc, mark, first_anchor(job, now.utc), None)
        if was_removed:  # its runs that are not final still count
            known = (run for run in state.runs.values() if run.job.name == job.name)
            entry.open_runs.update((run.id, None) for run in known if not run.is_aside)
        state.jobs[job.name] = entry
    else:
        firing.account(state, entry, now, draft)
        anchor = first_anchor(job, now.utc) if entry.job.trigger != job.trigger else entry.anchor
        if not _goes_on(entry, next_fire(job, anchor, entry.mark), now):
            settled = firing.settle_early(state, entry, now, draft)
            filled = filled if settled is None else {*filled, settled}
        if isinstance(entry.job.trigger, At):  # fired since the caller looked for rows
            filled = {*filled, *(at for at in entry.job.trigger.instants if at <= entry.mark)}
        entry.anchor = anchor
        entry.definition = definition
        overlap.look_again(state, job.name)
    if job.max_runs is None:
        entry.runs = 0
    row = _row(entry)
    if isinstance(job.trigger, At):
        _account_past(state, entry, job.trigger, set(filled), now, draft)
    await_fire(state, entry, next_fire(job, entry.anchor, entry.mark))
    firing.count_again(state, entry, now, draft)
    fire_at_boot(state, entry, now, draft)
    return row


def _goes_on(entry: JobEntry, fire: FireTime | None, now: Moment) -> bool:
    """Whether a fire time that waits for its jitter is one of the new definition, too, and may go on waiting."""
    if fire is None or entry.next_fire is None:
        return False
    return fire.instant == entry.next_fire.instant and fire.due > now.utc


def _account_past(
    state: State, entry: JobEntry, at: At, filled: set[datetime], now: Moment, draft: Draft
) -> None:
    """New instants that are past already meet the misfire policy once; those that have their row never fire again."""
    new = tuple(instant for instant in at.instants if instant <= entry.mark and instant not in filled)
    if not new:
        return
    firing.settle_past(state, entry, At(instants=new), now, draft)


def _row(entry: JobEntry) -> JobRow:
    return JobRow(
        definition=entry.definition,
        first_seen=entry.first_seen,
        mark=entry.mark,
        anchor=entry.anchor,
        pause=entry.pause,
        runs=entry.runs,
    )


def _pools(state: State, request: rq.ReplaceTable) -> dict[str, Pool]:
    """Those of the new table, and those that it lacks as long as open runs are held by them."""
    pools = {pool.name: pool for pool in request.pools}
    named = {name: None for run in state.runs.values() for name in run.job.pools}
    for name in named:
        if name not in pools and name in state.pools:
            pools[name] = structs.replace(state.pools[name], is_retired=True)
    return dict(sorted(pools.items()))


def _refuse_foreign(entry: JobEntry) -> None:
    if entry.definition.origin.file:
        where = entry.definition.origin.text
        raise CommandError("conflict", f"{entry.job.name} is owned by {where}; change it there and reload")


def _refuse_unknown_pools(state: State, definition: Definition) -> None:
    for pool in definition.job.pools:
        if pool not in state.pools or state.pools[pool].is_retired:
            near = tuple(difflib.get_close_matches(pool, state.pools, 3))
            raise CommandError("invalid", f'pools: there is no pool "{pool}" in the job files', near)


def _refuse_changed(entry: JobEntry, expected: str | None) -> None:
    if expected is not None and expected != entry.definition.version:
        raise CommandError(
            "conflict",
            f"{entry.job.name} is at version {entry.definition.version}, not {expected}; read it again",
        )
