"""The account of one run in words: what fired it, how it ended or what it waits for. What lies between: timeline.py."""

from datetime import datetime, timedelta

import msgspec

from schedulerd.api.views.texts import rounded, schedule_text
from schedulerd.api.views.timeline import timeline
from schedulerd.api.views.timeline_lines import Line, Names, instant
from schedulerd.core.zones import zone
from schedulerd.model.job import Definition, Overlap
from schedulerd.protocol.api_accounts import RunAccount, Why
from schedulerd.protocol.api_types import RunDetail

_definition = msgspec.json.Decoder(Definition).decode

_WORTH_TELLING = timedelta(seconds=1)
_LINED_UP = (Overlap.QUEUE, Overlap.REPLACE)
_HELD = ("catchup", "backfill")


def why_run(account: RunAccount, now: datetime) -> Why:
    """The account of a run, whether it fills a slot or not."""
    run = account.detail
    definition = _definition(account.definition_json)
    names = Names(account)
    head = [_fired(account, definition), _recorded(account, definition, names)]
    head += _waited(account, definition)
    verdict, reason, text = "ran", _ending(run), ""
    if run.finished_at is not None:
        text = f"{run.id} {reason}"
        at = instant(run.finished_at)
        end = Line(at=at, source=names.scheduler_at(at), text=f"closed: {reason}{_recorded_results(run)}")
    else:
        verdict = run.state
        reason, text = _waiting(account, definition)
        end = Line(at=now, source=names.scheduler_at(now), text=text)
        text = f"{run.id}: {text}"
    return Why(
        job=run.job,
        fire_time=run.fire_time,
        run_id=run.id,
        verdict=verdict,
        reason=reason,
        text=text,
        timeline=timeline(account, head, end, now),
    )


def _fired(account: RunAccount, definition: Definition) -> Line:
    run, job = account.detail, definition.job
    if not account.has_slot:
        by = f" by {account.asked_by}" if account.asked_by else ""
        text = f"a {run.trigger} run{by}: no schedule named this time"
        source = "operator" if account.asked_by else "trigger"
        return Line(at=instant(run.fire_time), source=source, text=text)
    local = datetime.fromisoformat(run.fire_time).astimezone(zone(job.timezone).info)
    text = f"{schedule_text(job.trigger)} names {local:%Y-%m-%d %H:%M:%S %z} ({job.timezone})"
    if run.nominal is not None:
        text += f"; clocks go forward: it stands for {run.nominal.replace('T', ' ')}, which does not exist"
    return Line(at=instant(run.fire_time), source="trigger", text=text)


def _recorded(account: RunAccount, definition: Definition, names: Names) -> Line:
    text = f"recorded as a {account.detail.trigger} run of {definition.origin.text}, version {definition.version}"
    late = datetime.fromisoformat(account.created_at) - datetime.fromisoformat(account.detail.fire_time)
    if account.has_slot and late.total_seconds() >= 1:
        text += f", {rounded(late)} after its fire time"
    if account.detail.trigger == "backfill" and account.asked_by:
        text += f", asked for by {account.asked_by}"
    at = instant(account.created_at)
    return Line(at=at, source=names.scheduler_at(at), text=text)


def _waited(account: RunAccount, definition: Definition) -> list[Line]:
    """For what it waited until the first attempt was handed out, if that took long enough to ask."""
    run, job = account.detail, definition.job
    handed = [one.assigned_at for part in run.subtasks_detail for one in part.attempts if one.assigned_at]
    if not handed:
        return []
    at = min(map(instant, handed))
    waited = at - instant(account.created_at)
    if waited < _WORTH_TELLING:
        return []
    if run.trigger in _HELD:
        what = f"its turn: {run.trigger} runs of a job go one after another"
    elif account.ahead and job.overlap in _LINED_UP:
        what = f"its turn behind {account.ahead[-1]}: overlap is {job.overlap.value}"
    else:
        place = f" and a place in {', '.join(job.pools)}" if job.pools else ""
        needs = f" (requires {', '.join(job.requires)})" if job.requires else ""
        what = f"an able worker with a free slot{needs}{place}"
    return [Line(at=at, source=Names(account).scheduler_at(at), text=f"waited {rounded(waited)} for {what}")]


def _recorded_results(run: RunDetail) -> str:
    """What became of the results of a run that is final."""
    ended = (one for part in run.subtasks_detail for one in part.attempts if one.finished_at is not None)
    count = sum(1 for one in ended if one.state not in ("lost", "unstarted"))
    if not count:
        return ""
    return f"; {'its result is' if count == 1 else f'its {count:,} results are'} recorded and acknowledged"


def _ending(run: RunDetail) -> str:
    return f"{run.state}: {run.reason}" if run.reason else run.state


def _waiting(account: RunAccount, definition: Definition) -> tuple[str, str]:
    """(word, sentence): what a run that is not final waits for."""
    run, counts = account.detail, account.detail.subtasks
    is_begun = any(part.state in ("pending", "running") for part in run.subtasks_detail)
    if run.rounds > 1 and run.state == "pending" and not is_begun:
        return (
            "turn",
            f"its retry waits until other runs of the job have ended: overlap is {definition.job.overlap.value}",
        )
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
