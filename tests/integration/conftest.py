"""A scheduler with a small table, and the HTTP API before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api_server import served
from support.small_scheduler import SmallScheduler

from schedulerd.api.server import Server

TABLE = """
[job.backup]
schedule = "* * * * *"
timezone = "Europe/Prague"
argv = ["dump", "{{ fire_time.date }}"]
description = "Nightly dump"
tags = ["db"]

[job.report]
command = "report"
split = { shards = 3 }

[job.slow]
command = "sleep 600"
"""


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[SmallScheduler]:
    """The jobs backup, report and slow, and one worker on which all attempts succeed at once."""
    with SmallScheduler(tmp_path) as small:
        small.table(TABLE)
        yield small


@pytest.fixture
def server(scheduler: SmallScheduler) -> Iterator[Server]:
    """The API before `scheduler`."""
    with served(scheduler) as running:
        yield running
