"""The timeline of a run across its schedulers and workers: what each did, when, and what became of it.

Two clocks meet here. What a leader did stands at the leader's time, what a worker did at the worker's. Where they
contradict the order of causes (an attempt that ended before it was handed out), the cause wins and the line says so.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from heapq import merge
from operator import attrgetter

from schedulerd.api.views.timeline_clocks import ahead_of, by_worker, known_by_of
from schedulerd.api.views.timeline_lines import (
    Line,
    Names,
    instant,
    kind_words,
    part_name,
    source_of,
    words_of,
)
from schedulerd.api.views.why import in_order
from schedulerd.protocol.api_accounts import RunAccount, WhyEntry
from schedulerd.protocol.api_types import Attempt, Event, Subtask
from schedulerd.protocol.ids import rfc3339, split_attempt_id

SHOWN = 20  # attempts told one by one; odd ones first, ordinary ones only if all of them fit
SHOWN_OF_ONE = 8  # attempts of one subtask
SHOWN_EVENTS = 10  # events of one type that are about no attempt shown
SHOWN_WORKERS = 8

_OF_TAKEOVERS = ("leader_gained", "takeover")
_ASSIGNED, _STARTED, _ENDED, _EVENT, _ROUND = range(5)


def timeline(account: RunAccount, head: list[Line], end: Line, now: datetime) -> list[WhyEntry]:
    """`head` and `end` with all that lies between them."""
    names = Names(account)
    shown, rest = _chosen(account)
    ahead = ahead_of(account)
    indexes = {part.index for part in shown}
    of_attempts: dict[int, list[Event]] = {}
    others: list[Event] = []
    for event in account.events:
        if event.attempt is not None and event.subtask in indexes:
            of_attempts.setdefault(event.subtask or 0, []).append(event)
        else:
            others.append(event)
    chains = [
        head,
        _leaders(account, names),
        _events(others, account.is_more, names),
        _events(_beside(account), False, names),
        *(_subtask(part, of_attempts.get(part.index, []), account, names, ahead) for part in shown),
        _rest(rest, account, now),
        [end],
    ]
    lines = merge(*(sorted(chain, key=attrgetter("at")) for chain in chains), key=attrgetter("at"))
    return in_order([WhyEntry(time=rfc3339(line.at), source=line.source, text=line.text) for line in lines])


def _chosen(account: RunAccount) -> tuple[list[Subtask], list[Subtask]]:
    """(subtasks told one by one, the rest): odd ones first, then what is under way; ordinary ones if all fit."""
    parts = [part for part in account.detail.subtasks_detail if part.attempts]
    if sum(len(part.attempts) for part in parts) <= SHOWN:
        return parts, []
    noted = {event.subtask for event in account.events if event.attempt is not None}
    ranked = sorted(parts, key=lambda part: _rank(part, noted))  # stable: by index within a rank
    shown: list[Subtask] = []
    left = SHOWN
    for part in ranked:
        left -= min(len(part.attempts), SHOWN_OF_ONE)
        if left < 0 or _rank(part, noted) == _ORDINARY:
            break
        shown.append(part)
    return shown, ranked[len(shown) :]


_ORDINARY = 3


def _rank(part: Subtask, noted: set[int | None]) -> int:
    if part.index < 0:
        return 0
    if part.state not in ("succeeded", "running", "pending") or len(part.attempts) > 1 or part.index in noted:
        return 1
    return 2 if part.state != "succeeded" else _ORDINARY


def _subtask(
    part: Subtask, events: list[Event], account: RunAccount, names: Names, ahead: dict[str, float]
) -> list[Line]:
    """Its attempts and what was noted about them, in the order of causes."""
    by_attempt: dict[int, list[Event]] = {}
    for event in events:
        by_attempt.setdefault(split_attempt_id(event.attempt or "")[2], []).append(event)
    attempts = part.attempts
    if len(attempts) > SHOWN_OF_ONE:
        attempts = [*attempts[: SHOWN_OF_ONE // 2], *attempts[-SHOWN_OF_ONE // 2 :]]
    lines: list[Line] = []
    following = {one.attempt: after for one, after in zip(part.attempts, part.attempts[1:], strict=False)}
    for one in attempts:
        noted = by_attempt.get(one.attempt, [])
        after = following.get(one.attempt)
        lines += _attempt(part.index, one, noted, known_by_of(one, noted, after, account), names, ahead)
    if hidden := len(part.attempts) - len(attempts):
        before = attempts[SHOWN_OF_ONE // 2 - 1].attempt * _ROUND + _EVENT
        at = max(line.at for line in lines if line.stage <= before)
        more = f"{part_name(part.index)}: {hidden:,} more attempts"
        lines.append(Line(at=at, source=names.scheduler_at(at), text=more, stage=before))
    return sorted(lines, key=lambda line: (line.at, line.stage))


def _attempt(
    index: int,
    one: Attempt,
    noted: list[Event],
    known_by: datetime | None,
    names: Names,
    ahead: dict[str, float],
) -> list[Line]:
    name = f"{part_name(index)}, attempt {one.attempt}"
    stage = one.attempt * _ROUND
    lines = []
    floor: datetime | None = None
    if one.assigned_at is not None:
        floor = instant(one.assigned_at)
        text = f"{name}: assigned to {one.worker}"
        lines.append(Line(at=floor, source=names.scheduler(one.epoch), text=text, stage=stage + _ASSIGNED))
    if one.started_at is not None:
        text = f"{name}: accepted and started"
        line = by_worker(one, one.started_at, (floor, known_by), text, stage + _STARTED, ahead)
        floor = line.at
        lines.append(line)
    is_told = any(event.type in ("attempt_lost", "attempt_fenced", "attempt_unstarted") for event in noted)
    if one.finished_at is not None and not (one.state in ("lost", "unstarted") and is_told):
        code = "" if one.exit_code is None else f"exit code {one.exit_code}"
        signal = f"signal {one.signal}" if one.signal else ""
        why = ", ".join(filter(None, (one.reason, code, signal, one.detail)))
        text = f"{name}: {one.state}" + (f" ({why})" if why else "")
        lines.append(by_worker(one, one.finished_at, (floor, known_by), text, stage + _ENDED, ahead))
    for event in noted:
        text = f"{name}: {words_of(event)}"
        lines.append(
            Line(at=instant(event.time), source=names.scheduler(event.epoch), text=text, stage=stage + _EVENT)
        )
    return lines


def _leaders(account: RunAccount, names: Names) -> list[Line]:
    """Takeovers while the run was open: the leadership that recorded it is none."""
    lines: list[Line] = []
    for one in account.leaderships[1:]:
        told = {event.type: event.detail for event in account.beside if event.epoch == one.epoch}
        at, source = instant(one.since), names.scheduler(one.epoch)
        known = [told[kind] for kind in _OF_TAKEOVERS if kind in told]
        text = "; ".join(known) or f"epoch {one.epoch} begins"
        lines.append(Line(at=at, source=source, text=f"takeover: {text}"))
    return lines


def _beside(account: RunAccount) -> list[Event]:
    """What no line of a takeover says; the leadership that recorded the run may have begun just then."""
    return [event for event in account.beside if event.type not in _OF_TAKEOVERS]


def _events(events: Iterable[Event], is_more: bool, names: Names) -> list[Line]:
    """A line an event; of many of one type the first ones, and how many more there are."""
    lines: list[Line] = []
    counts: Counter[str] = Counter()
    newest: dict[str, Event] = {}
    for event in events:
        counts[event.type] += 1
        if counts[event.type] <= SHOWN_EVENTS:
            about = "" if event.subtask is None else f"{part_name(event.subtask)}: "
            whose = f"{event.worker}: " if event.run is None and event.worker else ""
            lines.append(
                Line(
                    at=instant(event.time),
                    source=source_of(event, names),
                    text=about + whose + words_of(event),
                )
            )
        else:
            newest[event.type] = event
    for kind, event in newest.items():
        more = f"{counts[kind] - SHOWN_EVENTS:,}{' or more' if is_more else ''} more like this"
        text = f"{kind_words(kind)}: {more}, until here"
        lines.append(Line(at=instant(event.time), source=source_of(event, names), text=text))
    return lines


def _rest(parts: list[Subtask], account: RunAccount, now: datetime) -> list[Line]:
    """What is not told one by one: for each worker when the first began, when the last ended, and how."""
    by_worker: dict[str, list[Subtask]] = {}
    for part in parts:
        by_worker.setdefault(part.attempts[-1].worker, []).append(part)
    ranked = sorted(by_worker.items(), key=lambda item: (-len(item[1]), item[0]))
    others = [part for _, some in ranked[SHOWN_WORKERS:] for part in some]
    told = [(f"worker {name}", some) for name, some in ranked[:SHOWN_WORKERS]]
    if others:
        told.append((f"{len(ranked) - SHOWN_WORKERS} more workers", others))
    end = now if account.detail.finished_at is None else instant(account.detail.finished_at)
    lines: list[Line] = []
    for source, some in told:
        flat = [one for part in some for one in part.attempts]
        starts = [one.started_at or one.assigned_at for one in flat if one.started_at or one.assigned_at]
        ends = [one.finished_at for one in flat if one.finished_at]
        states = Counter(part.state for part in some)
        first = min(map(instant, filter(None, starts)), default=end)
        last = max(map(instant, ends), default=end)
        how = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
        count = f"{len(some):,} more subtasks"
        lines.append(Line(at=min(first, end), source=source, text=f"the first of {count} starts"))
        lines.append(Line(at=min(max(last, first), end), source=source, text=f"the last of {count}: {how}"))
    return lines
