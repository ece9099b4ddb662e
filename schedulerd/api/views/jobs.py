"""Jobs as the API shows them: the ledger's row and the leader's view of it put together."""

from dataclasses import fields
from datetime import datetime

import msgspec

from schedulerd.adapters import jobfiles
from schedulerd.api.views.texts import schedule_text, time_text
from schedulerd.core.requests import JobView
from schedulerd.core.trigger import is_finite, next_run
from schedulerd.model.job import Definition
from schedulerd.model.run import Pause
from schedulerd.protocol.api_types import Job, JobDetail, JobFacts, PauseInfo

_definitions = msgspec.json.Decoder(Definition)


def definition_of(facts: JobFacts) -> Definition:
    """The definition in a ledger row."""
    return _definitions.decode(facts.definition_json)


def job_view(facts: JobFacts, definition: Definition, view: JobView | None, now: datetime) -> Job:
    """A job as lists show it; without the leader's view, what the ledger alone tells."""
    if view is not None:
        definition = view.definition
        paused = _pause_info(view.pause)
        state = view.state
        next_time = view.next_fire_time
        running = len(view.open_runs)
    else:
        paused = facts.pause
        next_time = _next_by_ledger(facts, definition, now)
        state = _state_by_ledger(facts, definition, paused, next_time)
        running = facts.open_runs
    job = definition.job
    if paused is None and job.paused:
        paused = PauseInfo(by="definition", reason="paused = true", since=facts.first_seen)
    return Job(
        name=job.name,
        state=state,
        schedule=schedule_text(job.trigger),
        timezone=job.timezone,
        next_fire_time=time_text(next_time) if state == "active" else None,
        origin=definition.origin.text,
        paused=paused,
        last_run=facts.last_run,
        labels=list(job.requires),
        tags=list(job.tags),
        description=job.description,
        version=definition.version,
        running=running,
    )


def job_detail(summary: Job, definition: Definition) -> JobDetail:
    """One job with its definition as a document, and every key's value with its source."""
    return JobDetail(
        **{field.name: getattr(summary, field.name) for field in fields(Job)},
        definition=jobfiles.to_document(definition.job),
        effective=jobfiles.to_document(definition.job, effective=True),
        source=jobfiles.effective_sources(definition),
    )


def anchor_of(facts: JobFacts) -> datetime | None:
    """What the `every` of a job counts from."""
    return None if facts.anchor is None else datetime.fromisoformat(facts.anchor)


def _pause_info(pause: Pause | None) -> PauseInfo | None:
    if pause is None:
        return None
    since = time_text(pause.since) or ""
    return PauseInfo(by=pause.by, reason=pause.reason, since=since, until=time_text(pause.until))


def _next_by_ledger(facts: JobFacts, definition: Definition, now: datetime) -> datetime | None:
    most = definition.job.max_runs
    is_spent = most is not None and facts.runs >= most
    fire = None if is_spent else next_run(definition.job, anchor_of(facts), now)
    return None if fire is None else fire.instant


def _state_by_ledger(
    facts: JobFacts, definition: Definition, paused: PauseInfo | None, next_time: datetime | None
) -> str:
    if paused is not None or definition.job.paused:
        return "paused"
    is_over = next_time is None and is_finite(definition.job) and not facts.open_runs
    return "done" if is_over else "active"
