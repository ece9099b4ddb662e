"""Judges a history: which fire times had to run, which did, whether the ledger says what the witnesses say, and
whether every loss, retry, fence and skip is told and counted.

A fire time is *required* when no fault and no recovery was under way as it came due: it has to run, on time.
It is *excused* otherwise: it may be late, and be skipped where its job's policy says so. It is *optional* at the
edges of the time that is looked at. Makes no history itself.
"""

from collections import Counter
from collections.abc import Sequence

from acceptance.faults.kit.attempts import Attempts
from acceptance.faults.kit.evidence import REQUIRED, Evidence, Finding
from acceptance.faults.kit.fire_times import FireTimes
from acceptance.faults.kit.history import History
from acceptance.faults.kit.telling import Telling


def check(history: History) -> list[Finding]:
    """Every finding; none means that the history is clean."""
    fire_times, attempts, telling = FireTimes(history), Attempts(history), Telling(history)
    fire_times.judge()
    attempts.judge()
    telling.judge()
    return fire_times.findings + attempts.findings + telling.findings


def kinds(findings: Sequence[Finding]) -> Counter[str]:
    """How many of each."""
    return Counter(finding.kind for finding in findings)


def lateness(history: History) -> list[float]:
    """Seconds from due to begun of every required fire time that ran, ascending."""
    evidence = Evidence(history)
    found = []
    for job in history.jobs:
        for fire in evidence.fires[job.name]:
            start = evidence.first_start.get((job.name, fire.instant))
            if fire.duty == REQUIRED and start is not None:
                found.append(start.moment - fire.due)
    return sorted(found)
