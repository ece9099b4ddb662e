"""Changing over the API: jobs are made, changed, paused, triggered; runs are cancelled; the table is read anew."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from support.api_server import call, served
from support.small_scheduler import NIGHT, SmallScheduler

from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.api.readers import POOL_SIZE
from schedulerd.api.server import Server
from schedulerd.protocol import messages as msg


def _goes_on(spec: msg.Spec, order: msg.Order) -> None:
    return None


def test_job_is_made_changed_and_deleted(server: Server) -> None:
    made = call(server, "PUT", "/v1/jobs/new", {"every": "5m", "command": "x"}, {"If-None-Match": "*"})
    assert (made.status, made.json["origin"], made.json["schedule"]) == (201, "api", "every 5m")
    again = call(server, "PUT", "/v1/jobs/new", {"command": "y"}, {"If-None-Match": "*"})
    assert again.status == 409
    changed = call(
        server, "PATCH", "/v1/jobs/new", {"every": None, "tags": ["a"]}, {"If-Match": made.headers["ETag"]}
    )
    assert (changed.status, changed.json["schedule"], changed.json["tags"]) == (200, "manual", ["a"])
    assert changed.headers["ETag"] != made.headers["ETag"]
    stale = call(server, "PUT", "/v1/jobs/new", {"command": "z"}, {"If-Match": made.headers["ETag"]})
    assert stale.status == 412
    assert call(server, "DELETE", "/v1/jobs/new", headers={"If-Match": made.headers["ETag"]}).status == 412
    assert call(server, "DELETE", "/v1/jobs/new", headers={"If-Match": changed.headers["ETag"]}).status == 204
    assert call(server, "GET", "/v1/jobs/new").status == 404


@pytest.mark.parametrize(
    ("method", "body"), [("PUT", {"command": "x"}), ("PATCH", {"tags": []}), ("DELETE", None)]
)
def test_job_of_a_file_refuses_and_names_its_line(server: Server, method: str, body: object) -> None:
    answer = call(server, method, "/v1/jobs/backup", body)
    assert answer.status == 409
    assert "jobs.toml:2" in answer.json["detail"]


def test_every_fault_of_a_document_is_told(server: Server) -> None:
    answer = call(server, "PUT", "/v1/jobs/bad", {"schedule": "61 * * * *", "bogus": 1, "command": "x"})
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert sorted(fault.partition(":")[0] for fault in answer.json["faults"]) == ["/bogus", "/schedule"]


def test_past_instant_of_a_one_off_runs_once_and_never_again(
    scheduler: SmallScheduler, server: Server
) -> None:
    document = {"at": "2026-11-23T01:59:00Z", "command": "x"}
    call(server, "PUT", "/v1/jobs/once", document)
    call(server, "PUT", "/v1/jobs/once", {**document, "description": "changed"})
    assert len(call(server, "GET", "/v1/runs?job=once").json["items"]) == 1
    call(server, "DELETE", "/v1/jobs/once")
    call(server, "PUT", "/v1/jobs/once", document)
    assert len(call(server, "GET", "/v1/slots?job=once").json["items"]) == 1


def test_pause_keeps_who_and_why_and_ends(scheduler: SmallScheduler, server: Server) -> None:
    order = {"for_seconds": 90, "reason": "disk"}
    job = call(server, "POST", "/v1/jobs/backup/pause", order, {"Schedulerd-User": "eva@desk"}).json
    assert job["state"] == "paused"
    assert job["paused"] == {
        "by": "eva@desk",
        "reason": "disk",
        "since": "2026-11-23T02:00:00Z",
        "until": "2026-11-23T02:01:30Z",
    }
    scheduler.advance(100)
    assert call(server, "GET", "/v1/jobs/backup").json["state"] == "active"
    refused = call(
        server, "POST", "/v1/jobs/backup/pause", {"for_seconds": 1, "until": "2027-01-01T00:00:00Z"}
    )
    assert refused.status == 422


def test_idempotency_key_starts_one_run(server: Server) -> None:
    runs = [
        call(server, "POST", "/v1/jobs/report/trigger", {}, {"Idempotency-Key": "k1"}).json["run_id"]
        for _ in range(3)
    ]
    assert len(set(runs)) == 1
    assert len(call(server, "GET", "/v1/runs?job=report").json["items"]) == 1


def test_idempotency_key_is_known_after_a_restart(tmp_path: Path) -> None:
    runs = []
    for hour in range(2):
        with SmallScheduler(tmp_path, start=NIGHT + timedelta(hours=hour)) as scheduler:
            scheduler.table('[job.report]\ncommand = "x"\n')
            with served(scheduler) as server:
                for _ in range(2):
                    answer = call(server, "POST", "/v1/jobs/report/trigger", {}, {"Idempotency-Key": "k1"})
                    runs.append((answer.status, answer.json["outcome"], answer.json["run_id"]))
                other = call(server, "POST", "/v1/jobs/report/trigger", {}, {"Idempotency-Key": f"k2{hour}"})
                assert other.json["run_id"] != runs[0][2]
    assert len(set(runs)) == 1


def test_triggers_share_the_few_readers_of_the_ledger(
    scheduler: SmallScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = scheduler.reader

    def counted() -> LedgerReader:
        opened.append(real())
        return opened[-1]

    monkeypatch.setattr(scheduler, "reader", counted)
    with served(scheduler) as server:
        for _ in range(5):
            assert call(server, "POST", "/v1/jobs/report/trigger", {}).status == 201
        assert not opened  # a key that nobody knows yet needs no look
        with ThreadPoolExecutor(12) as threads:
            keys = [{"Idempotency-Key": f"k{number}"} for number in range(60)]
            answers = [
                threads.submit(call, server, "POST", "/v1/jobs/report/trigger", {}, key) for key in keys
            ]
        assert {answer.result().status for answer in answers} == {201}
        assert 1 <= len(opened) <= POOL_SIZE


def test_refused_trigger_says_why(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.ending = _goes_on
    first = call(server, "POST", "/v1/jobs/slow/trigger", {"env": {"A": "1"}})
    assert (first.status, first.json["outcome"]) == (201, "started")
    second = call(server, "POST", "/v1/jobs/slow/trigger", {})
    assert (second.status, second.json["outcome"]) == (409, "refused")
    assert first.json["run_id"] in second.json["reason"]


def test_cancel_ends_a_run_once(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.ending = _goes_on
    run = call(server, "POST", "/v1/jobs/slow/trigger", {}).json["run_id"]
    assert call(server, "POST", f"/v1/runs/{run}/cancel", {"kill": True}).status == 202
    assert call(server, "GET", f"/v1/runs/{run}").json["state"] == "cancelled"
    assert call(server, "POST", f"/v1/runs/{run}/cancel", {}).status == 409


def test_reload_takes_the_files_or_tells_every_fault(scheduler: SmallScheduler, server: Server) -> None:
    (scheduler.jobs_dir / "more.toml").write_text('[job.more]\ncommand = "x"\n')
    assert call(server, "POST", "/v1/reload").json["added"] == ["more"]
    (scheduler.jobs_dir / "more.toml").write_text('[job.more]\ncommnd = "x"\n')
    answer = call(server, "POST", "/v1/reload")
    assert answer.status == 422
    assert any(fault.startswith("more.toml:2:1: ") for fault in answer.json["faults"])
    assert call(server, "GET", "/v1/jobs/more").status == 200


def test_check_reads_files_and_changes_nothing(server: Server) -> None:
    good = call(server, "POST", "/v1/check", {"files": {"team/a.toml": '[job.x]\ncommand = "x"\n'}})
    assert good.json == {"jobs": ["x"], "faults": []}
    bad = call(server, "POST", "/v1/check", {"files": {"a.toml": '[job.x]\ncommand = "x"\nbogus = 1\n'}})
    assert bad.json["faults"][0].startswith("a.toml:3:1: ")
    assert call(server, "POST", "/v1/check", {"files": {"../a.toml": ""}}).status == 422
    assert call(server, "GET", "/v1/jobs/x").status == 404
