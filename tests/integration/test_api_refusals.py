"""What the API refuses, always as a problem: unknown things, bad bodies, foreign pages."""

import http.client

import pytest
from support.api_server import call

from schedulerd.api.server import Server


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/jobs/bakup", 404),
        ("GET", "/v1/runs/bakup@20261123T020000Z", 404),
        ("GET", "/v1/slots?job=bakup", 404),
        ("GET", "/v1/runs?job=bakup", 404),
        ("POST", "/v1/jobs/bakup/trigger", 404),
        ("DELETE", "/v1/runs", 405),
        ("GET", "/v1/runs?limit=0", 422),
        ("GET", "/v1/runs?limit=1001", 422),
        ("GET", "/v1/runs?state=odd", 422),
        ("GET", "/v1/runs?since=yesterday", 422),
        ("GET", "/v1/runs?cursor=nonsense", 422),
        ("GET", "/v1/events?cursor=x", 422),
        ("GET", "/v1/slots", 422),
        ("GET", "/v1/jobs/backup/next?from=2026-11-23", 422),
    ],
)
def test_every_refusal_is_a_problem(server: Server, method: str, path: str, status: int) -> None:
    answer = call(server, method, path)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json["status"] == status
    assert answer.json["title"]
    assert answer.json["detail"]
    if "bakup" in path:
        assert answer.json["near"] == ["backup"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b""])
def test_bodies_that_are_no_documents_are_problems(server: Server, body: bytes) -> None:
    answer = call(server, "PUT", "/v1/jobs/x", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.headers["Content-Type"]) in (
        (422, "application/problem+json"),
        (400, "application/problem+json"),
    )


def test_body_is_bounded_with_and_without_a_length(server: Server) -> None:
    big = b'{"description": "' + b"x" * (1 << 20) + b'"}'
    told = call(server, "PUT", "/v1/jobs/x", data=big, headers={"Content-Type": "application/json"})
    assert told.status == 413
    host, _, port = server.address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    headers = {"Content-Type": "application/json"}
    connection.request(
        "PUT", "/v1/jobs/x", body=iter([big[:600_000], big[600_000:]]), headers=headers, encode_chunked=True
    )
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80", "Origin": "http://evil.example:80"}, 403),
        ({"Host": "localhost:80", "Origin": "http://localhost:80"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_foreign_pages_cannot_give_orders(server: Server, headers: dict[str, str], status: int) -> None:
    assert call(server, "POST", "/v1/jobs/slow/pause", {}, headers).status == status
    paused = call(server, "GET", "/v1/jobs/slow").json["state"] == "paused"
    assert paused == (status == 200)


def test_rebound_name_cannot_even_read(server: Server) -> None:
    assert call(server, "GET", "/v1/jobs", headers={"Host": "evil.example"}).status == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/jobs/page-oncall/pause", {"for": "5s"}), ("/v1/jobs/page-oncall/trigger", {"environment": {}})],
)
def test_a_field_that_a_body_does_not_have_is_refused(server, path, body):
    answer = call(server, "POST", path, body)
    assert answer.status == 422
    assert next(iter(body)) in str(answer.json)
