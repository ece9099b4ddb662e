"""schedulerd on a PostgreSQL ledger, with workers as processes: the server is restarted and killed in the middle."""

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from support.fleet import Fleet, lines
from support.postgres_server import PASSWORD, PostgresServer
from support.waiting import wait_until

from schedulerd.adapters.ledger import invariants, whole

ONE_HOST = '[election]\nkind = "file"\n'
WITNESS = 'echo "$SCHEDULERD_RUN_ID $SCHEDULERD_SUBTASK $SCHEDULERD_ATTEMPT" >> {file}'


class PostgresFleet(Fleet):
    """A fleet whose ledger is in PostgreSQL."""

    url = ""

    @property
    def ledger(self) -> str:
        """The URL of the database, as it stands in the settings."""
        return self.url


@pytest.fixture
def fleet(tmp_path: Path, own_postgres: PostgresServer) -> Iterator[PostgresFleet]:
    with PostgresFleet(tmp_path, None, "pg", listed=("a", "b")) as fleet:
        fleet.url = own_postgres.database()
        fleet.of_scheduler = ONE_HOST
        yield fleet


def test_a_server_that_restarts_under_load_loses_and_doubles_nothing(
    fleet: PostgresFleet, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    body = WITNESS.format(file=seen)
    names = [f"tick-{number}" for number in range(4)]
    jobs = [
        f"[job.{name}]\nevery = \"1s\"\ncommand = '''{body}; sleep 0.2'''\nmisfire = \"all\"\n"
        for name in names
    ]
    fleet.table("\n".join(jobs))
    for name in ("a", "b"):
        fleet.start_worker(name, slots=8)
    scheduler = fleet.start_scheduler()
    fleet.wait_ready("a", "b")
    for how in (signal.SIGQUIT, signal.SIGINT, signal.SIGQUIT):
        began = len(lines(seen))
        assert wait_until(lambda began=began: len(lines(seen)) >= began + 16, 60)
        own_postgres.stop(how)
        stopped = datetime.now(UTC)
        assert wait_until(lambda stopped=stopped: datetime.now(UTC) - stopped > timedelta(seconds=2), 10)
        own_postgres.start()
    began = len(lines(seen))
    assert wait_until(lambda: len(lines(seen)) >= began + 16, 60)

    for name in names:
        fleet.ctl("pause", name, "--reason", "the account is taken")
    until = datetime.now(UTC)
    unfinished = ("runs", "--state", "pending", "--state", "running")
    assert wait_until(lambda: not fleet.json(*unfinished)["items"], 100, every=0.5)
    starts = Counter(tuple(line.split()[:2]) for line in lines(seen))
    assert max(starts.values()) == 1, [key for key, count in starts.items() if count > 1]
    for name in names:
        rows = [
            row
            for row in fleet.json("slots", name)["items"]
            if datetime.fromisoformat(row["fire_time"]) <= until
        ]
        times = sorted(datetime.fromisoformat(row["fire_time"]) for row in rows)
        assert [later - earlier for earlier, later in pairwise(times)] == [timedelta(seconds=1)] * (
            len(times) - 1
        )
        assert times[-1] > until - timedelta(seconds=1)
        runs = {run["id"]: run for run in fleet.json("runs", name)["items"]}
        for row in rows:
            if row["outcome"] == "run":
                run = runs[row["run_id"]]
                assert (run["state"], starts[run["id"], "0"]) == ("succeeded", 1), run
            else:
                assert row["reason"] in ("overlap", "misfire", "paused"), row
    assert scheduler.process.poll() is None  # healed by itself, not by a restart
    with whole.reading(fleet.url) as ledger:
        assert list(invariants.violations(ledger)) == []
    assert PASSWORD not in scheduler.log.read_text()

    fleet.table('[job.a]\nschedule = "@reboot"\nargv = ["true"]\n')
    shown = fleet.ctl("reload", code=1) + scheduler.log.read_text()
    assert 'jobs.toml:2:12: schedule: "@reboot" goes with a SQLite ledger only' in shown
