"""logs: what the attempts of a run wrote."""

import json
import time
from typing import Any

import click

from schedulerd.ctl import names
from schedulerd.ctl.client import path_of
from schedulerd.ctl.exits import printable, printable_line
from schedulerd.ctl.session import Session, common, pass_session

FINAL = ("succeeded", "failed", "cancelled")
_SHORTEST, _LONGEST = 0.2, 1.0  # seconds between two looks


@click.command("logs")
@click.argument("run", metavar="RUN|JOB")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is final.")
@click.option("-n", "tail", type=click.IntRange(0), help="Only the last lines.")
@click.option("--subtask", type=click.IntRange(-4), help="Only this subtask; -1 is gather.")
@click.option("--stderr", is_flag=True, help="Only standard error.")
@click.option("--timestamps", is_flag=True, help="Begin lines with the time their attempt started.")
@common
@pass_session
def logs_verb(
    session: Session,
    run: str,
    follow: bool,
    tail: int | None,
    subtask: int | None,
    stderr: bool,
    timestamps: bool,
) -> None:
    """What a run wrote; of a JOB, its newest run. Kept output is shown as attempts end."""
    name = names.run_or_last(session.client, run)
    log = Log(session, name, subtask=subtask, stream="stderr" if stderr else "both", timestamps=timestamps)
    if follow:
        log.follow(tail)
    else:
        log.show_new(tail)


class Log:
    """One run's output, shown bit by bit."""

    def __init__(
        self,
        session: Session,
        run: str,
        *,
        subtask: int | None = None,
        stream: str = "both",
        timestamps: bool = False,
    ) -> None:
        self._session = session
        self._run = run
        self._query: dict[str, str | int | None] = {"subtask": subtask, "stream": stream}
        self._timestamps = timestamps
        self._shown: dict[tuple[int, int, str], int] = {}
        self._writers: set[tuple[str, int]] = set()

    def show_new(self, tail: int | None = None) -> None:
        """Print the lines that were not there yet; of them only the last `tail`."""
        answer = self._session.client.request(
            "GET",
            path_of("runs", self._run, "logs"),
            query=self._query,
            headers={"Accept": "application/x-ndjson"},
        )
        lines: list[dict[str, Any]] = [json.loads(line) for line in answer.body.splitlines()]
        seen: dict[tuple[int, int, str], int] = {}
        new = []
        for line in lines:
            key = (line["subtask"], line["attempt"], line["stream"])
            seen[key] = seen.get(key, 0) + 1
            self._writers.add((line["worker"], line["subtask"]))
            if seen[key] > self._shown.get(key, 0):
                new.append(line)
        self._shown = seen
        for line in new if tail is None else new[max(0, len(new) - tail) :]:
            self._show(line)

    def follow(self, tail: int | None = None) -> str:
        """Print lines until the run is final; returns its state."""
        pause = _SHORTEST
        while True:
            state = str(self._session.client.get(path_of("runs", self._run))["state"])
            self.show_new(tail)
            tail = None
            if state in FINAL:
                return state
            time.sleep(pause)
            pause = min(_LONGEST, pause * 1.5)

    def _show(self, line: dict[str, Any]) -> None:
        if self._session.output in ("json", "jsonl"):
            click.echo(json.dumps(line, separators=(",", ":")))
            return
        begin = f"{line['started_at'] or '-'} " if self._timestamps else ""
        if len(self._writers) > 1:
            begin += f"{printable(line['worker'])}/{line['subtask']}: "
        text = line["text"]
        shown = f"[{line['dropped']} bytes were not kept]" if text is None else printable_line(text)
        click.echo(f"{begin}{shown}")
