"""Equal parts of many definitions become one object, so that a large table takes less memory. Changes no value."""

from collections.abc import Hashable, Iterable
from typing import Any

from msgspec.structs import force_setattr

from schedulerd.model.job import Argv, At, Definition, Job, Line, Manual, Script

# Those that many jobs have in common; names and texts hardly repeat.
_OFTEN_EQUAL = (
    "timezone",
    "tags",
    "cwd",
    "timeout",
    "kill_after",
    "success_codes",
    "catchup",
    "dispatch_timeout",
    "requires",
    "pools",
)
_USUAL = Job(name="", trigger=Manual(), work=Script(text=""))
_UNUSUAL = tuple((key, getattr(_USUAL, key)) for key in _OFTEN_EQUAL)


class Sharing:
    """Remembers the first of equal parts; drop it when the table is read."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Hashable], Any] = {}

    def share(self, definitions: Iterable[Definition]) -> None:
        """Have these definitions use what was met before. Only for values that nobody else sees yet."""
        one = self._one
        for definition in definitions:
            job = definition.job
            for key, usual in _UNUSUAL:
                value = getattr(job, key)
                if value is usual:
                    continue
                force_setattr(job, key, usual if value == usual else one(key, value, value))
            if not isinstance(job.trigger, At):  # which may be long and is hardly met twice
                force_setattr(job, "trigger", one("trigger", job.trigger, job.trigger))
            if isinstance(job.work, Line | Script):
                force_setattr(job.work, "shell", one("shell", job.work.shell, job.work.shell))
            if isinstance(job.work, Argv):
                words = tuple([one("word", word, word) for word in job.work.argv])
                force_setattr(job.work, "argv", words)
            force_setattr(job, "env", one("env", tuple(job.env.items()), job.env))
            force_setattr(
                definition, "source", one("source", tuple(definition.source.items()), definition.source)
            )
            force_setattr(
                definition, "lines", one("lines", tuple(definition.lines.items()), definition.lines)
            )
            force_setattr(
                definition.origin, "file", one("file", definition.origin.file, definition.origin.file)
            )

    def _one(self, kind: str, key: Hashable, value: Any) -> Any:
        return self._known.setdefault((kind, key), value)
