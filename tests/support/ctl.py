"""schedulerctl in this process: its exit code and what it printed, at a time of the test's choosing."""

from collections.abc import Callable
from datetime import UTC, datetime

from click.testing import CliRunner, Result

from schedulerd.ctl.main import cli
from schedulerd.ctl.session import Session


class FixedSession(Session):
    """A session that takes its time from the test and shows it in UTC."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._now = now
        self.zone = UTC

    def now(self) -> datetime:
        """The test's now."""
        return self._now()


def run(*words: str, address: str = "", now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Result:
    """`schedulerctl WORDS` against `address` (HOST:PORT or unix:PATH)."""
    begin = ["-H", address] if address else []
    return CliRunner(env={"COLUMNS": "100"}).invoke(
        cli, [*begin, *words], obj=FixedSession(now), prog_name="schedulerctl"
    )
