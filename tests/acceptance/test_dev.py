"""`schedulerd dev` with the example table: real work, a line a run, a summary, a manifest equal to sha256sum's."""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

from support.daemons import PROGRAMS, clean_environment

ROOT = Path(__file__).parents[2]
LINE = re.compile(
    r"\d\d:\d\d:\d\d\.\d{3} ([a-z0-9._-]+) fire=\d\d:\d\d:\d\d late=\S+ worker=\S+ (succeeded|failed.*)"
)


def start(*words: str, place: Path) -> subprocess.Popen[str]:
    """Start it in a session of its own, so that a signal reaches it alone."""
    return subprocess.Popen(
        [PROGRAMS / "schedulerd", "dev", "--api", "127.0.0.1:0", "--state", place / "state", *words],
        cwd=ROOT,
        env={**clean_environment(), "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until_ended(process: subprocess.Popen[str], *jobs: str) -> list[str]:
    """Every line up to Ctrl-C, which is given once each of `jobs` has ended once, and the lines that follow it."""
    assert process.stdout is not None
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    missing = set(jobs)
    found: list[str] = []
    for line in process.stdout:
        found.append(line.rstrip("\n"))
        match = LINE.fullmatch(found[-1])
        if match and match[1] in missing:
            missing.discard(match[1])
            if not missing:
                os.kill(process.pid, signal.SIGINT)
    watchdog.cancel()
    assert not missing, "\n".join(found)
    process.wait(10)
    return found


def test_the_example_table_does_real_work_and_ends_with_a_summary(tmp_path: Path) -> None:
    process = start(place=tmp_path)
    found = until_ended(process, "heartbeat", "first-look", "disk-and-memory", "text-lines", "etc-manifest")
    text = "\n".join(found)
    assert process.returncode == 0, text
    assert re.fullmatch(r"api http://127\.0\.0\.1:\d+", found[0]), text
    assert re.fullmatch(r"web http://127\.0\.0\.1:\d+/", found[1]), text
    ended = [match[2] for line in found if (match := LINE.fullmatch(line))]
    assert set(ended) == {"succeeded"}, text
    assert found[-1] == f"{len(ended)} runs, {len(ended)} succeeded, 0 failed, 0 skipped", text


def test_seconds_stops_it_by_itself(tmp_path: Path) -> None:
    process = start("--jobs", str(_quick_table(tmp_path)), "--seconds", "5", place=tmp_path)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    assert re.fullmatch(r"[1-9] runs, [1-9] succeeded, 0 failed, \d+ skipped", text.splitlines()[-1]), text


def test_a_failed_run_makes_the_exit_code_1(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.d"
    jobs.mkdir()
    (jobs / "jobs.toml").write_text('[job.bad]\nevery = "1s"\ncommand = "exit 3"\n')
    process = start("--jobs", str(jobs), "--seconds", "5", place=tmp_path)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1, text
    assert " failed exit" in text


def test_the_manifest_of_etc_equals_that_of_sha256sum_byte_for_byte(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.txt"
    jobs = tmp_path / "jobs.d"
    jobs.mkdir()
    table = (ROOT / "config/jobs.d/etc-manifest.toml").read_text()
    assert "/tmp/schedulerd-etc-manifest.txt" in table
    (jobs / "etc.toml").write_text(table.replace("/tmp/schedulerd-etc-manifest.txt", str(manifest)))
    found = until_ended(start("--jobs", str(jobs), place=tmp_path), "etc-manifest")
    assert manifest.exists(), "\n".join(found)
    direct = subprocess.run(
        "find /etc -type f -readable -print0 | LC_ALL=C sort -z | xargs -0 sha256sum",
        shell=True,
        capture_output=True,
        check=True,
    ).stdout
    assert len(direct.splitlines()) > 20
    assert manifest.read_bytes() == direct


def test_ctrl_c_stops_everything_cleanly(tmp_path: Path) -> None:
    process = start("--jobs", str(_quick_table(tmp_path)), place=tmp_path)
    assert process.stdout is not None
    head = [process.stdout.readline() for _ in range(3)]
    assert head[0].startswith("api http://"), head
    first = process.stdout.readline()
    assert " quick " in first, first
    children = _children_of(process.pid)
    assert len(children) >= 2
    os.kill(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    assert re.fullmatch(r"\d+ runs, \d+ succeeded, 0 failed, \d+ skipped", text.splitlines()[-1]), text
    assert not [child for child in children if _is_alive(child)]


def _quick_table(place: Path) -> Path:
    jobs = place / "jobs.d"
    jobs.mkdir()
    (jobs / "jobs.toml").write_text('[job.quick]\nevery = "1s"\nargv = ["true"]\n')
    return jobs


def _children_of(pid: int) -> list[int]:
    shown = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return [int(line) for line in shown.stdout.split()]


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_second_one_on_the_same_state_is_one_sentence_and_leaves_the_first_alone(tmp_path: Path) -> None:
    first = start(place=tmp_path)
    assert first.stdout is not None
    watchdog = threading.Timer(120, first.kill)
    watchdog.start()
    assert first.stdout.readline().startswith("api ")
    files = sorted((tmp_path / "state").glob("*.toml"))
    before = [file.read_text() for file in files]
    second = start(place=tmp_path)
    told, _ = second.communicate(timeout=60)
    assert second.returncode != 0
    assert re.fullmatch(r"schedulerd: \S+/dev\.lock: process \d+ holds the lock; .*\n", told), told
    assert len(before) == 3
    assert [file.read_text() for file in files] == before
    os.kill(first.pid, signal.SIGINT)
    first.communicate(timeout=60)
    watchdog.cancel()
    assert first.returncode == 0
