"""Which instants of one-offs have their row already: also those that lie ahead since the clock was set back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.ledger_material import definition, fired, job_row, new_run

from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.core.effects import RecordJobs
from schedulerd.daemon.clock_trust import ClockTrust
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.table import JobFiles
from schedulerd.hostkit import clock
from schedulerd.model.job import At
from schedulerd.model.run import NewRun


def test_an_instant_ahead_of_the_clock_that_has_its_run_is_filled(tmp_path: Path) -> None:
    ahead = clock.utc_now().replace(microsecond=0) + timedelta(hours=1)
    begin = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
    run: NewRun = new_run((ahead - begin) / timedelta(minutes=1))
    url = f"sqlite://{tmp_path}/ledger.db"
    ledger = open_ledger(url)
    try:
        epoch = ledger.lead("a", 0, clock.utc_now())
        ledger.commit(epoch, [RecordJobs((job_row(mark=run.fire_time),)), *fired(run)])
    finally:
        ledger.close()
    files = JobFiles(
        tmp_path,
        defaults=dict,
        inbox=Inbox(),
        loop=None,  # type: ignore[arg-type] - it is not asked
        trust=ClockTrust(0),
        open_reader=lambda: open_reader(url),
        has_boots=True,
    )
    later = run.fire_time + timedelta(minutes=1)
    one_off = definition("backup", "v2", At(instants=(run.fire_time, later)))
    assert files.filled([one_off]) == [("backup", run.fire_time)]
