"""schedulerctl: the root command and its global options. Verbs live in verbs/, loaded when they are asked for."""

import importlib
import os
import sys
from pathlib import Path

import click

from schedulerd.ctl.exits import Exit, Failure
from schedulerd.ctl.session import Session, common

# verb -> module below verbs/; the command's name in it is the verb, with _ where Python needs it
_VERBS = {
    "list": "jobs",
    "status": "status",
    "show": "jobs",
    "next": "coming",
    "runs": "runs",
    "run": "runs",
    "slots": "runs",
    "why": "why",
    "logs": "logs",
    "trigger": "trigger",
    "cancel": "orders",
    "retry": "orders",
    "backfill": "backfill",
    "pause": "orders",
    "resume": "orders",
    "workers": "fleet",
    "events": "events",
    "leader": "leader",
    "check": "table",
    "add": "add",
    "rm": "orders",
    "reload": "table",
    "version": "fleet",
}


class _Verbs(click.Group):
    """Finds a verb's module by name, so that one call loads one module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order people learn them."""
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb, or None for a word that is none."""
        module = _VERBS.get(cmd_name)
        if module is None:
            return None
        found = getattr(importlib.import_module(f"schedulerd.ctl.verbs.{module}"), f"{cmd_name}_verb")
        assert isinstance(found, click.Command)
        return found


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="JOB takes globs and tag:x; RUN a unique beginning of an id, JOB/last or JOB/last-failed. "
    "Exit: 0 ok, 1 failed, 2 usage, 3 not found, 4 unreachable or no leader, 5 denied, 6 conflict, "
    "7 timed out waiting, 8 partly done.",
)
@click.option(
    "-H", "--host", "address", metavar="URL|unix:PATH", default="", help="The server; else SCHEDULERD_ADDR."
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that holds the access token; else SCHEDULERD_TOKEN.",
)
@common
@click.option("-q", "--quiet", is_flag=True, help="Say nothing when all went well.")
@click.pass_context
def cli(ctx: click.Context, address: str, token_file: Path | None, quiet: bool) -> None:
    """Look at schedulerd's jobs, runs and workers, and give it orders."""
    session = ctx.ensure_object(Session)
    session.address = address
    session.is_quiet = quiet
    session.token = _token(token_file)
    ctx.call_on_close(lambda: session.client.close() if "client" in vars(session) else None)


def main() -> None:
    """The program."""
    try:
        cli.main(prog_name="schedulerctl")
    except BrokenPipeError:  # `schedulerctl list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(int(Exit.OK))


def _token(file: Path | None) -> str:
    if file is None:
        return os.environ.get("SCHEDULERD_TOKEN", "")
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(Exit.USAGE, f"{file}: the token cannot be read: {error}") from error
