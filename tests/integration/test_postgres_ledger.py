"""The PostgreSQL ledger against the world: restarts, ended backends, COMMITs without an answer, frozen leaders."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from support.ledger_material import T0, at, fired, job_row, new_run, outcome
from support.postgres_proxy import PostgresProxy
from support.postgres_server import PASSWORD, ROLE, PostgresServer
from support.waiting import wait_until

from schedulerd.adapters.ledger.base import Ledger
from schedulerd.adapters.ledger.migrations import newest_version
from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.core.effects import RecordEvent, RecordJobs, RecordOutcomes, RecordRuns
from schedulerd.errors import LedgerContentError, LedgerError, SettingsError, StaleEpoch

Led = tuple[Ledger, int]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def keep() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def proxy(postgres: PostgresServer, keep: ExitStack) -> PostgresProxy:
    return keep.enter_context(closing(PostgresProxy(postgres.port)))


@pytest.fixture
def leading(keep: ExitStack) -> Callable[[str], Led]:
    """Opens a ledger, leads, and has the job `backup` in the table."""

    def lead(url: str, name: str = "here") -> Led:
        ledger = keep.enter_context(closing(open_ledger(url)))
        epoch = ledger.lead(name, 0, T0)
        ledger.commit(epoch, [RecordJobs((job_row(),))])
        return ledger, epoch

    return lead


def behind(proxy: PostgresProxy, url: str) -> str:
    """The same database through the proxy."""
    name = url.rpartition("/")[2]
    return f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{proxy.port}/{name}"


def runs_of(url: str) -> list[str]:
    """Ids of the open runs, as another leader of the ledger would load them."""
    with closing(open_ledger(url)) as other:
        return [run.run.id for run in other.load().runs]


def backends(postgres: PostgresServer, url: str, application: str = "schedulerd ledger") -> list[int]:
    rows = postgres.sql(
        f"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = '{application}'",
        url,
    )
    return [pid for (pid,) in rows]


# ---- the server goes away ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_restart_of_the_server_is_one_lost_batch_and_a_new_leadership(
    own_postgres: PostgresServer, leading: Callable[[str], Led], how: signal.Signals
) -> None:
    url = own_postgres.database()
    ledger, epoch = leading(url)
    first, second = new_run(1), new_run(2)
    ledger.commit(epoch, list(fired(first)))
    with closing(open_reader(url)) as reader:
        assert reader.run(first.id) is not None
        own_postgres.stop(how)
        with pytest.raises(LedgerError) as lost:
            ledger.commit(epoch, list(fired(second)))
        assert not isinstance(lost.value, LedgerContentError | StaleEpoch)
        with pytest.raises(LedgerError, match="cannot be connected to"):
            ledger.lead("here", 0, T0)
        own_postgres.start()
        assert ledger.lead("here", 0, T0) == epoch + 1
        assert [run.run.id for run in ledger.load().runs] == [first.id]
        ledger.commit(epoch + 1, [*fired(second), RecordOutcomes((outcome(first.id),))])
        assert reader.run(second.id) is not None  # the reader has healed by itself
    with closing(open_reader(url)) as reader:
        assert reader.output(first.id, 0)[0].state == "succeeded"


def test_an_ended_backend_is_a_lost_batch_and_the_epoch_goes_on(
    postgres: PostgresServer, url: str, leading: Callable[[str], Led]
) -> None:
    ledger, epoch = leading(url)
    (pid,) = backends(postgres, url)
    assert postgres.sql("SELECT backend FROM leadership", url) == [(pid,)]
    postgres.sql(f"SELECT pg_terminate_backend({pid}, 10000)")
    with pytest.raises(LedgerError) as lost:
        ledger.commit(epoch, list(fired(new_run())))
    assert not isinstance(lost.value, LedgerContentError | StaleEpoch)
    assert runs_of(url) == []
    assert ledger.lead("here", 0, T0) == epoch + 1
    ledger.commit(epoch + 1, list(fired(new_run())))
    assert runs_of(url) == [new_run().id]


def test_a_backend_ended_in_the_middle_of_a_batch_leaves_nothing_of_it(
    postgres: PostgresServer, url: str, leading: Callable[[str], Led], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, epoch = leading(url)

    class Ends(RecordEvent):
        """An event whose writing ends the backend."""

    from schedulerd.adapters.ledger import records

    def end(batch: object, record: object) -> None:
        (pid,) = backends(postgres, url)
        postgres.sql(f"SELECT pg_terminate_backend({pid}, 10000)")

    monkeypatch.setitem(records.WRITERS, Ends, end)
    with pytest.raises(LedgerError):
        ledger.commit(epoch, [*fired(new_run()), Ends(type="x", time=T0), *fired(new_run(2))])
    assert runs_of(url) == []
    epoch = ledger.lead("here", 0, T0)
    ledger.commit(epoch, list(fired(new_run())))
    assert runs_of(url) == [new_run().id]


# ---- a COMMIT without an answer ----------------------------------------------------------------------------------


def test_a_commit_that_was_done_but_not_answered_counts_as_done(
    postgres: PostgresServer, url: str, proxy: PostgresProxy, leading: Callable[[str], Led]
) -> None:
    ledger, epoch = leading(behind(proxy, url))
    first, second = new_run(1), new_run(2)
    proxy.cut = "after"
    ledger.commit(epoch, list(fired(first)))
    assert proxy.happened.is_set()
    # the same leadership goes on, over a backend that the epoch row knows
    ledger.commit(epoch, [*fired(second), RecordOutcomes((outcome(first.id),))])
    assert runs_of(url) == [first.id, second.id]
    assert postgres.sql("SELECT backend FROM leadership", url) == [(backends(postgres, url)[0],)]


def test_a_commit_that_never_arrived_counts_as_failed(
    url: str, proxy: PostgresProxy, leading: Callable[[str], Led]
) -> None:
    ledger, epoch = leading(behind(proxy, url))
    proxy.cut = "before"
    with pytest.raises(LedgerError) as lost:
        ledger.commit(epoch, list(fired(new_run())))
    assert proxy.happened.is_set()
    assert not isinstance(lost.value, LedgerContentError | StaleEpoch)
    assert runs_of(url) == []
    epoch = ledger.lead("here", 0, T0)
    assert ledger.load().runs == ()
    ledger.commit(epoch, list(fired(new_run())))
    assert runs_of(url) == [new_run().id]


@pytest.mark.parametrize("how", ["before", "after"])
def test_when_nobody_can_be_asked_the_next_leadership_shows_which(
    url: str, proxy: PostgresProxy, leading: Callable[[str], Led], how: str
) -> None:
    ledger, epoch = leading(behind(proxy, url))
    proxy.cut, proxy.is_refusing = how, True
    with pytest.raises(LedgerError, match="cannot be connected to"):
        ledger.commit(epoch, list(fired(new_run())))
    proxy.is_refusing = False
    epoch = ledger.lead("here", 0, T0)
    assert [run.run.id for run in ledger.load().runs] == ([new_run().id] if how == "after" else [])
    ledger.commit(epoch, list(fired(new_run())))  # what is there already is left alone
    assert runs_of(url) == [new_run().id]


def test_a_commit_that_is_still_under_way_is_waited_for(
    postgres: PostgresServer, url: str, proxy: PostgresProxy, leading: Callable[[str], Led]
) -> None:
    """The line breaks while the server holds the transaction: the look-up waits for it, and then knows."""
    ledger, epoch = leading(behind(proxy, url))
    proxy.cut = "dark"
    ended: list[BaseException | None] = []

    def commit() -> None:
        try:
            ledger.commit(epoch, list(fired(new_run())))
            ended.append(None)
        except LedgerError as error:
            ended.append(error)

    writer = threading.Thread(target=commit)
    writer.start()
    assert proxy.happened.wait(30)
    # nothing comes, so the server ends the transaction for standing still; the client then learns of the loss
    writer.join(30)
    proxy.restore()
    assert isinstance(ended[0], LedgerError)
    assert runs_of(url) == []
    ledger.commit(ledger.lead("here", 0, T0), list(fired(new_run())))
    assert runs_of(url) == [new_run().id]


def test_a_slow_commit_is_only_slow(
    postgres: PostgresServer, url: str, leading: Callable[[str], Led]
) -> None:
    ledger, epoch = leading(url)
    # a disk that takes its time, as the server sees it: a trigger at COMMIT that sleeps
    postgres.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON runs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE"
        " FUNCTION slow()",
        url,
    )
    ledger.commit(epoch, list(fired(new_run())))
    assert runs_of(url) == [new_run().id]


# ---- two writers -------------------------------------------------------------------------------------------------


def test_of_two_writers_the_older_epoch_is_fenced(url: str, leading: Callable[[str], Led]) -> None:
    first, old = leading(url)
    second, new = leading(url, "there")
    with pytest.raises(StaleEpoch, match='"there" leads in epoch 2, this batch is of epoch 1'):
        first.commit(old, list(fired(new_run())))
    with pytest.raises(StaleEpoch):  # now over a new connection, which nobody has ended
        first.commit(old, list(fired(new_run())))
    second.commit(new, list(fired(new_run(2))))
    assert runs_of(url) == [new_run(2).id]
    again = first.lead("here", 0, T0)
    first.commit(again, list(fired(new_run())))
    with pytest.raises(StaleEpoch):
        second.commit(new, list(fired(new_run(3))))


def test_a_leader_frozen_in_a_transaction_holds_nothing(
    postgres: PostgresServer, url: str, leading: Callable[[str], Led], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands still after its epoch check; another takes over at once, and nothing of it is written afterwards."""
    frozen, old = leading(url)
    stands, goes_on = threading.Event(), threading.Event()

    class Freezes(RecordEvent):
        """An event in whose writing the process stands still."""

    from schedulerd.adapters.ledger import records

    def freeze(batch: object, record: object) -> None:
        stands.set()
        goes_on.wait(60)

    monkeypatch.setitem(records.WRITERS, Freezes, freeze)
    ended: list[BaseException] = []

    def commit() -> None:
        try:
            frozen.commit(old, [*fired(new_run()), Freezes(type="x", time=T0), *fired(new_run(2))])
        except LedgerError as error:
            ended.append(error)

    writer = threading.Thread(target=commit)
    writer.start()
    assert stands.wait(30)
    before = backends(postgres, url)
    other, new = leading(url, "there")  # the epoch row is locked by the frozen one: its backend has to go
    assert set(before).isdisjoint(backends(postgres, url))
    other.commit(new, list(fired(new_run(3))))
    goes_on.set()
    writer.join(60)
    assert isinstance(ended[0], StaleEpoch)
    assert runs_of(url) == [new_run(3).id]


def test_a_leader_that_stands_still_loses_its_transaction_by_itself(
    postgres: PostgresServer, url: str, leading: Callable[[str], Led]
) -> None:
    ledger, _ = leading(url)
    ledger._connection.execute("BEGIN")  # type: ignore[attr-defined]
    (pid,) = backends(postgres, url)
    assert wait_until(lambda: pid not in backends(postgres, url), 30)
    with pytest.raises(LedgerError):
        ledger.load()


def test_a_row_that_somebody_holds_is_waited_for_only_so_long(
    postgres: PostgresServer, url: str, leading: Callable[[str], Led]
) -> None:
    ledger, epoch = leading(url)
    with postgres.session(url) as other, other.transaction():
        other.execute("SELECT 1 FROM leadership FOR UPDATE")
        with pytest.raises(LedgerError, match="lock timeout") as refused:
            ledger.commit(epoch, list(fired(new_run())))
        assert not isinstance(refused.value, LedgerContentError | StaleEpoch)
    ledger.commit(epoch, list(fired(new_run())))
    assert runs_of(url) == [new_run().id]


def test_the_backend_of_another_program_with_the_same_number_is_left_alone(
    postgres: PostgresServer, url: str, leading: Callable[[str], Led]
) -> None:
    leading(url)
    with postgres.session(url) as other:
        pid = other.info.backend_pid
        postgres.sql(f"UPDATE leadership SET backend = {pid}", url)  # but started at another time
        leading(url, "there")
        assert other.execute("SELECT 1").fetchone() == (1,)


# ---- opening -----------------------------------------------------------------------------------------------------


def test_a_reader_cannot_write_and_creates_nothing(url: str, leading: Callable[[str], Led]) -> None:
    with pytest.raises(LedgerError, match="there is no ledger yet"):
        open_reader(url)
    leading(url)
    with closing(open_reader(url)) as reader:
        assert reader.job_names() == ["backup"]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader._connection.execute("DELETE FROM jobs")  # type: ignore[attr-defined]


def test_many_openers_at_once_migrate_once(url: str) -> None:
    failures: list[BaseException] = []

    def opens() -> None:
        try:
            open_ledger(url).close()
        except LedgerError as error:
            failures.append(error)

    threads = [threading.Thread(target=opens) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with closing(open_ledger(url)) as ledger:
        assert ledger.lead("here", 0, T0) == 1


@pytest.mark.parametrize("opener", [open_ledger, open_reader])
def test_a_database_of_others_is_left_untouched(
    postgres: PostgresServer, url: str, opener: Callable[[str], object]
) -> None:
    postgres.sql("CREATE TABLE diary (day TEXT)", url)
    with pytest.raises(
        LedgerError, match='schema "public" has 1 tables, but they are not a ledger of schedulerd;'
    ):
        opener(url)
    assert postgres.sql("SELECT relname FROM pg_class WHERE relname IN ('diary', 'jobs')", url) == [
        ("diary",)
    ]


@pytest.mark.parametrize("opener", [open_ledger, open_reader])
def test_a_newer_schema_is_refused(
    postgres: PostgresServer, url: str, opener: Callable[[str], object]
) -> None:
    open_ledger(url).close()
    postgres.sql("UPDATE schedulerd_ledger SET version = 99", url)
    with pytest.raises(
        LedgerError, match=f"has schema version 99, .* up to {newest_version()}; .* untouched"
    ):
        opener(url)


def test_a_database_of_another_encoding_is_refused(postgres: PostgresServer) -> None:
    name = "latin1_ledger"
    postgres.sql(
        f"CREATE DATABASE {name} OWNER {ROLE} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    with pytest.raises(LedgerError, match="has the encoding LATIN1, expected UTF8"):
        open_ledger(postgres.url(name))


def test_text_that_postgresql_cannot_hold_is_kept_without_its_nuls(
    url: str, leading: Callable[[str], Led]
) -> None:
    ledger, epoch = leading(url)
    ledger.commit(epoch, [RecordEvent(type="x", time=T0, detail="a\0b")])
    with closing(open_reader(url)) as reader:
        assert reader.events(0, 1)[0].detail == "a\ufffdb"


# ---- the password ------------------------------------------------------------------------------------------------


def test_the_password_stands_in_no_error(
    postgres: PostgresServer, url: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = url.replace(PASSWORD, "tops3cret")
    (tmp_path / "password").write_text("tops3cret\n")
    in_file = url.replace(f":{PASSWORD}@", "@") + f"?password_file={tmp_path}/password"
    said = []
    for faulty in (
        wrong,
        in_file,
        wrong.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1"),
        f"{wrong}?no_such_parameter=1",
        wrong.replace("postgresql://", "postgresql://["),
        wrong.replace("/ledger", ":port/ledger"),
    ):
        with pytest.raises((LedgerError, SettingsError)) as refused:
            open_ledger(faulty)
        error: BaseException | None = refused.value
        while error is not None:
            said.append(str(error))
            error = error.__cause__
    assert len(said) >= 6
    assert not [text for text in (*said, caplog.text) if "tops3cret" in text]


def test_the_password_may_stand_in_a_file(url: str, tmp_path: Path) -> None:
    (tmp_path / "the password").write_text(f"{PASSWORD}\n")
    bare = url.replace(f":{PASSWORD}@", "@")
    for joint in ("?", "?connect_timeout=9&"):
        open_ledger(f"{bare}{joint}password_file={tmp_path}/the%20password").close()
    open_ledger(f"{bare}?password_file={tmp_path}/the%20password&connect_timeout=9").close()
    with pytest.raises(LedgerError, match="PostgreSQL's password cannot be read"):  # it may come back
        open_ledger(f"{bare}?password_file={tmp_path}/nowhere")


def test_a_password_file_that_is_missing_when_a_leader_connects_anew_is_an_error_that_is_tried_again(
    postgres: PostgresServer, url: str, leading: Callable[[str], Led], tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    ledger, epoch = leading(url.replace(f":{PASSWORD}@", "@") + f"?password_file={file}")
    (pid,) = backends(postgres, url)
    postgres.sql(f"SELECT pg_terminate_backend({pid}, 10000)")
    file.unlink()
    for _ in range(2):
        with pytest.raises(LedgerError, match="PostgreSQL's password cannot be read"):
            ledger.lead("here", 0, T0)
    file.write_text(PASSWORD)
    assert ledger.lead("here", 0, T0) == epoch + 1


def test_libpq_s_own_variable_works(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    open_ledger(url.replace(f":{PASSWORD}@", "@")).close()


# ---- many rows ---------------------------------------------------------------------------------------------------


def test_ten_thousand_runs_are_one_batch_and_load_in_order(url: str, leading: Callable[[str], Led]) -> None:
    ledger, epoch = leading(url)
    runs = [new_run(minute) for minute in range(1, 10_001)]
    ledger.commit(epoch, [RecordRuns(tuple(runs))])
    assert [run.run.id for run in ledger.load().runs] == [run.id for run in runs]
    assert ledger.load().runs[-1].run.fire_time == at(10_000)
