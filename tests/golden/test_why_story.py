"""`why RUN` of a run to which everything happened, letter by letter: the real core and ledger, times of the test's own.

`pytest tests/golden --rewrite-golden` agrees to new output.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support import ctl
from support.leading import a_job, asked, at, beat, found, instant, inventory, row, said, took

from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.api.door import Door
from schedulerd.api.server import build_app, serve
from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang, Event, LeadershipGained, ResultsRepeated
from schedulerd.core.requests import TriggerJob
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.takeover import rebuild
from schedulerd.model.job import OnLost, Shards
from schedulerd.protocol import messages as msg
from schedulerd.protocol.timing import Timing

HERE = Path(__file__).parent / "ctl"
RUN = "backup@20261123T020001Z-m2c70e12b"
_RECORDS = fx.Record.__args__  # type: ignore[attr-defined]


class Story:
    """One ledger and the leaders that follow each other on it."""

    def __init__(self, place: Path) -> None:
        self.url = f"sqlite://{place}/ledger.db"
        self._ledger = open_ledger(self.url)
        self.epoch = 6
        self.state: State
        job = a_job(split=Shards(count=2), on_lost=OnLost.RETRY, retry_max=1)
        self.epoch = self._ledger.lead("before", 5, instant("01:59:00"))
        self._ledger.commit(self.epoch, [fx.RecordJobs((row(job),))])

    def lead(self, name: str, now: str, **running: Sequence[str]) -> None:
        """A new leader takes over, and workers answer it with what they run."""
        self.epoch = self._ledger.lead(name, 0, instant(now))
        self.state = rebuild(
            self._ledger.load(),
            epoch=self.epoch,
            leader=name,
            results="tcp://a:1",
            output="",
            timing=Timing(),
            now=at(now),
        )
        gained = LeadershipGained(is_new=True)
        self.tell([gained, found("w1", "w2")], now)
        answers = [
            inventory(worker, now, slots=1, running=held, epoch=self.epoch)
            for worker, held in running.items()
        ]
        self.tell(answers, now)

    def tell(self, events: Sequence[Event], now: str) -> None:
        """One step, committed; what the ledger finds out comes back to the core."""
        effects = step(self.state, events, at(now))
        records = [effect for effect in effects if isinstance(effect, _RECORDS)]
        if records:
            noted = self._ledger.commit(self.epoch, records)
            if noted.repeated:
                self.tell([ResultsRepeated(noted.repeated)], now)

    def close(self) -> None:
        """Leave the ledger to its readers."""
        self._ledger.close()


def starts(worker: str, attempt: str, when: str) -> Event:
    """Its process exists, by the worker's clock."""
    return said(worker, msg.Started([msg.Start(attempt, _utc_ms(when))]))


def ends(worker: str, attempt: str, began: str, when: str, code: int = 0) -> Event:
    """A result, by the worker's clock."""
    state: msg.OutcomeState = "failed" if code else "succeeded"
    outcome = msg.Outcome(
        attempt,
        state,
        "exit" if code else "",
        exit_code=code,
        started_utc_ms=_utc_ms(began),
        finished_utc_ms=_utc_ms(when),
    )
    return said(worker, msg.Result([outcome]))


def _utc_ms(when: str) -> int:
    return int(instant(when).timestamp() * 1000)


def _held_by(story: Story, attempt: str) -> str:
    return story.state.attempts[attempt].worker


def _tell(story: Story) -> None:
    """Resent, failed and retried, a result twice, a takeover, a loss, a late result; w2's clock is 3 s ahead."""
    story.lead("north", "02:00:00", w1=(), w2=())
    story.tell([asked(TriggerJob(job="backup", key="key", by="eva"))], "02:00:01")
    zero, one = f"{RUN}~0~1", f"{RUN}~1~1"
    assert (_held_by(story, zero), _held_by(story, one)) == ("w1", "w2")
    story.tell([took("w2", one), starts("w2", one, "02:00:04.02")], "02:00:01.050")
    story.tell([AlarmRang(), beat("w1", 1, "02:00:02"), beat("w2", 1, "02:00:02")], "02:00:02.100")
    story.tell([took("w1", zero), starts("w1", zero, "02:00:02.11")], "02:00:02.200")
    failed = ends("w2", one, "02:00:04.02", "02:00:07.5", code=3)
    story.tell([failed], "02:00:04.510")
    again = f"{RUN}~1~2"
    story.tell([took("w2", again), starts("w2", again, "02:00:07.6")], "02:00:04.600")
    story.tell([failed], "02:00:05.510")
    story.tell([AlarmRang(), beat("w2", 2, "02:00:07")], "02:00:07.100")
    story.lead("south", "02:00:12", w2=[again])
    for second in range(14, 76, 2):  # nobody hears of w1
        now = f"02:{second // 60:02}:{second % 60:02}"
        story.tell([AlarmRang(), beat("w2", second, now)], now)
    story.tell([ends("w2", again, "02:00:07.6", "02:01:15.0")], "02:01:14.020")
    last = f"{RUN}~0~2"
    assert _held_by(story, last) == "w2"
    story.tell([took("w2", last), starts("w2", last, "02:01:17.1")], "02:01:14.100")
    story.tell([inventory("w1", "02:01:20", slots=1, ended=[zero], epoch=story.epoch)], "02:01:20")
    story.tell([ends("w1", zero, "02:00:02.11", "02:00:30.25")], "02:01:20.050")
    story.tell([ends("w2", last, "02:01:17.1", "02:01:28.4")], "02:01:25.500")
    assert RUN not in story.state.runs


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    story = Story(tmp_path)
    _tell(story)
    story.close()
    door = cast(Door, SimpleNamespace(status=lambda: SimpleNamespace(version="0", is_leading=False)))
    app = build_app(door, lambda: open_reader(story.url), now=lambda: instant("02:02:00"))
    running = serve(app, "127.0.0.1:0", None)
    running.start()
    yield running.address
    running.stop()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("why-story", ["why", RUN]),
        ("events-story", ["events"]),
        ("events-wide", ["-o", "wide", "events", "-n", "3"]),
    ],
)
def test_the_story_is_told_as_agreed(
    name: str, words: list[str], server: str, request: pytest.FixtureRequest
) -> None:
    result = ctl.run(*words, address=server, now=lambda: instant("02:02:00"))
    assert result.exit_code == 0, result.stderr
    file = HERE / f"{name}.txt"
    if request.config.getoption("rewrite_golden"):
        file.write_text(result.stdout, encoding="utf-8")
    assert result.stdout == file.read_text(encoding="utf-8")
