"""`schedulerctl slots` and `/v1/slots`: every fire time that has passed, single ones out of ranges, page by page."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support import ctl
from support.api_server import call, served
from support.small_scheduler import SmallScheduler

SPRING = datetime(2027, 3, 28, 0, 59, 50, tzinfo=UTC)


def test_slots_page_through_ranges_and_stop_at_the_limit(tmp_path: Path) -> None:
    with SmallScheduler(tmp_path) as scheduler, served(scheduler) as server:
        scheduler.table('[job.backup]\nschedule = "* * * * *"\nargv = ["x"]')
        scheduler.advance(60)
        call(server, "POST", "/v1/jobs/backup/pause", {})
        scheduler.advance(600)
        call(server, "POST", "/v1/jobs/backup/resume", {})
        scheduler.advance(60)

        def slots(*words: str) -> list[Any]:
            answer = ctl.run("-o", "json", "slots", "backup", *words, address=server.address)
            assert answer.exit_code == 0
            found = json.loads(answer.stdout)["items"]
            assert isinstance(found, list)
            return found

        every = slots()
        assert [slot["fire_time"][11:16] for slot in every] == [
            f"02:{minute:02d}" for minute in range(12, 0, -1)
        ]
        assert [slot["outcome"] for slot in every] == ["run", *["skipped"] * 10, "run"]
        assert {slot["reason"] for slot in every} == {None, "paused"}
        assert [slot["run_id"] for slot in every][::11] == [
            "backup@20261123T021200Z",
            "backup@20261123T020100Z",
        ]
        for limit in (1, 3, 11, 12, 13):
            assert slots("--limit", str(limit)) == every[:limit]
        paged, cursor = [], ""
        while cursor is not None:
            page = call(server, "GET", f"/v1/slots?job=backup&limit=5&cursor={cursor}").json
            paged += page["items"]
            cursor = page["next_cursor"]
        assert paged == every
        assert call(server, "GET", "/v1/slots?job=bakup").status == 404


def test_slots_tell_the_wall_time_that_a_gap_moved(tmp_path: Path) -> None:
    with SmallScheduler(tmp_path, start=SPRING) as scheduler, served(scheduler) as server:
        for name, more in (("ran", ""), ("slept", "paused = true\n")):
            body = f'schedule = "30 2 * * *"\ntimezone = "Europe/Prague"\nargv = ["x"]\n{more}'
            scheduler.table(f"[job.{name}]\n{body}", f"{name}.toml")
        scheduler.advance(20)
        for name, outcome in (("ran", "run"), ("slept", "skipped")):
            (slot,) = call(server, "GET", f"/v1/slots?job={name}").json["items"]
            assert (slot["fire_time"], slot["nominal"]) == ("2027-03-28T01:00:00Z", "2027-03-28T02:30:00")
            assert slot["outcome"] == outcome
            table = ctl.run("slots", name, address=server.address).stdout.splitlines()
            assert table[0].split() == ["FIRE", "TIME", "OUTCOME", "RUN", "REASON", "NOMINAL"]
            assert table[1].endswith("2027-03-28T02:30:00")
