"""What every verb has at hand: the server's address, how to print, in which zone. Made from global options."""

import json
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Any, TypeVar

import click

from schedulerd.ctl.client import Client, default_address
from schedulerd.ctl.exits import Exit, Failure

FORMATS = ("table", "wide", "json", "jsonl", "name")
_CONTROLS = re.compile("[\x7f-\x9f]")

Verb = TypeVar("Verb", bound=Callable[..., Any])


class Session:
    """One call of schedulerctl."""

    def __init__(self) -> None:
        self.address = ""
        self.token = ""
        self.output = "table"
        self.zone: tzinfo | None = None  # None: this host's
        self.is_quiet = False

    @cached_property
    def client(self) -> Client:
        """The server; connected to at the first request."""
        return Client(self.address or default_address(), self.token)

    @property
    def is_for_programs(self) -> bool:
        """Nothing but data may be on standard output."""
        return self.output in ("json", "jsonl", "name")

    @property
    def is_wide(self) -> bool:
        """Whether tables show all their columns."""
        return self.output == "wide"

    def say(self, text: str) -> None:
        """Tell people what was done: on standard output, unless it belongs to programs or they want quiet."""
        if not self.is_quiet:
            click.echo(text, err=self.is_for_programs)

    def show_list(
        self, items: Iterable[dict[str, Any]], key: str, table: Callable[[list[dict[str, Any]]], None]
    ) -> None:
        """Print items in the chosen form; `key` names them, `table` prints them for eyes."""
        if self.output == "jsonl":
            for item in items:
                click.echo(_compact(item))
        elif self.output == "name":
            for item in items:
                click.echo(str(item[key]))
        elif self.output == "json":
            click.echo(_pretty({"items": list(items), "next_cursor": None}))
        else:
            table(list(items))

    def show_one(self, item: dict[str, Any], key: str, table: Callable[[dict[str, Any]], None]) -> None:
        """Print one thing in the chosen form."""
        if self.output == "jsonl":
            click.echo(_compact(item))
        elif self.output == "name":
            click.echo(str(item[key]))
        elif self.output == "json":
            click.echo(_pretty(item))
        else:
            table(item)

    def now(self) -> datetime:
        """Now, aware."""
        return datetime.now(UTC)


class Tally:
    """What came of one order to several things: all done, partly, or why none."""

    def __init__(self) -> None:
        self._done = 0
        self._failures: list[Failure] = []

    def done(self) -> None:
        """One more went well."""
        self._done += 1

    def failed(self, failure: Failure) -> None:
        """One more did not; told at once, the others still get their turn."""
        failure.show(sys.stderr)
        self._failures.append(failure)

    def finish(self) -> None:
        """End the program as the tally says."""
        if not self._failures:
            return
        sys.exit(int(Exit.PARTLY if self._done else self._failures[0].code))


pass_session = click.make_pass_decorator(Session)


def common(verb: Verb) -> Verb:
    """Let the verb take the options of display, which may stand before it as well."""
    for option in (
        click.option(
            "--tz", metavar="ZONE", callback=_set_zone, expose_value=False, help="Show times in this zone."
        ),
        click.option("--utc", is_flag=True, callback=_set_utc, expose_value=False, help="Show times in UTC."),
        click.option(
            "-o",
            "--output",
            type=click.Choice(FORMATS),
            callback=_set_output,
            expose_value=False,
            help="How to print; json has the API's shapes.",
        ),
    ):
        verb = option(verb)
    return verb


def _set_output(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    """Take -o, wherever it stands."""
    if value is not None:
        ctx.ensure_object(Session).output = value


def _set_utc(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Take --utc."""
    if value:
        ctx.ensure_object(Session).zone = UTC


def _set_zone(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Take --tz."""
    if value is None:
        return
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # loaded only when it is asked for

    try:
        ctx.ensure_object(Session).zone = ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise click.BadParameter(
            f'"{value}" is not a zone; expected one such as Europe/Prague', ctx, param
        ) from error


def _compact(item: object) -> str:
    return _safe(json.dumps(item, ensure_ascii=False, separators=(",", ":")))


def _pretty(item: object) -> str:
    return _safe(json.dumps(item, ensure_ascii=False, indent=2))


def _safe(text: str) -> str:
    """JSON leaves the controls above ASCII as they are; a terminal does not."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
