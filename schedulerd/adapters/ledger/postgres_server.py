"""Which PostgreSQL a URL means, how it is connected to, and its errors in our words. Leaves tables to others.

The password stands in no text that leaves this module.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.array import ListBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrBinaryDumper

from schedulerd.adapters.ledger.postgres_deadline import Connection, NoAnswer
from schedulerd.errors import LedgerContentError, LedgerError, SchedulerdError, SettingsError

EXAMPLE = "postgresql://USER@HOST/DATABASE"
OLDEST = 130000  # server versions as PostgreSQL numbers them

CONNECT = 5  # seconds that a server may take to let us in

_PASSWORD_FILE = re.compile(r"([?&])password_file=([^&]*)(&?)")

# a dead peer is noticed within seconds, well inside the leadership lease; whatever the URL says wins
_PARAMETERS: Mapping[str, Any] = {
    "connect_timeout": CONNECT,
    "tcp_user_timeout": 5000,  # ms
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}

_CONTENT_ERRORS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    psycopg.errors.ProgramLimitExceeded,
    OverflowError,  # an integer of more than 64 bits
    ValueError,  # text with lone surrogates, an attempt id that is none
)
# these are about the database, though psycopg counts them among faulty statements
_NO_CONTENT_ERRORS = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
)


class _Text(StrBinaryDumper):
    """PostgreSQL's texts hold no NUL; SQLite's do, and so does what people type."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd"))


class Server:
    """One database of one server, as a URL names it."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError for a URL that libpq does not understand; connects to nothing."""
        found = _PASSWORD_FILE.search(url)
        self._password_file = None if found is None else Path(unquote(found[2]))
        if found is not None:
            url = url[: found.start()] + (found[1] if found[3] else "") + url[found.end() :]
        try:
            self._parameters = conninfo_to_dict(url)
        except psycopg.Error:  # its text would repeat the URL, the password in it too
            raise SettingsError(
                f"[ledger] url: it is not a PostgreSQL URL, expected {EXAMPLE}; nothing was opened"
            ) from None
        if fault := self._numbers_fault():
            raise SettingsError(f"[ledger] url: {fault}; nothing was opened")
        self._password = str(self._parameters.get("password") or "")
        self.shown = self._shown()

    def connect(
        self, application: str, settings: Mapping[str, str], patience: float, **more: Any
    ) -> Connection:
        """A new connection in autocommit, with these server settings. Raises LedgerError.

        `patience`: seconds that the server may be silent; then whatever is asked fails, and the connection is lost.
        """
        parameters = {**_PARAMETERS, "application_name": application, **more, **self._parameters}
        if self._password_file is not None:
            self._password = parameters["password"] = self._read_password(self._password_file)
        try:
            connection = Connection.connect(
                **parameters,
                client_encoding="utf-8",
                autocommit=True,
                cursor_factory=psycopg.RawCursor,
            )
        except psycopg.Error as error:
            raise LedgerError(f"{self.shown}: cannot be connected to: {self.words(error)}") from None
        connection.patience = min(patience, CONNECT)  # until it is ours
        try:
            if connection.info.server_version < OLDEST:
                raise LedgerError(
                    f"{self.shown}: is PostgreSQL {connection.info.server_version // 10000}, expected "
                    f"{OLDEST // 10000} or newer; nothing was opened"
                )
            connection.prepared_max = 500
            connection.adapters.register_dumper(int, Int8BinaryDumper)
            connection.adapters.register_dumper(str, _Text)
            connection.adapters.register_dumper(list, ListBinaryDumper)
            with self.translated("connecting"):
                for name, value in settings.items():
                    connection.execute("SELECT set_config($1, $2, false)", (name, value))
                # what was committed is durable, whatever this database was set to
                connection.execute(
                    "SELECT set_config('synchronous_commit', 'on', false)"
                    " WHERE current_setting('synchronous_commit') = 'off'"
                )
        except BaseException:
            connection.close()
            raise
        connection.patience = patience
        return connection

    def prober(self) -> Callable[[], None]:
        """Asks whether the server lets anybody in at the moment; raises psycopg.Error when it does not."""
        parameters = {**_PARAMETERS, "application_name": "schedulerd probe", **self._parameters}
        if self._password_file is not None:
            parameters["password"] = self._password
        return lambda: Connection.connect(**parameters, client_encoding="utf-8").close()

    def connecting(self) -> float:
        """Seconds that connecting may take, as the URL says; one host after the other."""
        own = str(self._parameters.get("connect_timeout") or CONNECT)
        hosts = str(self._parameters.get("host") or "").count(",") + 1
        return max(2.0, float(own)) * hosts if float(own) > 0 else float("inf")

    @contextmanager
    def translated(self, doing: str) -> Iterator[None]:
        """Turn what psycopg raises into LedgerContentError (about content) or LedgerError (all else)."""
        try:
            yield
        except SchedulerdError:
            raise
        except NoAnswer as error:
            raise LedgerError(
                f"{self.shown}: {doing}: {self.words(error)}; the connection is given up"
            ) from None
        except _NO_CONTENT_ERRORS as error:
            raise LedgerError(f"{self.shown}: {doing}: {self.words(error)}") from error
        except _CONTENT_ERRORS as error:
            raise LedgerContentError(
                f"{self.shown}: {doing}: refused: {self.words(error)}; nothing was written"
            ) from error
        except (psycopg.Error, OSError) as error:  # OSError: a failpoint's
            raise LedgerError(f"{self.shown}: {doing}: {self.words(error)}") from error

    def words(self, error: BaseException) -> str:
        """An error's text in one line, without the password."""
        primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        words = primary or "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        return words.replace(self._password, "***") if self._password else words

    def _read_password(self, path: Path) -> str:
        """Anew at each connection: a file that is missing for a moment, while it is exchanged, is tried again."""
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerError(f"{path}: PostgreSQL's password cannot be read: {error}") from error

    def _numbers_fault(self) -> str:
        """What libpq would say of a port or a time-out only when it connects."""
        for key in ("port", "connect_timeout"):
            for value in str(self._parameters.get(key) or "").split(","):
                if value and not (value.isascii() and value.isdigit()):
                    return f"its {key} is no whole number, expected {EXAMPLE}"
                if key == "port" and value and not 0 < int(value) < 65536:
                    return f"its port is not from 1 to 65535, expected {EXAMPLE}"
        return ""

    def _shown(self) -> str:
        get = self._parameters.get
        user = f"{get('user')}@" if get("user") else ""
        port = f":{get('port')}" if get("port") else ""
        return f"postgresql://{user}{get('host') or ''}{port}/{get('dbname') or ''}"
