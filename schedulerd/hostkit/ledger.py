"""[ledger]: where the record is kept, and how long it may take to answer, as settings; refuses what does not fit.

Leaves what a PostgreSQL URL may say to whoever connects by it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from schedulerd.hostkit.settings_source import Source
from schedulerd.protocol.timing import ElectionTerms

ANSWER = 10.0  # seconds
POSTGRES = ("postgresql://", "postgres://")

_MOST = 3600.0  # seconds
_GRACE = 1.0  # seconds, in which the server may say itself that a statement took too long
_USER = re.compile(r"//[^/]*@")  # who and a password, in a URL that is wrong

LookAt = Callable[
    [str], tuple[str, float]
]  # URL -> (what is wrong with it, seconds that connecting may take)


class LedgerSettings(Struct, frozen=True, kw_only=True):
    """[ledger]."""

    url: str  # of PostgreSQL with the parameter password_file, if there is one
    path: Path | None  # of the SQLite file that the URL names; None = PostgreSQL
    answer: float = ANSWER  # seconds that a PostgreSQL server may take for one statement

    def __repr__(self) -> str:
        """Without the URL, which may hold a password."""
        return f"LedgerSettings(path={self.path!r})"


def read_ledger(
    source: Source, state_dir: Path, terms: ElectionTerms, look_at: LookAt | None
) -> LedgerSettings:
    """The [ledger] table; a URL that names no ledger, and an answer that outlasts a leadership, are faults."""
    url = source.text("ledger", "url", f"sqlite://{state_dir}/ledger.db")
    password_file = source.optional_path("ledger", "password_file", "")
    answer = source.seconds("ledger", "answer_seconds", ANSWER, _MOST)
    if url.startswith(POSTGRES):
        if password_file is not None:
            joint = "&" if "?" in url else "?"
            url = f"{url}{joint}password_file={quote(str(password_file))}"
        if look_at is not None:
            fault, connecting = look_at(url)
            if fault:
                source.fault("ledger", "url", fault)
            else:
                _check_answer(source, answer, connecting, terms)
        return LedgerSettings(url=url, path=None, answer=answer)
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite" or not rest.startswith("/") or rest.endswith("/"):
        source.fault(
            "ledger",
            "url",
            f'"{_USER.sub("//***@", url)}" is not of the form sqlite:///ABSOLUTE/PATH or postgresql://USER@HOST/DATABASE',
        )
    if password_file is not None:
        source.fault("ledger", "password_file", "a SQLite ledger has no password; it is for postgresql://")
    return LedgerSettings(url=url, path=Path("/" + rest.lstrip("/")), answer=answer)


def _check_answer(source: Source, answer: float, connecting: float, terms: ElectionTerms) -> None:
    """A server that is silent has to be given up, and asked once more, before the leader itself counts as stuck."""
    longest = answer + _GRACE + connecting
    if longest >= terms.stuck:
        section, key = next(
            (
                (section, key)
                for section, key in (("ledger", "answer_seconds"), ("election", "stuck_seconds"))
                if source.is_set(section, key)
            ),
            ("ledger", "url"),
        )
        source.fault(
            section,
            key,
            f"answer_seconds, {_GRACE:g} more, and connecting anew ({longest:g}: connect_timeout of the URL, for each "
            f"of its hosts) have to be below [election] stuck_seconds ({terms.stuck:g}): a server that is silent has "
            "to be given up before the leader counts as stuck",
        )
