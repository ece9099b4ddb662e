"""What keeps schedulerd from starting is one clear sentence and a non-zero exit; what can heal is waited for."""

import json
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from support.daemons import PROGRAMS, Daemon, clean_environment
from support.ports import free_ports

Write = Callable[..., Path]


@pytest.fixture
def settings(tmp_path: Path) -> Write:
    """Writes a settings file for a schedulerd that needs nothing else on this host."""
    (tmp_path / "jobs.d").mkdir()

    def write(
        *, api: str = "127.0.0.1:0", results: str = "tcp://127.0.0.1:*", state: str = "state", more: str = ""
    ) -> Path:
        path = tmp_path / "schedulerd.toml"
        path.write_text(
            f"""
state_dir = "{state}"
{more}
[api]
listen = "{api}"
socket = ""
[results]
listen = "{results}"
advertise = ""
[ledger]
url = "sqlite://{tmp_path}/{state}/ledger.db"
[discovery]
kind = "static"
"""
        )
        return path

    return write


def refused(config: Path) -> str:
    """The one line that schedulerd says before it ends with 1."""
    done = subprocess.run(
        [PROGRAMS / "schedulerd", "--config", config],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("schedulerd: ")]
    assert len(said) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return said[0]


def test_the_api_port_is_in_use(settings: Write) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(settings(api=f"127.0.0.1:{port}"))


def test_the_results_port_is_in_use(settings: Write) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"tcp://127.0.0.1:{port}" in refused(settings(results=f"tcp://127.0.0.1:{port}"))


def test_the_state_directory_cannot_be_made(settings: Write, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file/state" in refused(settings(state="file/state"))


def test_the_ledger_is_some_other_file(settings: Write, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/ledger.db").write_text("these are the notes of somebody else\n" * 40)
    assert "ledger.db" in refused(settings())
    assert (tmp_path / "state/ledger.db").read_text().startswith("these are the notes")


def test_an_unknown_setting_is_named_with_its_place(settings: Write) -> None:
    said = refused(settings(more="jobs_dri = 1"))
    assert "jobs_dri" in said
    assert "jobs_dir" in said
    assert "schedulerd.toml:3" in said


def test_a_listen_address_beyond_loopback_needs_to_be_asked_for(settings: Write) -> None:
    assert "insecure" in refused(settings(results="tcp://0.0.0.0:*"))


def test_a_second_schedulerd_on_the_same_state_directory(settings: Write, tmp_path: Path) -> None:
    config = settings()
    with Daemon([PROGRAMS / "schedulerd", "--config", config], log=tmp_path / "first.log") as first:
        first.wait_said("READY=1")
        assert f"process {first.pid}" in refused(config)


def test_a_second_schedulerd_on_the_same_ledger_with_a_state_directory_of_its_own(
    settings: Write, tmp_path: Path
) -> None:
    with Daemon([PROGRAMS / "schedulerd", "--config", settings()], log=tmp_path / "first.log") as first:
        first.wait_said("READY=1")
        other = tmp_path / "other.toml"
        text = (tmp_path / "schedulerd.toml").read_text()
        other.write_text(text.replace('state_dir = "state"', 'state_dir = "elsewhere"'))
        assert "ledger.db.lock" in refused(other)
        (tmp_path / "link.db").symlink_to(tmp_path / "state" / "ledger.db")
        by_link = other.read_text().replace("/state/ledger.db", "/link.db")
        assert "/link.db" in by_link
        other.write_text(by_link)
        assert "state/ledger.db.lock" in refused(other)


def test_faulty_job_files_end_the_first_start_and_later_keep_the_table(
    settings: Write, tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    config = settings(api=f"127.0.0.1:{port}")
    good, bad = '[job.a]\nargv = ["true"]\n', '[job.b]\nargv = ["true"]\nschedule = "61 * * * *"\n'
    (tmp_path / "jobs.d/x.toml").write_text(bad)
    assert "x.toml:3:" in refused(config)

    (tmp_path / "jobs.d/x.toml").write_text(good)
    with Daemon([PROGRAMS / "schedulerd", "--config", config], log=tmp_path / "log") as daemon:
        daemon.wait_said("READY=1")
        assert daemon.stop() == 0
    (tmp_path / "jobs.d/x.toml").write_text(bad)
    with Daemon([PROGRAMS / "schedulerd", "--config", config], log=tmp_path / "log") as daemon:
        daemon.wait_said("READY=1")
        assert any(said.startswith("STATUS=") and "the table in force stays" in said for said in daemon.said)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/jobs", timeout=30) as answer:
            assert [job["name"] for job in json.load(answer)["items"]] == ["a"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
            assert "the table in force stays" in answer.read().decode()
