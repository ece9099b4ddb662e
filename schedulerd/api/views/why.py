"""The account of one fire time in words: run, skipped, still to come, or none at all, and why."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from schedulerd.api.views.texts import rounded, schedule_text
from schedulerd.core.calendars import refusal
from schedulerd.core.nearby import fire_at, last_before
from schedulerd.core.trigger import FireTime, next_fire
from schedulerd.core.zones import zone
from schedulerd.model.job import Definition, Every, Job, Manual
from schedulerd.protocol.api_accounts import FireAccount, Why, WhyEntry
from schedulerd.protocol.api_types import JobFacts
from schedulerd.protocol.ids import rfc3339

_definition = msgspec.json.Decoder(Definition).decode

_SKIPS = {
    "paused": "the job was paused",
    "held": "everything was on hold",
    "overlap": "another run of the job was not final and overlap did not allow a second one",
    "queue_full": "as many runs of the job were waiting as queue_max allows",
    "misfire": "it was missed, and the misfire policy did not make up for it",
    "too_old": "it was missed, and when it was found it was older than catchup allows",
    "calendar": "a calendar of the job excludes it",
    "gap": "the clocks went forward over it and dst_gap is skip",
    "removed": "the job was taken out of the table",
}
_MISSED = ("misfire", "too_old")


class Asked(NamedTuple):
    """What is asked about, and what is known of it."""

    name: str
    at: datetime
    now: datetime
    facts: JobFacts | None  # None: the job is not in the table any more
    definition: Definition | None  # the newest that is known
    account: FireAccount

    @property
    def anchor(self) -> datetime | None:
        """What an `every` counts from."""
        if self.facts is None or self.facts.anchor is None:
            return None
        return datetime.fromisoformat(self.facts.anchor)


def why_fire(asked: Asked) -> Why:
    """The account of an instant that no run fills."""
    if asked.account.reason is not None and (fire := _skipped_fire(asked)) is not None:
        return _skipped(asked, fire)
    if asked.definition is None or asked.facts is None:
        text = f"{asked.name} is not in the job table any more, and the ledger has no row for this time"
        return _answer(asked, "no_row", "removed", text, [])
    job = asked.definition.job
    if isinstance(job.trigger, Manual):
        return _answer(
            asked, "never", "manual", f"{job.name} has no schedule: it runs only when triggered", []
        )
    fire = fire_at(job, asked.anchor, asked.at)
    if fire is None:
        return _no_fire_time(asked, job)
    if asked.at > asked.now:
        return _not_yet(asked, fire)
    if asked.at > datetime.fromisoformat(asked.facts.mark):
        text = f"{rfc3339(asked.at)} is due and not settled yet; the next step of the leader gives it its row"
        return _answer(asked, "due", "unsettled", text, [_named(asked, job, fire)])
    return _no_row(asked, job, fire)


def why_never(name: str, definition: Definition, now: datetime) -> Why:
    """The account of a job that has neither rows, nor runs, nor a coming fire time."""
    trigger = definition.job.trigger
    text = (
        f"{name} has no schedule: it runs only when triggered, and that has not happened yet"
        if isinstance(trigger, Manual)
        else f"{name} ({schedule_text(trigger)}) has not fired and has no fire time ahead"
    )
    reason = "manual" if isinstance(trigger, Manual) else "over"
    return Why(job=name, fire_time=None, run_id=None, verdict="never", reason=reason, text=text)


def _skipped_fire(asked: Asked) -> FireTime | None:
    """The fire time that a row of skips holds at that instant; None when the instant only lies between two."""
    account, at = asked.account, asked.at
    if account.definition_json is not None and account.first is not None:
        job = _definition(account.definition_json).job
        first = datetime.fromisoformat(account.first)
        # the first of a row is a fire time, which is all that the phase of `every` needs
        anchor = first - job.trigger.period if isinstance(job.trigger, Every) else None
        if (fire := fire_at(job, anchor, at)) is not None:
            return fire
    ends = [datetime.fromisoformat(end) for end in (account.first, account.last) if end]
    return FireTime(at) if at in ends else None


def _skipped(asked: Asked, fire: FireTime) -> Why:
    account = asked.account
    reason = account.reason or ""
    entries = []
    if account.definition_json is not None:
        definition = _definition(account.definition_json)
        entries.append(_named(asked, definition.job, fire))
    cause = _SKIPS.get(reason, reason)
    if reason == "calendar" and account.definition_json is not None:
        why = refusal(_definition(account.definition_json).job, asked.at)
        cause = f"it is {why}" if why is not None else cause
    if reason == "paused":
        found = _pause(asked)
        entries += found
        if found:
            cause = f"the job was {found[0].text}"
    elif reason == "overlap" and account.open_runs:
        cause = f"{account.open_runs[0]} was not final and overlap is skip"
        entries += [
            WhyEntry(time=rfc3339(asked.at), source="run", text=f"{run} was not final")
            for run in account.open_runs
        ]
    elif reason in _MISSED and account.leadership is not None:
        lead = account.leadership
        late = datetime.fromisoformat(lead.since) - asked.at
        text = f"{lead.leader} began to lead in epoch {lead.epoch}, {rounded(late)} later"
        entries.append(WhyEntry(time=lead.since, source="leader", text=text))
    text = f"skipped: {reason}"
    if account.count > 1:
        text += f", one of {account.count:,} from {account.first} to {account.last}"
    entries.append(WhyEntry(time=rfc3339(asked.at), source="ledger", text=text))
    return _answer(asked, "skipped", reason, f"no run: {cause}", entries)


def _pause(asked: Asked) -> list[WhyEntry]:
    """Who paused the job and why, then who ended that; nothing when it is not known any more."""
    paused, resumed, at = asked.account.paused, asked.account.resumed, rfc3339(asked.at)
    if paused is not None and (resumed is None or _is_later(resumed.time, at)):
        entries = [WhyEntry(time=paused.time, source="operator", text=f"paused {paused.detail}")]
        if resumed is not None:
            text = f"resumed {resumed.detail}" if resumed.detail.startswith("by ") else resumed.detail
            entries.append(WhyEntry(time=resumed.time, source="operator", text=text))
        return entries
    pause = asked.facts.pause if asked.facts is not None else None
    if pause is not None and not _is_later(pause.since, at):
        text = f"paused by {pause.by}: {pause.reason}".rstrip(": ")
        return [WhyEntry(time=pause.since, source="operator", text=text)]
    document = asked.account.definition_json
    if document is not None and (definition := _definition(document)).job.paused:
        text = f"paused by its own definition ({definition.origin.text})"
        return [WhyEntry(time=at, source="job", text=text)]
    return []


def _no_fire_time(asked: Asked, job: Job) -> Why:
    near = (last_before(job, asked.anchor, asked.at), next_fire(job, asked.anchor, asked.at))
    entries = [
        _named(asked, job, fire, "the nearest " + which)
        for fire, which in zip(near, _WHICH, strict=True)
        if fire
    ]
    names = [rfc3339(fire.instant) for fire in near if fire is not None]
    text = f"{rfc3339(asked.at)} is no fire time of {job.name} ({schedule_text(job.trigger)}, {job.timezone})"
    if not names:
        return _answer(asked, "never", "over", f"{text}; it has none at all", [])
    text += f"; the nearest {'is' if len(names) == 1 else 'are'} {' and '.join(names)}"
    return _answer(asked, "not_a_fire_time", "schedule", text, entries)


_WHICH = ("before", "after")


def _not_yet(asked: Asked, fire: FireTime) -> Why:
    assert asked.definition is not None
    assert asked.facts is not None
    job, pause = asked.definition.job, asked.facts.pause
    entries = [_named(asked, job, fire)]
    text = f"{rfc3339(asked.at)} is still to come"
    reason = "future"
    if pause is not None and (pause.until is None or _is_later(pause.until, rfc3339(asked.at))):
        until = f" until {pause.until}" if pause.until else ""
        entries.insert(0, WhyEntry(time=pause.since, source="operator", text=f"paused by {pause.by}{until}"))
        text += f"; it will be skipped if the pause by {pause.by} still lasts then"
        reason = "paused"
    elif job.paused:
        text += f"; it will be skipped while the definition ({asked.definition.origin.text}) says paused"
        reason = "paused"
    elif fire.skip is not None:
        reason = fire.skip.value
        excluded = refusal(job, asked.at)
        text += f"; it will be skipped: {f'it is {excluded}' if excluded else _SKIPS[reason]}"
    elif fire.delay:
        text += f"; by its jitter the run starts at {rfc3339(fire.due)}"
    return _answer(asked, "not_yet", reason, text, entries)


def _no_row(asked: Asked, job: Job, fire: FireTime) -> Why:
    """A fire time of the definition in force, in the past, without a row."""
    assert asked.facts is not None
    known, counted = asked.facts.first_seen, asked.account.counted_from
    entries = [_named(asked, job, fire)]
    if not _is_later(rfc3339(asked.at), known):
        text = f"{rfc3339(asked.at)} was before {job.name} was known: it was first seen at {known}"
        entries.append(WhyEntry(time=known, source="job", text="first seen"))
        return _answer(asked, "no_row", "before_known", text, entries)
    if counted is not None and not _is_later(rfc3339(asked.at), counted):
        text = f"another definition of {job.name} was in force then; the present one counts since {counted}"
        entries.append(WhyEntry(time=counted, source="job", text="the present definition came into force"))
        return _answer(asked, "no_row", "other_definition", text, entries)
    return _answer(asked, "no_row", "not_kept", "its row is older than what the ledger keeps", entries)


def _named(asked: Asked, job: Job, fire: FireTime, what: str = "") -> WhyEntry:
    """That the trigger names this instant, as people in the job's zone read it."""
    local = fire.instant.astimezone(zone(job.timezone).info)
    text = f"{schedule_text(job.trigger)} names {local:%Y-%m-%d %H:%M:%S %z} ({job.timezone})"
    if fire.nominal is not None:
        text += f"; clocks go forward: it stands for {fire.nominal.replace('T', ' ')}, which does not exist"
    if what:
        text = f"{what}: {text}"
    return WhyEntry(time=rfc3339(fire.instant), source="trigger", text=text)


def _answer(asked: Asked, verdict: str, reason: str, text: str, entries: list[WhyEntry]) -> Why:
    return Why(
        job=asked.name,
        fire_time=rfc3339(asked.at),
        run_id=None,
        verdict=verdict,
        reason=reason,
        text=text,
        timeline=in_order(entries),
    )


def in_order(entries: list[WhyEntry]) -> list[WhyEntry]:
    """By time; what happened at the same one stays as it came."""
    return sorted(entries, key=lambda entry: datetime.fromisoformat(entry.time))


def _is_later(one: str, other: str) -> bool:
    return datetime.fromisoformat(one) > datetime.fromisoformat(other)
