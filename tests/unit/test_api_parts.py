"""The API's pure parts: schedules in words, times, merge patches, log lines, the guard, the reader pool."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.api import documents
from schedulerd.api.guard import MAX_BODY, Guard
from schedulerd.api.problems import Refusal
from schedulerd.api.readers import POOL_SIZE, Readers
from schedulerd.api.views.logs import log_lines, log_text
from schedulerd.api.views.texts import pause_end, read_time, schedule_text
from schedulerd.core.coming import coming
from schedulerd.errors import CommandError, LedgerError
from schedulerd.model.job import Argv, At, Cron, Definition, Every, Job, Manual, Origin, Trigger
from schedulerd.protocol.api_types import AttemptOutput

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("trigger", "text"),
    [
        (Cron(expressions=("0 2 * * *", "@daily")), "0 2 * * * | @daily"),
        (Every(period=timedelta(seconds=90)), "every 1m30s"),
        (At(instants=(NOW,)), "at 2026-11-23T02:00:00Z"),
        (At(instants=(NOW, NOW + timedelta(days=1))), "at 2026-11-23T02:00:00Z and 1 more"),
        (Manual(), "manual"),
    ],
)
def test_schedules_in_words(trigger: Trigger, text: str) -> None:
    assert schedule_text(trigger) == text


@pytest.mark.parametrize("text", ["soon", "2026-11-23", "2026-11-23T02:00:00", "0001-01-01T00:00:00+14:00"])
def test_times_without_a_zone_are_refused(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        read_time(text, "since")
    assert caught.value.kind == "invalid"
    assert text in caught.value.text


def test_pause_ends_after_a_while_or_at_a_time() -> None:
    assert pause_end(NOW, None, None) is None
    assert pause_end(NOW, 90.0, None) == NOW + timedelta(seconds=90)
    assert pause_end(NOW, None, "2026-11-23T03:00:00+00:00") == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("seconds", "until"),
    [(0.0, None), (-1.0, None), (float("nan"), None), (float("inf"), None), (None, "2026-11-23T01:00:00Z")],
)
def test_pauses_that_would_be_none_are_refused(seconds: float | None, until: str | None) -> None:
    with pytest.raises(CommandError):
        pause_end(NOW, seconds, until)


def test_merge_patch_is_that_of_rfc_7396() -> None:
    document = {"every": "5m", "env": {"A": "1", "B": "2"}, "tags": ["x", "y"]}
    patch = {"every": None, "env": {"A": None, "C": "3"}, "tags": ["z"], "retry": {"max": 2}}
    assert documents.patched(document, patch) == {
        "env": {"B": "2", "C": "3"},
        "tags": ["z"],
        "retry": {"max": 2},
    }
    assert document["env"] == {"A": "1", "B": "2"}


def _definition() -> Definition:
    job = Job(name="x", trigger=Manual(), work=Argv(argv=("x",)))
    return Definition(job=job, origin=Origin(), version="abc")


@pytest.mark.parametrize("tag", ['"abc"', "*", '"old", "abc"', 'W/"abc"', "abc"])
def test_if_match_is_met(tag: str) -> None:
    assert documents.expected_version(tag, _definition()) == "abc"


@pytest.mark.parametrize(("tag", "current"), [('"old"', _definition()), ("*", None), ('"abc"', None)])
def test_if_match_is_not_met(tag: str, current: Definition | None) -> None:
    with pytest.raises(Refusal) as caught:
        documents.expected_version(tag, current)
    assert caught.value.status == 412


def _output(head: bytes, dropped: int, tail: bytes) -> AttemptOutput:
    return AttemptOutput(
        run="r",
        subtask=0,
        attempt=1,
        worker="w1",
        state="succeeded",
        started_at="2026-11-23T02:00:00Z",
        finished_at=None,
        stdout_head=head,
        stdout_tail=tail,
        stdout_dropped=dropped,
        stderr_head=b"",
        stderr_tail=b"",
        stderr_dropped=0,
    )


def test_head_and_tail_without_a_gap_are_one_text() -> None:
    lines = log_lines([_output(b"one\ntw", 0, b"o\r\n\nthree")], ("stdout",))
    assert [line.text for line in lines] == ["one", "two", "", "three"]


def test_gap_is_a_line_of_its_own() -> None:
    text = log_text(log_lines([_output(b"one\n", 7, b"nine\n")], ("stdout", "stderr")), True, True)
    assert "".join(text) == (
        "2026-11-23T02:00:00Z w1/0: one\n"
        "2026-11-23T02:00:00Z w1/0: [7 bytes were not kept]\n"
        "2026-11-23T02:00:00Z w1/0: nine\n"
    )


def test_coming_fire_times_tell_gaps_and_folds() -> None:
    job = Job(
        name="x", trigger=Cron(expressions=("30 2 * * *",)), work=Argv(argv=("x",)), timezone="Europe/Prague"
    )
    spring = coming(job, None, datetime(2027, 3, 27, 12, tzinfo=UTC), None, 1)[0]
    assert spring.instant == datetime(2027, 3, 28, 1, tzinfo=UTC)
    assert spring.note == "clocks go forward: 2027-03-28 02:30:00 does not exist"
    autumn = coming(job, None, datetime(2027, 10, 30, 12, tzinfo=UTC), None, 2)
    assert [fire.note for fire in autumn] == ["clocks go back: the first of two 02:30", None]
    assert coming(job, None, NOW, NOW, 5) == ()


# ---- guard -----------------------------------------------------------------------------------------------------


async def _drain(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads its whole body and answers 200."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def _status(
    method: str, headers: dict[str, str], server: tuple[str, int | None] = ("127.0.0.1", 7480)
) -> int:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": "/",
        "server": server,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(Guard(_drain, own_names=["Scheduler-01"])(scope, receive, send))
    names = {name.decode().lower() for name, _ in sent[0]["headers"]}
    assert {"content-security-policy", "x-content-type-options", "cache-control"} <= names
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:7480", "127.0.0.1:7480", "[::1]:7480", "10.1.2.3", "scheduler-01:1"]
)
def test_own_names_and_addresses_are_let_in(host: str) -> None:
    assert _status("POST", {"Host": host, "Origin": f"http://{host}"}) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "a b"]
)
def test_other_names_are_not(host: str) -> None:
    assert _status("GET", {"Host": host}) == 403


def test_unix_socket_takes_any_host() -> None:
    assert _status("POST", {"Host": "whatever"}, server=("/run/api.sock", None)) == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:1",
        "https://localhost",
        "http://evil.example",
        "null",
        "http://localhost.evil.example",
    ],
)
def test_other_origins_may_read_but_not_write(origin: str) -> None:
    assert _status("GET", {"Host": "localhost", "Origin": origin}) == 200
    assert _status("POST", {"Host": "localhost", "Origin": origin}) == 403


@pytest.mark.parametrize(
    ("length", "status"), [(str(MAX_BODY), 200), (str(MAX_BODY + 1), 413), ("-1", 400), ("9" * 40, 413)]
)
def test_told_length_is_bounded(length: str, status: int) -> None:
    assert _status("POST", {"Host": "localhost", "Content-Length": length}) == status


# ---- readers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Path) -> str:
    address = f"sqlite://{tmp_path}/ledger.db"
    open_ledger(address).close()
    return address


def _pool(url: str, opened: list[LedgerReader]) -> Readers:
    def open_one() -> LedgerReader:
        opened.append(open_reader(url))
        return opened[-1]

    return Readers(open_one)


def _is_open(reader: LedgerReader) -> bool:
    try:
        return reader.job_names() == []
    except LedgerError:
        return False


def test_readers_are_kept_and_bounded(url: str) -> None:
    opened: list[LedgerReader] = []
    pool = _pool(url, opened)
    for _ in range(10):
        with pool.reader():
            pass
    assert len(opened) == 1
    with ExitStack() as lent:
        for _ in range(POOL_SIZE):
            lent.enter_context(pool.reader())
        assert len(opened) == POOL_SIZE
    assert all(map(_is_open, opened))
    pool.close()
    assert not any(map(_is_open, opened))


def test_reader_that_failed_is_opened_anew(url: str) -> None:
    opened: list[LedgerReader] = []
    pool = _pool(url, opened)
    with pytest.raises(LedgerError), pool.reader():
        raise LedgerError("I/O error")
    with pytest.raises(CommandError), pool.reader():
        raise CommandError("not_found", "no")
    with pool.reader() as reader:
        assert _is_open(reader)
    assert [_is_open(one) for one in opened] == [False, True]
