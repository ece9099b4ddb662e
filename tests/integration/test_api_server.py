"""The HTTP server itself: where it listens, its probes, its description, its pages."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api_server import call, served
from support.small_scheduler import SmallScheduler

from schedulerd.api.server import Server
from schedulerd.errors import SettingsError
from schedulerd.protocol import messages as msg


def test_probes_and_version(server: Server) -> None:
    assert call(server, "GET", "/healthz").body == b"ok\n"
    assert call(server, "GET", "/readyz").json["ready"] is True
    assert call(server, "GET", "/version").json == {"version": "1.2.3"}


def test_metrics_show_gauges_of_the_leader(server: Server) -> None:
    text = call(server, "GET", "/metrics").body.decode()
    assert "schedulerd_leader 1.0" in text
    assert 'schedulerd_jobs{state="active"} 3.0' in text
    assert 'schedulerd_workers{state="ready"} 1.0' in text
    assert 'schedulerd_job_next_fire_timestamp_seconds{job_name="backup"}' in text


def test_openapi_names_every_path_and_shape(server: Server) -> None:
    schema = call(server, "GET", "/openapi.json").json
    assert schema["openapi"].startswith("3.1")
    paths = {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods}
    assert paths >= {
        "GET /v1/jobs",
        *(f"{method} /v1/jobs/{{name}}" for method in ("GET", "PUT", "PATCH", "DELETE")),
        *(f"POST /v1/jobs/{{name}}/{verb}" for verb in ("pause", "resume", "trigger")),
        "GET /v1/jobs/{name}/next",
        "POST /v1/check",
        "POST /v1/reload",
        "GET /v1/runs",
        *(f"GET /v1/runs/{{run}}{part}" for part in ("", "/subtasks", "/logs")),
        "POST /v1/runs/{run}/cancel",
        *(f"GET /v1/{noun}" for noun in ("workers", "slots", "cluster", "events")),
        *(f"GET /{probe}" for probe in ("healthz", "readyz", "version", "metrics")),
    }
    shapes = schema["components"]["schemas"]
    assert {"JobDetail", "JobDocument", "RunDetail", "Problem", "LogLine", "TriggerAnswer"} <= shapes.keys()
    assert "schedule" in shapes["JobDocument"]["properties"]
    text = call(server, "GET", "/openapi.json").body.decode()
    missing = {ref for ref in _references(schema) if ref.rpartition("/")[2] not in shapes}
    assert not missing, text[:200]


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_pages_show_output_as_text_under_a_strict_policy(scheduler: SmallScheduler, server: Server) -> None:
    scheduler.ending = lambda spec, order: msg.Outcome(
        order.attempt, "failed", "exit", exit_code=3, stderr=msg.Captured(tail=b"<script>alert(1)</script>\n")
    )
    run = call(server, "POST", "/v1/jobs/slow/trigger", {}).json["run_id"]
    page = call(server, "GET", f"/runs/{run}")
    assert page.status == 200
    assert b"&lt;script&gt;alert(1)" in page.body
    assert b"<script>alert" not in page.body
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    overview = call(server, "GET", "/?q=slow").body.decode()
    assert 'href="/jobs/slow"' in overview
    assert 'data-order="trigger" data-job="slow"' in overview
    assert "/jobs/backup" not in overview.partition('id="jobs"')[2].partition("</table>")[0]
    assert call(server, "GET", "/jobs/backup").status == 200
    missing = call(server, "GET", "/jobs/bakup")
    assert missing.status == 404
    assert b'href="/jobs/backup"' in missing.body
    for name in ("page.css", "page.js", "mark.svg"):
        assert call(server, "GET", f"/static/{name}").status == 200


def test_taken_port_is_one_clear_sentence(scheduler: SmallScheduler, server: Server) -> None:
    with (
        pytest.raises(SettingsError, match=r"\[api\] listen: 127\.0\.0\.1:\d+ is in use") as caught,
        served(scheduler, listen=server.address),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_unix_socket_beside_tcp(scheduler: SmallScheduler, tmp_path: Path) -> None:
    path = tmp_path / "run" / "api.sock"
    with served(scheduler, str(path)) as server:
        assert call(server, "GET", "/healthz").status == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(30)
            link.connect(str(path))
            link.sendall(b"GET /version HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: link.recv(4096), b""))
        assert b'{"version":"1.2.3"}' in answer
        with pytest.raises(SettingsError, match="another program listens"), served(scheduler, str(path), ""):
            pass
        assert path.exists()
    assert not path.exists()


def test_socket_left_by_a_killed_daemon_is_taken_over(scheduler: SmallScheduler, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with served(scheduler, str(path), ""):
        assert path.exists()
    path.write_text("no socket")
    with pytest.raises(SettingsError, match="is no socket"), served(scheduler, str(path), ""):
        pass
    assert path.read_text() == "no socket"


def test_stopped_server_leaves_no_descriptor(scheduler: SmallScheduler) -> None:
    with served(scheduler) as server:
        call(server, "GET", "/v1/jobs")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with served(scheduler) as server:
            call(server, "GET", "/v1/jobs")
    assert len(os.listdir("/proc/self/fd")) <= before
