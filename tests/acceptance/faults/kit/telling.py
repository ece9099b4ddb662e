"""Judges P7: every skip, retry, loss and fence is told by an event, and is counted.

The ledger is looked at for itself first: what its rows say has happened, an event tells. Then each process of a
scheduler: what it wrote, by the epochs it led, is what it had counted when it was last read.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

from acceptance.faults.kit.counting import Led, ways_to_lead
from acceptance.faults.kit.evidence import Evidence
from acceptance.faults.kit.history import EventRow, Scrape, SlotRow

from schedulerd.protocol.ids import rfc3339

AT_MOST = 20.0  # seconds that a commit takes until its failure is known
STOPPING = 5.0  # seconds in which a process that was asked to end gives up the lead and ends
LAG = 3.0  # seconds from an event's time to its count: a commit, the sends, a busy machine
SETTLED = 12.0  # seconds from a fire time to its row while no fault holds it up
ENDS = ("attempt_lost", "attempt_fenced", "attempt_unstarted")
OLDER = ("leader_lost", "unknown_result")  # their time is not that of their writing
FENCES = ("lease", "ledger", "newer_epoch")  # ends of a leadership that are no wish of its own

_TOLD_OF = re.compile(r" in epoch (\d+) until now: (\w+):")

# counters that are the same thing counted twice: (sum of these, sum of those)
_SAME = (
    (("retries{*}",), ("events{retried}",)),
    (("attempts_lost",), ("attempts{lost}",)),
    (("attempts_lost",), ("events{attempt_lost}", "events{attempt_fenced}")),
    (("attempts{unstarted}",), ("events{attempt_unstarted}",)),
    (("late_results",), ("events{late_result}",)),
    (("unknown_results",), ("events{unknown_result}",)),
    (("takeovers",), ("events{takeover}",)),
    (("fenced",), (*(f"leaderships_lost{{{why}}}" for why in FENCES), "events{attempt_fenced}")),
)
# what is counted each time and told at most once: (each time, told)
_AT_LEAST = (("dispatches_resent", "events{dispatch_resent}"), ("revocations", "events{attempt_revoked}"))


class Telling(Evidence):
    """`judge` fills `findings`."""

    def judge(self) -> None:
        """The ledger, then the counters."""
        self._told: dict[str, Counter[str]] = defaultdict(Counter)  # attempt -> type -> how often
        self._ends: dict[int, tuple[str, float]] = {}  # epoch -> why it ended, and when
        for event in self.history.events:
            if event.attempt is not None:
                self._told[event.attempt][event.type] += 1
            if event.type == "leader_lost" and (found := _TOLD_OF.search(event.detail)):
                self._ends[int(found[1])] = (found[2], self.history.clock.moments(event.time)[-1])
        self._attempts()
        self._leaderships()
        scrapes: dict[int, list[Scrape]] = defaultdict(list)
        for scrape in sorted(self.history.scrapes, key=lambda scrape: scrape.moment):
            scrapes[scrape.pid].append(scrape)
        led = ways_to_lead(self.history)
        if led and not scrapes:
            self.found("uncounted", "schedulers", "nobody has read their counters")
        for one in led:
            if scrapes[one.life.pid]:
                self._process(one, scrapes[one.life.pid])
        self._skips(led, {pid: found[-1] for pid, found in scrapes.items() if found})

    # ---- the ledger by itself

    def _attempts(self) -> None:
        for row in self.history.attempts:
            told = self._told[row.id]
            ends = sum(told[kind] for kind in ENDS)
            if row.state == "lost":
                wanted = "attempt_fenced" if row.reason == "fenced" else "attempt_lost"
                self._require(row.id, f"it is lost ({row.reason})", wanted, told[wanted] == 1)
            elif row.state == "unstarted":
                self._require(row.id, "it never started", "attempt_unstarted", told["attempt_unstarted"] == 1)
            elif ends:
                text = f"it is {row.state} and had been called otherwise"
                self._require(row.id, text, "late_result", told["late_result"] == 1)
            if ends > 1 or told["retried"] > 1:
                self.found("untold", row.id, f"its end is told more than once: {dict(told)}")
            if row.number > 1:
                before = f"{row.id.rpartition('~')[0]}~{row.number - 1}"
                self._require(before, f"{row.id} follows it", "retried", self._told[before]["retried"] == 1)

    def _leaderships(self) -> None:
        types: dict[int, set[str]] = defaultdict(set)
        for event in self.history.events:
            types[event.epoch].add(event.type)
        acted = {row.epoch for row in self.history.attempts}
        acted |= {epoch for epoch, told in types.items() if told - {"leader_gained", "leader_lost"}}
        for epoch in sorted(acted | set(types)):
            self._require(f"epoch {epoch}", "it wrote", "leader_gained", "leader_gained" in types[epoch])
            if epoch in acted:  # one that ends before its first round takes nothing over
                self._require(f"epoch {epoch}", "it acted", "takeover", "takeover" in types[epoch])
        for one in ways_to_lead(self.history):
            begun = [epoch for epoch in one.epochs if "leader_gained" in types[epoch]]
            for epoch, _ in pairwise(begun):
                text = "its leader led again later"
                self._require(f"epoch {epoch}", text, "leader_lost", epoch in self._ends)
            if begun and self._led_to_an_orderly_end(one):
                text = "its leader was asked to end"
                self._require(f"epoch {begun[-1]}", text, "leader_lost", begun[-1] in self._ends)

    def _led_to_an_orderly_end(self, one: Led) -> bool:
        """The process led until it was asked to end, and nothing kept it from saying so."""
        ended = one.life.ended
        if ended is None or one.terms[-1][1] < ended - STOPPING or self.excuses(ended - STOPPING, ended):
            return False
        return not any(
            host == one.life.host and abs(moment - ended) < STOPPING for host, moment in self.history.kills
        )

    def _require(self, subject: str, why: str, kind: str, is_told: bool) -> None:
        if not is_told:
            self.found("untold", subject, f"{why}, and no event {kind} tells it once")

    # ---- what each process counted

    def _process(self, one: Led, scrapes: list[Scrape]) -> None:
        who = f"{one.life.host} (pid {one.life.pid})"
        for before, after in pairwise(scrapes):
            for name, value in before.values.items():
                if after.values.get(name, 0.0) < value:
                    self.found(
                        "uncounted", who, f"{name} went from {value:g} to {after.values.get(name, 0):g}"
                    )
            for these, those in _SAME:
                self._cross(who, before, after, these, those)
                self._cross(who, before, after, those, these)
            for each_time, told in _AT_LEAST:
                self._cross(who, before, after, (told,), (each_time,))
        self._events(one, who, scrapes[-1])
        self._ends_of(one, who, scrapes[-1])

    def _ends_of(self, one: Led, who: str, last: Scrape) -> None:
        """Every leadership has one end, but the newest may go on; what never began has none."""
        lost = _sum(last, ("leaderships_lost{*}",))
        gained = [event for event in self.history.events if event.type == "leader_gained"]
        begun = sum(event.epoch in one.epochs and self._is_before(event, last) for event in gained)
        if not begun - 1 <= lost <= len(one.epochs):
            self.found(
                "uncounted", who, f"it led {len(one.epochs)} times and counts {lost:g} ends of leaderships"
            )

    def _cross(
        self, who: str, before: Scrape, after: Scrape, low: tuple[str, ...], high: tuple[str, ...]
    ) -> None:
        """What the one counter had counted, the other has too a moment later: they are read one after the other."""
        was, became = _sum(before, low), _sum(after, high)
        if became < was:
            self.found("uncounted", who, f"{'+'.join(low)} was {was:g}, and then {'+'.join(high)} {became:g}")

    def _events(self, one: Led, who: str, last: Scrape) -> None:
        """By type: not more was counted than is in the ledger, and not less than was there in time to be counted."""
        rows = [event for event in self.history.events if event.epoch in one.epochs]
        sure = [row.seq for row in rows if row.type not in OLDER and self._is_before(row, last)]
        horizon = max(sure, default=0)  # by number, which is the order of writing
        there = Counter(row.type for row in rows)
        least = Counter(row.type for row in rows if row.seq <= horizon)
        least -= Counter(row.type for row in self._in_doubt(one, rows, last) if row.seq <= horizon)
        counted = {
            name[len("events{") : -1]: value
            for name, value in last.values.items()
            if name.startswith("events{")
        }
        for kind in sorted({*there, *counted}):
            value = counted.get(kind, 0.0)
            if value > there[kind]:
                self.found(
                    "untold", who, f"it has counted {value:g} events {kind}, the ledger has {there[kind]}"
                )
            elif value < least[kind]:
                self.found(
                    "uncounted",
                    who,
                    f"it has counted {value:g} events {kind}, and wrote at least {least[kind]}",
                )

    def _is_before(self, row: EventRow, scrape: Scrape) -> bool:
        return self.history.clock.moments(row.time)[-1] <= scrape.moment - LAG

    def _in_doubt(self, one: Led, rows: list[EventRow], last: Scrape) -> Iterator[EventRow]:
        """The last batch of a leadership that the ledger ended: written perhaps, for all that its writer knows."""
        if last.values.get("leaderships_lost{ledger}", 0.0) == 0:
            return
        for epoch in one.epochs:
            own = [row for row in rows if row.epoch == epoch]
            newest = max((row.time for row in own), default=0.0)
            yield from (row for row in own if row.time == newest)

    # ---- skips: the event tells that a row of them begins

    def _skips(self, led: list[Led], last: dict[int, Scrape]) -> None:
        begun = Counter(
            (event.job, event.detail.partition(" to ")[0])
            for event in self.history.events
            if event.type == "skipped"
        )
        there: Counter[str] = Counter()
        least: Counter[str] = Counter()
        blind = self._blind_stretches(led, last)
        for job in self.history.jobs:
            for row in self.slots_of[job.name]:
                if row.run is None:
                    beginning = skip_told(row)
                    self._require(job.name, beginning, "skipped", begun[job.name, beginning] == 1)
                    there[str(row.reason)] += row.count
                    dues = [
                        self.history.clock.due(instant) for instant in job.fire_times(row.first, row.last)
                    ]
                    least[str(row.reason)] += sum(self._was_seen(due, blind) for due in dues)
        counted: Counter[str] = Counter()
        for scrape in last.values():
            for name, value in scrape.values.items():
                if name.startswith("skips{"):
                    counted[name[len("skips{") : -1]] += int(value)
        for reason in sorted({*there, *counted}):
            text = f"they have counted {counted[reason]} skips for {reason}, and the ledger"
            if counted[reason] > there[reason]:
                self.found("untold", "schedulers", f"{text} has {there[reason]}")
            elif counted[reason] < least[reason]:
                self.found("uncounted", "schedulers", f"{text} must have had at least {least[reason]} then")

    def _blind_stretches(self, led: list[Led], last: dict[int, Scrape]) -> list[tuple[float, float]]:
        """From when to when somebody may have written what nobody has read as a count."""
        found = []
        for one in led:
            read = last[one.life.pid].moment - LAG if one.life.pid in last else one.life.began
            ended = float("inf") if one.life.ended is None else one.life.ended
            if one.was_leading_at_the_end(read):
                found.append((read, ended))
            for epoch, term in zip(one.epochs, one.terms, strict=True):
                why, end = self._ends.get(epoch, ("", term[1]))
                if why == "ledger":  # its last batch may be in the ledger, for all that its writer knows
                    found.append((end - AT_MOST, end))
                elif (
                    not why
                    and one.life.pid in last
                    and last[one.life.pid].values.get("leaderships_lost{ledger}", 0.0)
                ):
                    found.append(term)
        return found

    def _was_seen(self, due: float, blind: list[tuple[float, float]]) -> bool:
        """A skip of this fire time was written when its count was still going to be read."""
        settled = due + SETTLED
        for fault in sorted(self.history.faults, key=lambda fault: fault.began):
            if fault.began <= settled and due <= fault.over:
                settled = max(settled, fault.over + SETTLED)
        return not any(due <= until and settled >= since for since, until in blind)


def skip_told(row: SlotRow) -> str:
    """How the event `skipped` of this row begins."""
    return f"{row.reason}: {rfc3339(datetime.fromtimestamp(row.first, UTC))}"


def _sum(scrape: Scrape, names: tuple[str, ...]) -> float:
    total = 0.0
    for name in names:
        if name.endswith("{*}"):
            total += sum(value for key, value in scrape.values.items() if key.startswith(name[:-2]))
        else:
            total += scrape.values.get(name, 0.0)
    return total
