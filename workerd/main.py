"""The `workerd` program: settings, logging and signals around one loop. Wiring only."""

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from schedulerd.errors import SchedulerdError
from schedulerd.hostkit import failpoint, memory
from schedulerd.hostkit.settings import WorkerdSettings, load_workerd
from workerd.adapters.runner import Runner
from workerd.loop import Loop
from workerd.wishes import Wishes

DEFAULT_CONFIG = Path("/etc/schedulerd/workerd.toml")


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The settings, a TOML file.",
)
@click.version_option(package_name="schedulerd")
def main(config: Path) -> None:
    """Run one worker: it starts what schedulerd hands it, and says how it ended.

    SIGTERM drains: what runs is finished first. A second SIGTERM, or SIGINT, ends everything at once. SIGHUP
    reads the labels and the log level anew.
    """
    try:
        failpoint.arm(os.environ)
        settings = load_workerd(config, os.environ)
        _start_logging(settings)
        runner = Runner(settings.state_dir / "scratch")
        loop = Loop(settings, runner=runner, reread=lambda: load_workerd(config, os.environ))
        _obey_signals(loop.wishes)
        memory.settle()
        loop.run()
    except SchedulerdError as error:
        print(f"workerd: {error}", file=sys.stderr)
        sys.exit(1)


def _start_logging(settings: WorkerdSettings) -> None:
    # Under systemd the journal stamps every line itself.
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        format=f"{stamp}%(levelname)s %(name)s %(message)s",
        level=settings.log_level.upper(),
        stream=sys.stderr,
    )


def _obey_signals(wishes: Wishes) -> None:
    is_draining = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal is_draining
        if is_draining or number == signal.SIGINT:
            wishes.ask_stop()
        else:
            is_draining = True
            wishes.ask_drain()

    def reload(number: int, frame: FrameType | None) -> None:
        wishes.ask_reload()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    signal.signal(signal.SIGHUP, reload)


if __name__ == "__main__":
    main()
