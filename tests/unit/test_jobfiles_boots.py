"""`@reboot` in job files: it goes with a ledger on one host, and is refused, with its place, with one that is not."""

from pathlib import Path

import pytest
from test_jobfiles_reading import write

from schedulerd.adapters.jobfiles import load_table
from schedulerd.errors import JobFileError

USER = "[job.x]\nargv = ['true']\nschedule = {schedule}\n"


@pytest.mark.parametrize(
    ("schedule", "place"),
    [("'@reboot'", "3:12: schedule"), ("['5 4 * * *', ' @Reboot']", "3:26: schedule[1]")],
)
def test_reboot_is_refused_where_the_leader_may_change_hosts(
    tmp_path: Path, schedule: str, place: str
) -> None:
    write(tmp_path, a=USER.format(schedule=schedule))
    assert load_table(tmp_path).definitions[0].job.trigger.is_at_boot  # type: ignore[union-attr]
    with pytest.raises(JobFileError) as refused:
        load_table(tmp_path, has_boots=False)
    (fault,) = refused.value.faults
    assert fault.startswith(f'a.toml:{place}: "@reboot" goes with a SQLite ledger only: with PostgreSQL')
    assert fault.endswith("expected a time of the clock; the table in force stays")


def test_other_schedules_go_with_any_ledger(tmp_path: Path) -> None:
    write(tmp_path, a=USER.format(schedule="'@daily'"))
    assert len(load_table(tmp_path, has_boots=False).definitions) == 1
