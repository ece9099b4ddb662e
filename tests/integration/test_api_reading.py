"""Reading over the API: jobs, runs, output, slots, events, workers, the cluster."""

import msgspec
import pytest
from support.api_server import call
from support.small_scheduler import SmallScheduler

from schedulerd.api.server import Server
from schedulerd.protocol import messages as msg


def test_job_is_shown_with_definition_sources_and_etag(server: Server) -> None:
    answer = call(server, "GET", "/v1/jobs/backup")
    assert answer.status == 200
    assert answer.headers["ETag"] == f'"{answer.json["version"]}"'
    assert answer.json["origin"] == "jobs.toml:2"
    assert answer.json["next_fire_time"] == "2026-11-23T02:01:00Z"
    assert answer.json["definition"]["argv"] == ["dump", "{{ fire_time.date }}"]
    assert answer.json["effective"]["timeout"] == "1h"
    assert answer.json["source"]["timeout"] == "built-in"
    assert answer.json["source"]["schedule"] == "jobs.toml:3"


def test_job_as_toml_is_a_job_file(server: Server) -> None:
    answer = call(server, "GET", "/v1/jobs/backup", headers={"Accept": "application/toml"})
    assert answer.headers["Content-Type"].startswith("application/toml")
    assert answer.body.decode().startswith("[job.backup]\n")


def test_lists_follow_cursors_to_the_end(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(190)
    seen, cursor = [], ""
    while cursor is not None:
        page = call(server, "GET", f"/v1/runs?job=backup&limit=2&cursor={cursor}").json
        seen += [run["fire_time"] for run in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ["2026-11-23T02:03:00Z", "2026-11-23T02:02:00Z", "2026-11-23T02:01:00Z"]
    names, cursor = [], ""
    while cursor is not None:
        page = call(server, "GET", f"/v1/jobs?limit=1&cursor={cursor}").json
        names += [job["name"] for job in page["items"]]
        cursor = page["next_cursor"]
    assert names == ["backup", "report", "slow"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=b*", ["backup"]),
        ("name=slow&name=rep*", ["report", "slow"]),
        ("tag=db", ["backup"]),
        ("search=NIGHTLY", ["backup"]),
        ("paused=true", ["slow"]),
        ("paused=false&search=o", ["report"]),
        ("failing=true", []),
    ],
)
def test_jobs_are_filtered(server: Server, query: str, names: list[str]) -> None:
    call(server, "POST", "/v1/jobs/slow/pause", {})
    assert [job["name"] for job in call(server, "GET", f"/v1/jobs?{query}").json["items"]] == names


def test_failing_filter_looks_at_the_last_run(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.ending = lambda spec, order: msg.Outcome(order.attempt, "failed", "exit", exit_code=3)
    call(server, "POST", "/v1/jobs/report/trigger", {})
    assert [job["name"] for job in call(server, "GET", "/v1/jobs?failing=true").json["items"]] == ["report"]


def test_run_and_its_subtasks(server: Server) -> None:
    run = call(server, "POST", "/v1/jobs/report/trigger", {}).json["run_id"]
    detail = call(server, "GET", f"/v1/runs/{run}").json
    assert detail["state"] == "succeeded"
    assert detail["subtasks"] == {"total": 3, "succeeded": 3, "failed": 0, "running": 0, "pending": 0}
    assert [part["attempts"][0]["worker"] for part in detail["subtasks_detail"]] == ["w1"] * 3
    first = call(server, "GET", f"/v1/runs/{run}/subtasks?limit=2").json
    rest = call(server, "GET", f"/v1/runs/{run}/subtasks?limit=2&cursor={first['next_cursor']}").json
    assert [part["index"] for part in first["items"] + rest["items"]] == [0, 1, 2]
    assert rest["next_cursor"] is None


def test_run_is_found_by_the_beginning_of_its_id(server: Server) -> None:
    run = call(server, "POST", "/v1/jobs/report/trigger", {}).json["run_id"]
    assert call(server, "GET", "/v1/runs/report@").json["id"] == run
    call(server, "POST", "/v1/jobs/report/trigger", {})
    answer = call(server, "GET", "/v1/runs/report@")
    assert answer.status == 404
    assert "begins 2 run ids" in answer.json["detail"]
    assert run in answer.json["near"]


def test_logs_as_text_and_as_lines(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.ending = lambda spec, order: msg.Outcome(
        order.attempt,
        "succeeded",
        exit_code=0,
        stdout=msg.Captured(head=b"one\ntwo\n", tail=b"nine\nten\n", dropped=400),
        stderr=msg.Captured(tail=b"\xff<b>\n"),
    )
    run = call(server, "POST", "/v1/jobs/slow/trigger", {}).json["run_id"]
    text = call(server, "GET", f"/v1/runs/{run}/logs?stream=stdout")
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert text.body == b"one\ntwo\n[400 bytes were not kept]\nnine\nten\n"
    assert call(server, "GET", f"/v1/runs/{run}/logs?stream=stdout&tail=1").body == b"ten\n"
    lines = call(server, "GET", f"/v1/runs/{run}/logs", headers={"Accept": "application/x-ndjson"})
    found = [msgspec.json.decode(line) for line in lines.body.splitlines()]
    assert [(line["stream"], line["text"], line["dropped"]) for line in found] == [
        ("stdout", "one", 0),
        ("stdout", "two", 0),
        ("stdout", None, 400),
        ("stdout", "nine", 0),
        ("stdout", "ten", 0),
        ("stderr", "\ufffd<b>", 0),
    ]


def test_slots_tell_runs_and_skips(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.advance(60)
    call(server, "POST", "/v1/jobs/backup/pause", {"reason": "move"})
    scheduler.advance(60)
    call(server, "POST", "/v1/jobs/backup/resume")
    slots = call(server, "GET", "/v1/slots?job=backup").json["items"]
    assert [(slot["outcome"], slot["reason"]) for slot in slots] == [("skipped", "paused"), ("run", None)]


def test_next_fire_times_of_a_job(server: Server) -> None:
    path = "/v1/jobs/backup/next?from=2027-03-28T00:59:00Z&until=2027-03-28T01:00:00Z"
    assert call(server, "GET", path).json["items"] == [
        {"fire_time": "2027-03-28T00:59:00Z", "local": "2027-03-28T01:59:00+01:00", "note": None},
        {"fire_time": "2027-03-28T01:00:00Z", "local": "2027-03-28T03:00:00+02:00", "note": None},
    ]


def test_events_workers_cluster(server: Server) -> None:
    call(server, "POST", "/v1/jobs/report/trigger", {}, {"Schedulerd-User": "eva@desk"})
    events = call(server, "GET", "/v1/events?limit=1").json
    assert events["items"][0]["type"] == "triggered"
    assert events["items"][0]["detail"] == "by eva@desk"
    older = call(server, "GET", f"/v1/events?cursor={events['next_cursor']}").json
    assert [event["type"] for event in older["items"]] == ["table_replaced", "worker_joined"]
    worker = call(server, "GET", "/v1/workers").json["items"][0]
    assert (worker["name"], worker["state"], worker["slots"]) == ("w1", "ready", 4)
    cluster = call(server, "GET", "/v1/cluster").json
    assert (cluster["is_leading"], cluster["jobs"], cluster["workers_ready"]) == (True, 3, 1)


def test_reading_goes_on_while_nobody_leads(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.known = msgspec.structs.replace(
        scheduler.known, is_leading=False, ready=False, reasons=("the ledger failed",)
    )
    job = call(server, "GET", "/v1/jobs/backup").json
    assert (job["state"], job["next_fire_time"]) == ("active", "2026-11-23T02:01:00Z")
    assert call(server, "GET", "/v1/runs").status == 200
    assert b"the ledger failed" in call(server, "GET", "/").body
    assert call(server, "GET", "/readyz").json["reasons"] == ["the ledger failed"]
    assert call(server, "GET", "/readyz").status == 503
    answer = call(server, "POST", "/v1/jobs/backup/trigger", {})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
