"""A PostgreSQL that stands still with its connections open: every wait of ours has an end, whatever waits."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic

import pytest
from support.daemons import PROGRAMS, clean_environment
from support.ledger_material import T0, fired, job_row, new_run
from support.postgres_server import PASSWORD, PostgresServer
from support.sound_ledger import fill
from support.waiting import wait_until

from schedulerd.adapters.ledger import postgres_deadline, postgres_reader, postgres_whole, whole
from schedulerd.adapters.ledger.base import Ledger
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.adapters.ledger.postgres_server import CONNECT
from schedulerd.core.effects import RecordEvent, RecordJobs
from schedulerd.errors import LedgerContentError, LedgerError, StaleEpoch

ANSWER = 2.0  # seconds
SLACK = 5.0  # seconds for a busy machine


@pytest.fixture
def url(own_postgres: PostgresServer) -> str:
    return own_postgres.database()


@pytest.fixture
def keep(own_postgres: PostgresServer) -> Iterator[ExitStack]:
    """Closes what a test opened, and lets the server go on."""
    with ExitStack() as stack:
        yield stack
    own_postgres.thaw()


@pytest.fixture
def ledger(url: str, keep: ExitStack) -> Ledger:
    """One by which somebody leads, in epoch 1."""
    made = keep.enter_context(closing(open_ledger(url, ANSWER)))
    assert made.lead("here", 0, T0) == 1
    made.commit(1, [RecordJobs((job_row(),))])
    return made


def backend(server: PostgresServer, url: str) -> int:
    ((pid,),) = server.sql("SELECT backend FROM leadership", url)
    return int(pid)


def given_up(call: Callable[[], object], seconds: float) -> LedgerError:
    """The error with which a call is given up, within so many seconds and not at once."""
    began = monotonic()
    with pytest.raises(LedgerError) as lost:
        call()
    assert ANSWER <= monotonic() - began < seconds + SLACK
    assert not isinstance(lost.value, LedgerContentError | StaleEpoch)
    assert PASSWORD not in str(lost.value)
    return lost.value


def test_a_commit_that_a_frozen_server_does_not_answer_is_given_up_and_the_next_leadership_shows_what_is_in(
    own_postgres: PostgresServer, url: str, ledger: Ledger
) -> None:
    own_postgres.freeze()
    error = given_up(lambda: ledger.commit(1, list(fired(new_run()))), ANSWER + 1 + CONNECT)
    assert "the server has not answered for 3 s; the connection is given up; and then" in str(error)
    assert "cannot be connected to: connection timeout expired" in str(error)
    error = given_up(lambda: ledger.lead("here", 0, T0), CONNECT)
    assert "cannot be connected to" in str(error)
    own_postgres.thaw()
    assert wait_until(own_postgres.answers, 30)
    assert ledger.lead("here", 0, T0) == 2
    assert ledger.load().runs == ()
    ledger.commit(2, list(fired(new_run())))
    assert [run.run.id for run in ledger.load().runs] == [new_run().id]


def test_a_commit_that_a_frozen_backend_does_not_answer_is_looked_up_over_another_connection(
    own_postgres: PostgresServer, url: str, ledger: Ledger
) -> None:
    frozen = backend(own_postgres, url)
    own_postgres.freeze(frozen)
    error = given_up(lambda: ledger.commit(1, list(fired(new_run()))), ANSWER + 1)
    assert str(error).endswith(
        "writing a batch: the server has not answered for 3 s; the connection is given up"
    )
    # the backend stood outside of any transaction: it holds nothing, and the same leadership could go on
    assert backend(own_postgres, url) != frozen
    ledger.commit(1, list(fired(new_run())))
    own_postgres.thaw()
    ledger.commit(1, list(fired(new_run(2))))
    assert [run.run.id for run in ledger.load().runs] == [new_run().id, new_run(2).id]


def test_a_backend_frozen_in_its_transaction_lets_nobody_lead_until_it_goes_on_and_then_nothing_is_in_doubt(
    own_postgres: PostgresServer, url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from schedulerd.adapters.ledger import records

    class Freezes(RecordEvent):
        """An event whose writing freezes the backend: what follows is the rest of the batch, and its COMMIT."""

    pid = backend(own_postgres, url)
    monkeypatch.setitem(records.WRITERS, Freezes, lambda batch, record: own_postgres.freeze(pid))
    batch = [*fired(new_run()), Freezes(type="x", time=T0)]
    error = given_up(lambda: ledger.commit(1, batch), ANSWER + 1 + 2)
    assert "looking for a batch after a lost connection: canceling statement due to" in str(error)
    with closing(open_ledger(url, ANSWER)) as other:
        with pytest.raises(LedgerError, match="timeout"):
            other.lead("there", 0, T0)
        own_postgres.thaw()
        # the frozen one had its COMMIT in its ear, or an order to end: either way all of the batch is in or nothing
        assert wait_until(lambda: led(other), 30)
        found = [run.run.id for run in other.load().runs]
        assert found in ([], [new_run().id])
        other.commit(2, list(fired(new_run())))
        assert [run.run.id for run in other.load().runs] == [new_run().id]


def led(ledger: Ledger) -> bool:
    try:
        return ledger.lead("there", 0, T0) > 1
    except LedgerError:
        return False


def test_what_a_new_leader_reads_is_given_up_as_well(
    own_postgres: PostgresServer, url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from schedulerd.adapters.ledger import postgres

    monkeypatch.setattr(postgres, "LOADING", ANSWER)
    ledger.commit(1, list(fired(new_run())))
    own_postgres.freeze()
    given_up(ledger.load, ANSWER + 1)
    given_up(lambda: ledger.lead("here", 0, T0), CONNECT)


@pytest.mark.parametrize("call", ["gather_input", "maintain"])
def test_whatever_else_the_loop_asks_is_given_up(
    own_postgres: PostgresServer, ledger: Ledger, call: str
) -> None:
    ledger.commit(1, list(fired(new_run())))
    own_postgres.freeze()
    calls = {
        "gather_input": lambda: ledger.gather_input(new_run().id, 100),
        "maintain": lambda: ledger.maintain(T0),
    }
    given_up(calls[call], ANSWER + 1 + CONNECT)


def test_a_reader_of_the_api_is_given_up_and_heals(
    own_postgres: PostgresServer, url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_reader, "ANSWER", ANSWER)
    with closing(open_reader(url)) as reader:
        assert reader.job_names() == ["backup"]
        own_postgres.freeze()
        given_up(reader.job_names, ANSWER + 1 + CONNECT)
        given_up(lambda: open_reader(url), CONNECT)
        own_postgres.thaw()
        assert wait_until(own_postgres.answers, 30)
        assert reader.job_names() == ["backup"]


def test_the_ledger_of_a_leader_can_be_closed_while_the_server_stands_still(
    own_postgres: PostgresServer, ledger: Ledger
) -> None:
    own_postgres.freeze()
    began = monotonic()
    ledger.close()
    assert monotonic() - began < SLACK


def test_a_tool_that_waits_long_gives_up_a_server_that_answers_nobody(
    own_postgres: PostgresServer, url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_deadline, "PROBE_EVERY", ANSWER)
    with ExitStack() as opened:
        read = opened.enter_context(whole.reading(url))
        own_postgres.freeze()
        began = monotonic()
        with pytest.raises(LedgerError, match="nor does it answer others") as lost:
            counted(read)
        assert monotonic() - began < ANSWER + CONNECT + SLACK
    assert PASSWORD not in str(lost.value)


def test_a_tool_gives_up_a_backend_that_alone_stands_still(
    own_postgres: PostgresServer, url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_whole, "LIMIT", ANSWER)
    tool = "SELECT pid FROM pg_stat_activity WHERE application_name = 'schedulerd ledger tool'"
    with whole.reading(url) as read:
        ((pid,),) = own_postgres.sql(tool, url)
        own_postgres.freeze(pid)
        with pytest.raises(LedgerError, match="the server has not answered for 3 s"):
            counted(read)


def counted(ledger: whole.Whole) -> int:
    """As a tool asks, with errors in our words."""
    assert isinstance(ledger, postgres_whole.WholeDatabase)
    with ledger._connection.server.translated("reading the ledger"):
        return ledger.count("runs")


@pytest.mark.parametrize(
    "words", [("check",), ("backup", "backup.db"), ("copy",)], ids=lambda words: words[0]
)
def test_the_commands_for_a_ledger_end_with_one_line(
    own_postgres: PostgresServer, url: str, tmp_path: Path, words: tuple[str, ...], keep: ExitStack
) -> None:
    with closing(open_ledger(url)) as filled:
        fill(filled)
    given = {
        "check": ["check", url],
        "backup": ["backup", "--url", url, str(tmp_path / "backup.db")],
        "copy": ["copy", url, f"sqlite://{tmp_path}/new.db"],
    }[words[0]]
    own_postgres.freeze()
    done = subprocess.run(
        [PROGRAMS / "schedulerd", "ledger", *given],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be connected to: connection timeout expired" in done.stderr
    assert list(tmp_path.iterdir()) == []
