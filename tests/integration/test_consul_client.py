"""Our Consul client against a real agent, and against ones that misbehave."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.consul_agent import ConsulAgent

from schedulerd.hostkit.clock import boot_seconds
from schedulerd.hostkit.consul_client import ConsulClient, ConsulError, Registration
from schedulerd.hostkit.settings import ConsulSettings


def service(name: str, **changes: int) -> Registration:
    return Registration(
        service=name,
        service_id=f"{name}-1",
        check_id=f"{name}-1-ttl",
        address="127.0.0.1",
        port=7001,
        meta={"labels": '["a=b"]', "slots": "3"},
        **changes,
    )


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of an agent that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def answering(text: bytes) -> tuple[str, threading.Thread]:
    """The address of an agent that gives one answer, whatever it is asked."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as peer:
            peer.recv(65536)
            peer.sendall(text)

    thread = threading.Thread(target=serve)
    thread.start()
    return f"http://127.0.0.1:{server.getsockname()[1]}", thread


def test_a_registration_comes_back_whole_and_goes_away(consul: ConsulAgent) -> None:
    client = consul.client()
    client.register(service("whole"))
    _, (entry,) = client.services("whole")
    assert (entry.service_id, entry.address, entry.port) == ("whole-1", "127.0.0.1", 7001)
    assert entry.meta == {"labels": '["a=b"]', "slots": "3"}
    assert not entry.is_passing  # critical until its owner says that it is alive
    client.check_pass("whole-1-ttl", note="here")
    assert client.services("whole")[1][0].is_passing
    client.deregister("whole-1")
    assert client.services("whole")[1] == ()


def test_registering_again_replaces_and_leaves_one(consul: ConsulAgent) -> None:
    client = consul.client()
    client.register(service("again"))
    client.register(service("again", ttl_seconds=30))
    client.check_pass("again-1-ttl")
    assert [entry.is_passing for entry in client.services("again")[1]] == [True]
    client.deregister("again-1")


def test_the_agent_refuses_a_check_it_does_not_have(consul: ConsulAgent) -> None:
    with pytest.raises(ConsulError, match=rf"^Consul at {consul.address} did not pass check nobody-ttl: "):
        consul.client().check_pass("nobody-ttl")


def test_what_the_agent_does_not_know_is_away_already(consul: ConsulAgent) -> None:
    consul.client().deregister("nobody")


def test_a_blocking_query_returns_at_a_change_and_not_before(consul: ConsulAgent) -> None:
    client, other = consul.client(), consul.client()
    other.register(service("blocking"))
    index, _ = client.services("blocking")
    timer = threading.Timer(0.5, lambda: other.check_pass("blocking-1-ttl"))
    began = boot_seconds()
    timer.start()
    seen = index
    passing = False
    while not passing:
        seen, (entry,) = client.services("blocking", index=seen, wait_seconds=30)
        passing = entry.is_passing
    timer.join()
    assert seen > index
    assert 0.4 < boot_seconds() - began < 20
    other.deregister("blocking-1")


def test_a_blocking_query_outlasts_the_time_out_of_other_calls(consul: ConsulAgent) -> None:
    client = consul.client(timeout_seconds=1.0)
    index, _ = client.services("nothing-here")
    began = boot_seconds()
    later, entries = client.services("nothing-here", index=index, wait_seconds=3)
    assert boot_seconds() - began >= 2.9
    assert (later >= 1, entries) == (True, ())


def test_an_interrupt_ends_a_blocking_query_at_once_and_for_good(consul: ConsulAgent) -> None:
    client = consul.client()
    index, _ = client.services("interrupted")
    failed = threading.Event()

    def follow() -> None:
        while True:
            client.services("interrupted", index=index, wait_seconds=55)

    def watch() -> None:
        with pytest.raises(ConsulError):
            follow()
        failed.set()

    thread = threading.Thread(target=watch)
    thread.start()
    began = boot_seconds()
    client.interrupt()
    thread.join(30)
    assert failed.is_set()
    assert boot_seconds() - began < 20
    with pytest.raises(ConsulError):
        client.services("interrupted")


def test_every_call_ends_when_the_agent_says_nothing(silent: str) -> None:
    client = ConsulClient(silent, timeout_seconds=0.3)
    calls = [
        lambda: client.register(service("silent")),
        lambda: client.deregister("silent-1"),
        lambda: client.check_pass("silent-1-ttl"),
        lambda: client.services("silent"),
        lambda: client.services("silent", index=7, wait_seconds=1),
    ]
    for call in calls:
        began = boot_seconds()
        with pytest.raises(ConsulError, match="timed out"):
            call()
        assert boot_seconds() - began < 10


def test_nobody_listening_is_one_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConsulError) as caught:
            ConsulClient(address).services("workerd")
    assert (
        str(caught.value)
        == f"Consul at {address} did not list service workerd: [Errno 111] Connection refused"
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"not json", b"7", b"[7]", b'[{"Service": {}}]', b'{"a": 1}', b"[" * 5000],
    ids=["empty", "null", "text", "number", "list", "hollow", "object", "deep"],
)
def test_an_answer_that_is_no_health_list_is_an_error_or_nobody(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(
        body
    )
    address, thread = answering(head + body)
    if body == b"null":
        assert ConsulClient(address).services("workerd") == (5, ())
    else:
        with pytest.raises(ConsulError, match=f"Consul at {address}"):
            ConsulClient(address).services("workerd")
    thread.join()


def test_a_missing_or_wrong_index_is_an_error() -> None:
    for header in (b"", b"X-Consul-Index: x\r\n"):
        answer = b"HTTP/1.1 200 OK\r\n" + header + b"Content-Length: 2\r\nConnection: close\r\n\r\n[]"
        address, thread = answering(answer)
        with pytest.raises(ConsulError):
            ConsulClient(address).services("workerd")
        thread.join()


def test_an_error_of_the_server_is_told_in_its_words() -> None:
    answer = b"HTTP/1.1 500 Error\r\nContent-Length: 17\r\nConnection: close\r\n\r\nNo cluster leader"
    address, thread = answering(answer)
    with pytest.raises(ConsulError, match=r"did not register s-1: 500 No cluster leader$"):
        ConsulClient(address).register(service("s"))
    thread.join()


@pytest.mark.parametrize("address", ["", "127.0.0.1:8500", "ftp://a:1", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConsulError, match="is not of the form http://HOST:PORT"):
        ConsulClient(address)


def test_the_environment_chooses_neither_token_nor_proxy(
    consul: ConsulAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "somebody-elses")
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert consul.client().services("nothing-here")[1] == ()


def test_a_token_that_is_exchanged_is_used_from_the_next_call_on_and_one_that_is_gone_is_told(
    tmp_path: Path,
) -> None:
    asked: list[bytes] = []

    class Agent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["X-Consul-Token"].encode())
            self.send_response(200)
            self.send_header("X-Consul-Index", "5")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *args: object) -> None:
            pass

    file = tmp_path / "token"
    with HTTPServer(("127.0.0.1", 0), Agent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        agent = ConsulSettings(address=f"http://127.0.0.1:{server.server_port}", token_file=file)
        file.write_text("first")
        client = ConsulClient(agent.address, token=agent.token)
        client.services("workerd")
        file.write_text("second")
        client.services("workerd")
        file.unlink()
        with pytest.raises(ConsulError, match="Consul's token cannot be read"):
            client.services("workerd")
        server.shutdown()
    assert asked == [b"first", b"second"]
