"""The account of one run in words: what fired it, its attempts, how it ended or what it waits for."""

from datetime import datetime
from itertools import islice

import msgspec

from schedulerd.api.views.texts import rounded, schedule_text
from schedulerd.api.views.why import in_order
from schedulerd.core.zones import zone
from schedulerd.model.job import Definition, Overlap
from schedulerd.protocol.api_accounts import RunAccount, Why, WhyEntry
from schedulerd.protocol.api_types import Attempt, Event, RunDetail
from schedulerd.protocol.ids import rfc3339

_definition = msgspec.json.Decoder(Definition).decode

_ATTEMPTS = 40  # shown one by one
_STEPS = {-1: "gather", -2: "setup", -3: "teardown", -4: "split"}
_OPERATOR = ("triggered", "cancelled", "backfilled")
_LINED_UP = (Overlap.QUEUE, Overlap.REPLACE)
_HELD = ("catchup", "backfill")


def why_run(account: RunAccount, now: datetime) -> Why:
    """The account of a run, whether it fills a slot or not."""
    run = account.detail
    definition = _definition(account.definition_json)
    entries = [_fired(account, definition), _recorded(account, definition)]
    entries += [_noted(event) for event in account.events]
    entries += _attempts(run)
    verdict, reason, text = "ran", _ending(run), ""
    if run.finished_at is not None:
        text = f"{run.id} {reason}"
        entries.append(WhyEntry(time=run.finished_at, source="run", text=reason))
    else:
        verdict = run.state
        reason, text = _waiting(account, definition)
        entries.append(WhyEntry(time=rfc3339(now), source="leader", text=text))
        text = f"{run.id}: {text}"
    return Why(
        job=run.job,
        fire_time=run.fire_time,
        run_id=run.id,
        verdict=verdict,
        reason=reason,
        text=text,
        timeline=in_order(entries),
    )


def _fired(account: RunAccount, definition: Definition) -> WhyEntry:
    run, job = account.detail, definition.job
    if not account.has_slot:
        by = f" by {account.asked_by}" if account.asked_by else ""
        text = f"a {run.trigger} run{by}: no schedule named this time"
        return WhyEntry(time=run.fire_time, source="operator" if account.asked_by else "trigger", text=text)
    local = datetime.fromisoformat(run.fire_time).astimezone(zone(job.timezone).info)
    text = f"{schedule_text(job.trigger)} names {local:%Y-%m-%d %H:%M:%S %z} ({job.timezone})"
    if run.nominal is not None:
        text += f"; clocks go forward: it stands for {run.nominal.replace('T', ' ')}, which does not exist"
    return WhyEntry(time=run.fire_time, source="trigger", text=text)


def _recorded(account: RunAccount, definition: Definition) -> WhyEntry:
    text = f"recorded as a {account.detail.trigger} run of {definition.origin.text}, version {definition.version}"
    late = datetime.fromisoformat(account.created_at) - datetime.fromisoformat(account.detail.fire_time)
    if account.has_slot and late.total_seconds() >= 1:
        text += f", {rounded(late)} after its fire time"
    if account.detail.trigger == "backfill" and account.asked_by:
        text += f", asked for by {account.asked_by}"
    return WhyEntry(time=account.created_at, source="ledger", text=text)


def _noted(event: Event) -> WhyEntry:
    source = "operator" if event.type in _OPERATOR else "event"
    subtask = "" if event.subtask is None else f" (subtask {_STEPS.get(event.subtask, event.subtask)})"
    return WhyEntry(time=event.time, source=source, text=f"{event.type}{subtask} {event.detail}".rstrip())


def _attempts(run: RunDetail) -> list[WhyEntry]:
    """Two entries an attempt, begin and end; the first ones singly, of the others how many."""
    flat = ((subtask.index, one) for subtask in run.subtasks_detail for one in subtask.attempts)
    entries = [entry for index, one in islice(flat, _ATTEMPTS) for entry in _attempt(index, one)]
    if more := sum(1 for _ in flat):
        last = entries[-1].time if entries else run.fire_time
        text = f"and {more:,} more attempts: schedulerctl run {run.id}"
        entries.append(WhyEntry(time=last, source="attempt", text=text))
    return entries


def _attempt(index: int, one: Attempt) -> list[WhyEntry]:
    name = f"subtask {_STEPS.get(index, index)}, attempt {one.attempt} at {one.worker}"
    entries = []
    if one.started_at is not None:
        entries.append(WhyEntry(time=one.started_at, source="attempt", text=f"{name}: started"))
    if one.finished_at is not None:
        code = "" if one.exit_code is None else f"exit code {one.exit_code}"
        signal = f"signal {one.signal}" if one.signal else ""
        why = ", ".join(filter(None, (one.reason, code, signal, one.detail)))
        text = f"{name}: {one.state}" + (f" ({why})" if why else "")
        entries.append(WhyEntry(time=one.finished_at, source="attempt", text=text))
    return entries


def _ending(run: RunDetail) -> str:
    return f"{run.state}: {run.reason}" if run.reason else run.state


def _waiting(account: RunAccount, definition: Definition) -> tuple[str, str]:
    """(word, sentence): what a run that is not final waits for."""
    run, counts = account.detail, account.detail.subtasks
    if run.trigger in _HELD and not run.subtasks_detail:
        return "turn", f"it waits for its turn: {run.trigger} runs of a job go one after another"
    if run.state == "pending" and not run.subtasks_detail and definition.job.overlap in _LINED_UP:
        return (
            "turn",
            f"it waits until the runs of the job before it have ended: overlap is {definition.job.overlap.value}",
        )
    if counts.running or any(
        one.finished_at is None for part in run.subtasks_detail for one in part.attempts
    ):
        return "working", f"{counts.running} of {counts.total} subtasks are with workers"
    needs = ", ".join(definition.job.requires)
    pools = ", ".join(definition.job.pools)
    place = f" and a place in {pools}" if pools else ""
    able = f"an able worker (requires {needs})" if needs else "a worker with a free slot"
    return (
        "worker",
        f"it waits for {able}{place}, at most {rounded(definition.job.dispatch_timeout)} if there is none",
    )
