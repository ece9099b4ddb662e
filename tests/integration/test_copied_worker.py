"""A copy of a worker's state directory that runs beside the first one while the leader changes, with real processes."""

import shutil
import signal
from pathlib import Path

from support.fault_rig import wait_stopped
from support.fleet import Fleet, lines
from support.waiting import wait_until

TABLE = """
[job.long]
on_lost = "retry"
cwd = "{place}"
argv = ["sh", "-c", "echo begins >> seen; until [ -e go ]; do sleep 0.05; done; echo ends >> seen"]
"""


def test_a_copy_that_answers_a_new_leader_first_does_not_cost_what_the_first_one_runs(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Fleet(tmp_path, None, "default", listed=("a", "twin")) as fleet:
        fleet.table(TABLE.format(place=tmp_path))
        first = fleet.start_worker("a")
        leader = fleet.start_scheduler()
        fleet.wait_ready("a")
        fleet.ctl("trigger", "long")
        assert wait_until(lambda: lines(seen) == ["begins"])
        # its journal says that the attempt begins, so the copy takes it for lost
        shutil.copytree(tmp_path / "a", tmp_path / "twin", ignore=shutil.ignore_patterns("scratch*", "lock"))
        first.send(signal.SIGSTOP)
        wait_stopped(first)
        leader.kill()
        fleet.start_worker("twin")
        fleet.start_scheduler()
        assert wait_until(lambda: "worker_refused" in fleet.ctl("events"), 60, every=0.2)
        assert [run["state"] for run in fleet.json("runs", "long")["items"]] == ["running"]
        first.send(signal.SIGCONT)
        fleet.wait_ready("a")
        (tmp_path / "go").touch()
        assert wait_until(lambda: fleet.json("runs", "long")["items"][0]["state"] != "running", 60, every=0.2)
        run = fleet.json("run", "long/last")
        assert run["state"] == "succeeded"
        attempts = [attempt for subtask in run["subtasks_detail"] for attempt in subtask["attempts"]]
        assert [(attempt["worker"], attempt["state"]) for attempt in attempts] == [("a", "succeeded")]
        assert lines(seen) == ["begins", "ends"]
