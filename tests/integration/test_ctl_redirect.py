"""schedulerctl follows a standby to the leader: same method, body and headers, and not for ever."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from schedulerd.ctl.client import Client
from schedulerd.ctl.exits import Exit, Failure


class Place:
    """An HTTP server that answers every request as it is told, and remembers them."""

    def __init__(self) -> None:
        self.redirect = ""  # where to; empty: answer
        self.seen: list[tuple[str, str, str, bytes]] = []  # method, path, token, body
        place = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                place.seen.append((self.command, self.path, self.headers.get("Authorization", ""), body))
                answer = json.dumps({"at": place.address}).encode()
                self.send_response(307 if place.redirect else 200)
                if place.redirect:
                    self.send_header("Location", place.redirect + self.path)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_PUT = do_DELETE = do_GET = do_POST

            def log_message(self, *args: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def places() -> Iterator[tuple[Place, Place]]:
    pair = Place(), Place()
    yield pair
    for place in pair:
        place.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
def test_method_path_body_and_token_go_along(method: str, places: tuple[Place, Place]) -> None:
    standby, leader = places
    standby.redirect = leader.address
    client = Client(standby.address, "secret")
    body = None if method == "GET" else {"kill": True}
    answer = client.request(method, "/v1/runs/a@b/cancel", query={"x": "1 2"}, body=body)
    client.close()
    assert answer.json() == {"at": leader.address}
    assert standby.seen == leader.seen
    sent = b"" if body is None else b'{"kill": true}'
    assert leader.seen == [(method, "/v1/runs/a@b/cancel?x=1+2", "Bearer secret", sent)]


def test_the_next_request_goes_to_the_first_address_again(places: tuple[Place, Place]) -> None:
    standby, leader = places
    standby.redirect = leader.address
    client = Client(standby.address)
    client.post("/v1/reload")
    standby.redirect = ""  # it was elected meanwhile
    assert client.post("/v1/reload") == {"at": standby.address}
    client.close()


def test_two_that_send_each_to_the_other_are_given_up(places: tuple[Place, Place]) -> None:
    one, other = places
    one.redirect, other.redirect = other.address, one.address
    client = Client(one.address)
    with pytest.raises(Failure) as caught:
        client.post("/v1/reload")
    client.close()
    assert caught.value.code == Exit.UNREACHABLE
    assert "nobody of them leads" in caught.value.message
    assert len(one.seen) + len(other.seen) == 4


def test_a_leader_that_does_not_answer_is_named(places: tuple[Place, Place]) -> None:
    standby, _ = places
    standby.redirect = "http://127.0.0.1:1"
    client = Client(standby.address)
    with pytest.raises(Failure, match=r"no schedulerd answers at http://127\.0\.0\.1:1: ") as caught:
        client.post("/v1/reload")
    client.close()
    assert caught.value.code == Exit.UNREACHABLE
