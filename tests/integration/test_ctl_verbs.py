"""schedulerctl against the real API, core and ledger: what verbs do, what programs get, which exit codes come back."""

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from support import ctl
from support.api_server import call, served
from support.daemons import PROGRAMS
from support.small_scheduler import SmallScheduler

from schedulerd.api.server import Server
from schedulerd.protocol import messages as msg

TABLE = """
[job.backup]
schedule = "* * * * *"
argv = ["dump"]
tags = ["db"]

[job.broken]
command = "false"
tags = ["db", "odd"]

[job.slow]
command = "sleep 600"
"""


def _ends(spec: msg.Spec, order: msg.Order) -> msg.Outcome | None:
    if spec.job == "slow":
        return None
    if spec.job == "broken":
        output = msg.Captured(tail=b"\x1b]0;owned\x07bad \x1b[31mthings\x1b[0m\n")
        return msg.Outcome(order.attempt, "failed", "exit", exit_code=3, stderr=output)
    return msg.Outcome(order.attempt, "succeeded", exit_code=0, stdout=msg.Captured(tail=b"one\ntwo\n"))


class Shell:
    """A terminal beside a scheduler."""

    def __init__(self, scheduler: SmallScheduler, server: Server) -> None:
        self.scheduler = scheduler
        self.server = server

    def __call__(self, *words: str) -> Result:
        """`schedulerctl WORDS`."""
        return ctl.run(*words, address=self.server.address, now=lambda: self.scheduler.now)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with SmallScheduler(tmp_path) as scheduler, served(scheduler) as server:
        scheduler.ending = _ends
        scheduler.table(TABLE)
        yield Shell(scheduler, server)


# ---- exit codes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["list"], 0),
        (["trigger", "backup", "--wait"], 0),
        (["trigger", "broken", "--wait"], 1),
        (["check", "absent.toml"], 1),
        (["list", "--bogus"], 2),
        (["how", "backup"], 2),
        (["why", "bakup"], 3),
        (["next"], 2),
        (["next", "--expr", "61 * * * *"], 2),
        (["run", "backup/first"], 2),
        (["show", "bakup"], 3),
        (["list", "nothing*"], 3),
        (["logs", "slow"], 3),
        (["runs", "bakup"], 3),
        (["rm", "backup"], 6),
        (["trigger", "slow", "--wait", "--timeout", "300ms"], 7),
        (["pause", "backup", "bakup"], 8),
        (["pause", "bakup", "bakup2"], 3),
    ],
)
def test_exit_codes(shell: Shell, words: list[str], code: int) -> None:
    result = shell(*words)
    assert result.exit_code == code, result.output


def test_nobody_there_and_nobody_leading_are_4(shell: Shell) -> None:
    assert ctl.run("list", address="http://127.0.0.1:1").exit_code == 4
    assert ctl.run("list", address="unix:/nowhere/api.sock").exit_code == 4
    shell.scheduler.known = msgspec.structs.replace(shell.scheduler.known, is_leading=False)
    assert shell("trigger", "backup").exit_code == 4
    assert shell("list").exit_code == 0


def test_denied_is_5() -> None:
    class Denies(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Denies) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            assert ctl.run("list", address=f"http://127.0.0.1:{server.server_port}").exit_code == 5
        finally:
            server.shutdown()
            thread.join()


def test_unknown_name_tells_the_near_one_on_standard_error(shell: Shell) -> None:
    result = shell("-o", "json", "show", "bakup")
    assert result.stdout == ""
    assert result.stderr == 'schedulerctl: there is no job "bakup"; did you mean backup?\n'


# ---- for programs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["list"], "/v1/jobs"),
        (["show", "backup"], "/v1/jobs/backup"),
        (["status", "backup"], "/v1/jobs/backup"),
        (["status"], "/v1/cluster"),
        (["next", "backup", "-n", "3"], "/v1/jobs/backup/next?n=3"),
        (["runs"], "/v1/runs"),
        (["runs", "backup"], "/v1/runs?job=backup"),
        (["run", "backup/last"], "/v1/runs/backup@20261123T020200Z"),
        (["slots", "backup"], "/v1/slots?job=backup"),
        (["workers"], "/v1/workers"),
    ],
)
def test_json_is_exactly_what_the_api_gives(shell: Shell, words: list[str], path: str) -> None:
    shell.scheduler.advance(125)
    result = shell("-o", "json", *words)
    assert json.loads(result.stdout) == call(shell.server, "GET", path).json
    assert shell(*words, "-o", "json").stdout == result.stdout


def test_jsonl_and_name_give_a_line_an_item(shell: Shell) -> None:
    lines = shell("-o", "jsonl", "list").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["backup", "broken", "slow"]
    assert shell("-o", "name", "list", "tag:db").stdout == "backup\nbroken\n"


def test_orders_print_only_data_for_programs(shell: Shell) -> None:
    triggered = json.loads(shell("-o", "json", "trigger", "backup").stdout)
    assert triggered["outcome"] == "started"
    assert json.loads(shell("-o", "json", "pause", "slow").stdout)["paused"]["reason"] == ""
    assert [
        job["name"] for job in json.loads(shell("-o", "json", "resume", "slo*", "backup").stdout)["items"]
    ]
    shell("trigger", "slow")
    refused = shell("-o", "json", "trigger", "slow")
    assert refused.exit_code == 6
    assert json.loads(refused.stdout)["outcome"] == "refused"


def test_list_follows_cursors(shell: Shell) -> None:
    shell.scheduler.advance(60 * 5)
    assert len(json.loads(shell("-o", "json", "runs", "--limit", "3").stdout)["items"]) == 3
    assert len(shell("-o", "name", "runs", "--limit", "1000").stdout.splitlines()) == 5


# ---- verbs -----------------------------------------------------------------------------------------------------


def test_list_takes_globs_tags_and_filters(shell: Shell) -> None:
    shell("pause", "slow", "--for", "2h", "--reason", "disk")
    shell("trigger", "broken", "--wait")
    assert shell("-o", "name", "list", "b*").stdout == "backup\nbroken\n"
    assert shell("-o", "name", "list", "tag:odd", "slow").stdout == "broken\nslow\n"
    assert shell("-o", "name", "list", "--paused").stdout == "slow\n"
    assert shell("-o", "name", "list", "--failing").stdout == "broken\n"
    assert shell("-o", "name", "list", "*o*", "--failing").stdout == "broken\n"
    assert "paused until 2026-11-23 04:00:00" in shell("list").stdout


def test_trigger_gives_variables_and_keeps_its_key(shell: Shell) -> None:
    seen: list[dict[str, str]] = []

    def ending(spec: msg.Spec, order: msg.Order) -> msg.Outcome | None:
        seen.append(dict(spec.env) | dict(order.env))
        return _ends(spec, order)

    shell.scheduler.ending = ending
    first = shell("trigger", "backup", "--env", "A=1", "--env", "B=x=y", "--key", "night")
    assert first.stdout.startswith("started backup@20261123T020000Z-m")
    assert seen[-1].items() >= {"A": "1", "B": "x=y"}.items()
    assert shell("-o", "name", "trigger", "backup", "--key", "night").stdout in first.stdout
    assert len(seen) == 1


def test_trigger_follows_output_to_the_end(shell: Shell) -> None:
    result = shell("trigger", "backup", "-f")
    assert "one\ntwo\n" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("succeeded backup@")
    assert shell("trigger", "broken", "-f").exit_code == 1


def test_logs_strip_what_steers_terminals(shell: Shell) -> None:
    shell("trigger", "broken")
    assert shell("logs", "broken").stdout == "bad things\n"
    assert shell("logs", "broken", "--stderr", "--timestamps").stdout == "2026-11-23T02:00:00Z bad things\n"
    shell("trigger", "backup")
    assert shell("logs", "backup/last", "-n", "1").stdout == "two\n"
    assert shell("logs", "backup", "-f").stdout == "one\ntwo\n"


def test_follow_waits_for_the_end_of_the_run(shell: Shell) -> None:
    run = json.loads(shell("-o", "json", "trigger", "slow").stdout)["run_id"]
    ended = msg.Captured(tail=b"late\n")
    timer = threading.Timer(0.5, lambda: shell.scheduler.finish(f"{run}~0~1", exit_code=0, stdout=ended))
    timer.start()
    assert shell("logs", "slow", "-f").stdout == "late\n"
    timer.join()


def test_runs_are_named_by_beginning_last_and_last_failed(shell: Shell) -> None:
    shell("trigger", "broken")
    shell.scheduler.advance(60)
    failed = shell("-o", "name", "run", "broken/last-failed").stdout
    assert failed.startswith("broken@")
    assert shell("-o", "name", "run", "broken@2026").stdout == failed
    assert shell("-o", "name", "run", "backup/last").stdout == "backup@20261123T020100Z\n"
    assert shell("run", "backup/last-failed").exit_code == 3


def test_cancel_pause_resume_rm(shell: Shell) -> None:
    shell("trigger", "slow")
    assert shell("cancel", "slow/last", "--kill").stdout.startswith("cancelling slow@")
    assert shell("cancel", "slow/last").exit_code == 6
    assert shell("pause", "tag:db", "--reason", "disk").stdout == "paused backup\npaused broken\n"
    assert shell("resume", "backup").stdout == "resumed backup, next 2026-11-23 02:01:00\n"
    assert shell("add", "new", "--every", "5m", "--", "echo", "-n", "x").stdout.startswith("added new, next ")
    assert shell("rm", "new").stdout == "removed new\n"
    assert shell("show", "new").exit_code == 3


def test_add_takes_options_or_a_file(shell: Shell, tmp_path: Path) -> None:
    options = ["--schedule", "0 3 * * *", "--timezone", "Europe/Prague", "--env", "A=1", "--tag", "x"]
    assert shell("add", "night", *options, "--command", "echo hi").exit_code == 0
    document = call(shell.server, "GET", "/v1/jobs/night").json["definition"]
    assert document["schedule"] == "0 3 * * *"
    assert (document["env"], document["tags"], document["timezone"]) == ({"A": "1"}, ["x"], "Europe/Prague")
    file = tmp_path / "two.toml"
    file.write_text('[job.a]\nat = 2026-12-05T03:00:00+01:00\nargv = ["x"]\n[job.night]\ncommand = "y"\n')
    result = shell("add", str(file))
    assert result.exit_code == 8
    assert "night exists already" in result.stderr
    assert (
        shell("add", str(file), "--replace").stdout
        == "changed a, next 2026-12-05 02:00:00\nchanged night, next active\n"
    )
    file.write_text('[job.a]\ncommnd = "x"\n')
    broken = shell("add", str(file))
    assert broken.exit_code == 1
    assert f"{file}:2:1: " in broken.stderr


def test_next_of_an_expression_needs_no_server() -> None:
    words = [
        "--expr",
        "30 2 * * *",
        "--timezone",
        "Europe/Prague",
        "--from",
        "2027-03-28T00:00:00Z",
        "-n",
        "1",
    ]
    result = ctl.run("-o", "json", "next", *words, address="unix:/nowhere")
    assert json.loads(result.stdout)["items"] == [
        {
            "fire_time": "2027-03-28T01:00:00Z",
            "local": "2027-03-28T03:00:00+02:00",
            "note": "clocks go forward: 2027-03-28 02:30:00 does not exist",
        }
    ]


def test_check_needs_no_server(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[job.x]\ncommand = "x"\n')
    good = ctl.run("check", str(file), address="unix:/nowhere")
    assert (good.exit_code, good.stdout) == (0, "1 job in 1 file: ok\n")
    file.write_text('[job.x]\ncommand = "x"\nschedule = "61 * * * *"\n')
    bad = ctl.run("check", str(file), address="unix:/nowhere")
    assert bad.exit_code == 1
    assert bad.stdout.startswith(f"{file}:3:13: ")


def test_reload_tells_what_changed_or_every_fault(shell: Shell) -> None:
    file = shell.scheduler.jobs_dir / "more.toml"
    file.write_text('[job.more]\ncommand = "x"\n')
    assert shell("reload").stdout == "added more\n3 unchanged\n"
    file.write_text('[job.more]\ncommnd = "x"\n')
    result = shell("reload")
    assert result.exit_code == 1
    assert "more.toml:2:1: " in result.stderr


def test_version_answers_without_a_server() -> None:
    result = ctl.run("-o", "json", "version", address="unix:/nowhere")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["version"] is None


# ---- the program itself ----------------------------------------------------------------------------------------


def _program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAMS / "schedulerctl", *words],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_program_takes_its_address_from_the_environment(shell: Shell) -> None:
    result = _program("-o", "name", "list", SCHEDULERD_ADDR=shell.server.address)
    assert (result.returncode, result.stdout, result.stderr) == (0, "backup\nbroken\nslow\n", "")


def test_program_speaks_over_the_unix_socket(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with served(shell.scheduler, str(path), ""):
        result = _program("-H", f"unix:{path}", "-o", "name", "list", "s*")
    assert (result.returncode, result.stdout) == (0, "slow\n")


def test_program_ends_quietly_when_its_reader_has_left(shell: Shell) -> None:
    shell.scheduler.table(TABLE + "".join(f'[job.many-{i}]\ncommand = "x"\n' for i in range(300)))
    command = f"{PROGRAMS}/schedulerctl -H {shell.server.address} -o json list | head -1"
    result = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.stdout, result.stderr) == ("{\n", "")


def test_program_loads_nothing_it_does_not_need() -> None:
    heavy = "{'pydantic', 'fastapi', 'rich', 'msgspec', 'uvicorn', 'zmq', 'jinja2'}"
    script = (
        "import sys, schedulerd.ctl.main as m; "
        "[m.cli.get_command(None, v) for v in m.cli.list_commands(None)]; "
        f"sys.exit(str(sorted({heavy} & set(sys.modules))) if {heavy} & set(sys.modules) else 0)"
    )
    result = subprocess.run(
        [PROGRAMS / "python", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stderr == ""
