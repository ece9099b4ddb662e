"""The `schedulerd` program: settings, logging and signals around one service. Wiring only."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import click

from schedulerd.adapters.ledger.open import look_at
from schedulerd.dev import dev
from schedulerd.errors import CommandError, SchedulerdError, SettingsError
from schedulerd.hostkit import failpoint, memory, notify
from schedulerd.hostkit.logs import start_logging
from schedulerd.hostkit.settings import SchedulerdSettings, load_schedulerd
from schedulerd.ledger_commands import ledger
from schedulerd.service import Service

DEFAULT_CONFIG = Path("/etc/schedulerd/schedulerd.toml")
LIVE_KEYS = ("log_level", "defaults")  # read anew on SIGHUP; every other setting needs a restart

log = logging.getLogger("schedulerd")


@click.group(invoke_without_command=True)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The settings, a TOML file.",
)
@click.version_option(package_name="schedulerd")
@click.pass_context
def main(context: click.Context, config: Path) -> None:
    """Run the scheduler: it fires the jobs of its table and has them run by workers.

    SIGHUP reads the job table anew, SIGTERM and SIGINT end it; runs under way go on at their workers and are taken
    up again by the next start.
    """
    if context.invoked_subcommand is not None:
        return
    try:
        failpoint.arm(os.environ)
        settings = load_schedulerd(config, os.environ, look_at)
        start_logging(settings.log_level)
        _serve(config, Service(settings))
    except SchedulerdError as error:
        print(f"schedulerd: {error}", file=sys.stderr)
        sys.exit(1)


main.add_command(dev)
main.add_command(ledger)


def _serve(config: Path, service: Service) -> None:
    wake = threading.Event()
    asked = {"stop": False, "reload": False}

    def stop(number: int, frame: FrameType | None) -> None:
        asked["stop"] = True
        wake.set()

    def reload(number: int, frame: FrameType | None) -> None:
        asked["reload"] = True
        wake.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, reload)
    service.start()
    memory.settle()
    log.info("serving  api=%s", service.api_address)
    is_ready = False
    try:
        while not asked["stop"]:
            if not is_ready and service.is_ready():
                is_ready = True
                service.say_ready()
            if fault := service.fault():
                raise SettingsError(fault)
            wake.wait(0.2 if not is_ready else 1.0)
            wake.clear()
            if asked["reload"]:
                asked["reload"] = False
                _reload(config, service)
    finally:
        notify.stopping("stopping")
        service.stop()


def _reload(config: Path, service: Service) -> None:
    notify.reloading()
    try:
        settings = load_schedulerd(config, os.environ, look_at)
        for key in _needing_restart(service.settings, settings):
            log.warning("[%s] has changed in %s; it needs a restart", key, config)
        service.adopt(settings)
        logging.getLogger().setLevel(settings.log_level.upper())
        answer = service.door.reload(60.0)
        if not answer.faults:
            log.info(
                "job table read  added=%d changed=%d removed=%d unchanged=%d",
                len(answer.added),
                len(answer.changed),
                len(answer.removed),
                answer.unchanged,
            )
    except (SettingsError, CommandError) as error:
        log.error("nothing was reloaded: %s", error)
    service.say_ready()


def _needing_restart(old: SchedulerdSettings, new: SchedulerdSettings) -> list[str]:
    return [
        key
        for key in old.__struct_fields__
        if key not in LIVE_KEYS and getattr(old, key) != getattr(new, key)
    ]


if __name__ == "__main__":
    main()
