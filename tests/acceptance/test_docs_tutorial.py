"""The tutorial's session is really had: its files written, its commands run, its output compared with what it shows."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemons import PROGRAMS, clean_environment
from support.markdown import prose
from support.waiting import wait_until

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
PATIENCE = 40.0  # seconds a command gets until it prints what the page says
ASKING = ("list", "status", "runs", "run", "slots", "logs", "next", "workers", "version", "check")


class Session:
    """What a reader of the tutorial has: a directory, a scheduler in the first terminal, a shell in the second."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.env = {**clean_environment(), "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "TZ": "UTC"}
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._printed = place / "terminal"

    def start(self, command: str) -> list[str]:
        """Start the scheduler as the page says, on a port of our own; what it printed first."""
        words = [*shlex.split(command), "--api", "127.0.0.1:0"]
        with self._printed.open("wb") as out:
            self._scheduler = subprocess.Popen(
                words, cwd=self.place, env=self.env, stdout=out, stderr=subprocess.STDOUT
            )
        assert wait_until(lambda: "\nstate " in self._printed.read_text(), PATIENCE), (
            self._printed.read_text()
        )
        printed = self._printed.read_text().splitlines()
        self.env["SCHEDULERD_ADDR"] = printed[0].removeprefix("api ")
        return printed[:3]

    def interrupt(self) -> list[str]:
        """Ctrl-C; the last line that the scheduler printed."""
        assert self._scheduler is not None
        self._scheduler.send_signal(signal.SIGINT)
        assert self._scheduler.wait(PATIENCE) == 0, self._printed.read_text()
        self._scheduler = None
        return self._printed.read_text().splitlines()[-1:]

    def run(self, command: str) -> list[str]:
        """What the command prints, as on a terminal: both streams."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.place,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout.splitlines()

    def close(self) -> None:
        """End the scheduler if it still runs."""
        if self._scheduler is not None:
            self._scheduler.terminate()
            self._scheduler.wait(PATIENCE)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    (tmp_path / "jobs.d").mkdir()
    session = Session(tmp_path)
    yield session
    session.close()


def test_the_tutorial_happens_as_it_is_told(session: Session) -> None:
    file = ""
    commands = 0
    for part in prose(TUTORIAL):
        if isinstance(part, str):
            found = re.search(r"into `(jobs\.d/[a-z]+\.toml)`:$", part)
            file = found[1] if found else ""
        elif part.info == "toml":
            assert file, f"tutorial.md:{part.line}: the page does not say which file this is"
            (session.place / file).write_text(part.text)
        elif part.info == "console":
            for command, expected in _commands(part.text):
                _expect(session, command, expected)
                commands += 1
    assert commands >= 15


def _commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """(command, the lines it prints) of one block."""
    command, expected = "", list[str]()
    for line in text.splitlines():
        if line.startswith("$ ") or line == "^C":
            if command:
                yield command, expected
            command, expected = line.removeprefix("$ "), []
        else:
            expected.append(line)
    yield command, expected


def _expect(session: Session, command: str, expected: list[str]) -> None:
    """What only looks is asked until it shows what the page shows, since time has to pass; orders are given once."""
    if command == "^C":
        printed = session.interrupt()
    elif command.startswith("schedulerd dev"):
        printed = session.start(command)
    else:
        printed = session.run(command)
        words = command.split()
        is_asking = words[0] == "schedulerctl" and words[1] in ASKING
        if is_asking and _shape(printed) != _shape(expected):

            def is_shown() -> bool:
                nonlocal printed
                printed = session.run(command)
                return _shape(printed) == _shape(expected)

            wait_until(is_shown, PATIENCE, every=0.3)
    assert _shape(printed) == _shape(expected), f"{command}\n" + "\n".join(printed)


def _shape(lines: list[str]) -> list[str]:
    """The lines without what differs from session to session: digits, workers, widths of columns, the reader's home."""
    shaped = []
    for line in lines:
        line = re.sub(r"state /\S+", "state DIR", line)
        line = re.sub(r"-m[0-9a-f]{8}\b", "-mKEY", line)
        line = re.sub(r"\bw[12]\b", "w1", line)
        line = re.sub(r"\bnow\b", "0s ago", line)
        line = re.sub(r"[0-9]+(\.[0-9]+)?", "0", line)
        line = re.sub(r"\b0(ms|d|h|m|s)(?=\b|0)(0(h|m|s))?", "0s", line)
        shaped.append(" ".join(line.split()))
    return shaped
