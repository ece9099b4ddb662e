"""How jobs, runs, attempts and workers are named in text. Names are derived, never drawn: a replay names the same."""

import hashlib
import re
from datetime import UTC, datetime
from typing import NewType

JobName = NewType("JobName", str)
RunId = NewType("RunId", str)
AttemptId = NewType("AttemptId", str)
WorkerId = NewType("WorkerId", str)  # UUID text, kept in the worker's state directory
Nonce = NewType("Nonce", str)  # drawn at each boot of a worker or scheduler
Epoch = NewType("Epoch", int)

# Subtasks with these indexes are steps of the run itself; ordinary subtasks count from 0.
GATHER = -1
SETUP = -2
TEARDOWN = -3
SPLIT = -4

JOB_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

HIGHEST_BELIEVED = 1 << 40  # an epoch is one leadership: no ledger counts so far in its life
EPOCH_LEAP = 1 << 24  # and from where a reader stands it cannot be so many further

_RUN_ID = re.compile(r"([a-z0-9][a-z0-9._-]{0,62})@(\d{8}T\d{6}(?:\.\d{1,6})?Z)(?:-([mc][0-9a-f]{8}))?")


def is_within_reach(epoch: int, own: int) -> bool:
    """Whether a reader that stands at epoch `own` may believe a frame of `epoch`.

    Epochs are bounded by what a frame can carry. Whoever believes the largest leaves nothing for the next leader, so
    one made-up frame would end the fleet for good; the leap keeps room for more of them than anybody can send.
    """
    return epoch <= max(HIGHEST_BELIEVED, own) + EPOCH_LEAP


def format_instant(instant: datetime) -> str:
    """`20261123T020000Z`, with a fraction of a second only if there is one; `instant` is aware."""
    utc = instant.astimezone(UTC)
    fraction = f".{utc.microsecond:06d}".rstrip("0") if utc.microsecond else ""
    return f"{utc.year:04d}{utc.month:02d}{utc.day:02d}T{utc.hour:02d}{utc.minute:02d}{utc.second:02d}{fraction}Z"


def parse_instant(text: str) -> datetime:
    """The instant that `format_instant` wrote. Raises ValueError."""
    pattern = "%Y%m%dT%H%M%S.%fZ" if "." in text else "%Y%m%dT%H%M%SZ"
    return datetime.strptime(text, pattern).replace(tzinfo=UTC)


def rfc3339(instant: datetime) -> str:
    """`2026-11-23T02:00:00Z`, with a fraction only if there is one: how the API and commands are told a time."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def scheduled_run_id(job: str, fire_time: datetime) -> RunId:
    """The run that fills the slot (job, fire_time)."""
    return RunId(f"{job}@{format_instant(fire_time)}")


def manual_run_id(job: str, accepted: datetime, request_id: str) -> RunId:
    """The run that a request made; the same request gives the same name."""
    return RunId(f"{job}@{format_instant(accepted)}{manual_run_ending(request_id)}")


def manual_run_ending(request_id: str) -> str:
    """`-m<8 hex>`: how the name of the run that this request made ends."""
    return f"-m{hashlib.sha256(request_id.encode()).hexdigest()[:8]}"


def attempt_id(run: str, subtask: int, number: int) -> AttemptId:
    """`RUN~SUBTASK~N`, N from 1."""
    return AttemptId(f"{run}~{subtask}~{number}")


def split_attempt_id(text: str) -> tuple[RunId, int, int]:
    """(run, subtask, number) of an attempt id. Raises ValueError."""
    run, subtask, number = text.rsplit("~", 2)
    return RunId(run), int(subtask), int(number)


def job_of_run(run: str) -> JobName:
    """The job part of a run id. Raises ValueError for what is no run id."""
    match = _RUN_ID.fullmatch(run)
    if match is None:
        raise ValueError(f'"{run}" is not a run id; expected JOB@YYYYMMDDTHHMMSSZ')
    return JobName(match[1])
