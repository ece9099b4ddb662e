"""Reads settings from one TOML file and the environment, key by key, and collects every fault before it
complains.

Leaves to settings.py which keys there are and what they mean. A variable `SCHEDULERD_<SECTION>_<KEY>` wins
over the file; keys that stand at the top are `SCHEDULERD_<KEY>`. A list in a variable is written with commas.
"""

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from msgspec import Struct

from schedulerd.errors import SettingsError

PREFIX = "SCHEDULERD_"

_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.\- ]+?)\s*\]\s*(#.*)?")
_KEY = re.compile(r"(\s*)([A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class _Found(Struct, frozen=True):
    """One value as it stands: where it is, and whether it is still the text of a variable."""

    value: Any
    where: str
    is_text: bool


class Source:
    """One daemon's settings as they stand. Ask for every key there is, then call `finish`."""

    def __init__(self, path: Path | None, environ: Mapping[str, str]) -> None:
        self.base = path.absolute().parent if path else Path.cwd()
        self._path = path
        self._environ = environ
        self._faults: list[str] = []
        self._asked: dict[str, list[str]] = {"": []}  # section -> keys in the order they were asked for
        self._positions: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        if path:
            self._read(path)

    def text(self, section: str, key: str, default: str) -> str:
        """A text; a default of the caller's when it is absent or no text."""
        found = self._found(section, key)
        if found is None:
            return default
        if not isinstance(found.value, str):
            self.fault(section, key, f"{_shown(found.value)} is not a text in quotes")
            return default
        if "\0" in found.value or "\n" in found.value:
            self.fault(section, key, "the text has a line break or a NUL in it")
            return default
        return found.value

    def choice(self, section: str, key: str, default: str, *choices: str) -> str:
        """One of a few words."""
        word = self.text(section, key, default)
        if word != default and word not in choices:
            self.fault(section, key, f'"{word}" is not one of {", ".join(choices)}{_hint(word, choices)}')
            return default
        return word

    def path(self, section: str, key: str, default: str) -> Path:
        """A path, made absolute: the file's against its directory, a variable's against the working one."""
        return self.optional_path(section, key, default) or self.base

    def optional_path(self, section: str, key: str, default: str) -> Path | None:
        """As `path`; None when the text is empty."""
        found = self._found(section, key)
        text = self.text(section, key, default)
        if not text:
            return None
        base = Path.cwd() if found is not None and found.is_text else self.base
        return Path(base, Path(text).expanduser() if text.startswith("~/") else text)

    def number(self, section: str, key: str, default: int, least: int, most: int) -> int:
        """A whole number from `least` to `most`."""
        found = self._found(section, key)
        if found is None:
            return default
        value = found.value
        if found.is_text and re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fault(section, key, f"{_shown(value)} is not a whole number from {least} to {most}")
            return default
        return value

    def seconds(self, section: str, key: str, default: float, most: float) -> float:
        """A length of time in seconds, more than 0 and at most `most`."""
        found = self._found(section, key)
        if found is None:
            return default
        value = found.value
        if found.is_text and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            self.fault(section, key, f"{_shown(value)} is not a number of seconds above 0 and up to {most:g}")
            return default
        return float(value)

    def flag(self, section: str, key: str, default: bool) -> bool:
        """True or false."""
        found = self._found(section, key)
        if found is None:
            return default
        value = _BOOLEANS.get(found.value.strip().lower(), found.value) if found.is_text else found.value
        if not isinstance(value, bool):
            self.fault(section, key, f"{_shown(value)} is not true or false")
            return default
        return value

    def texts(self, section: str, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts."""
        found = self._found(section, key)
        if found is None:
            return default
        value = found.value
        if found.is_text:
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            self.fault(section, key, f"{_shown(value)} is not a list of texts")
            return default
        return tuple(value)

    def table(self, section: str) -> dict[str, Any]:
        """A whole table whatever its keys; variables are read as TOML values, or else as texts."""
        self._asked[section] = []
        table = self._values.get(section, {})
        if not isinstance(table, dict):
            self._wrong_table(section, table)
            return {}
        table = dict(table)
        prefix = _variable(section, "")
        for name in sorted(name for name in self._environ if name.startswith(prefix) and name != prefix):
            table[name.removeprefix(prefix).lower()] = _toml_value(self._environ[name])
        return table

    def is_set(self, section: str, key: str) -> bool:
        """Whether the file or the environment says anything about this key."""
        return self._found(section, key) is not None

    def fault(self, section: str, key: str, text: str) -> None:
        """Note what is wrong with one key, with the place where it stands."""
        found = self._found(section, key)
        where = found.where if found else self._name()
        self._faults.append(f"{where}: {_dotted(section, key)}: {text}")

    def finish(self) -> None:
        """Raise SettingsError with every fault, one a line, if there are any; unknown keys are faults."""
        self._look_for_unknown("", self._values)
        self._look_for_unknown_variables()
        if self._faults:
            raise SettingsError("\n".join(dict.fromkeys(self._faults)))

    def _read(self, path: Path) -> None:
        try:
            text = path.read_bytes().decode("utf-8")
        except OSError as error:
            raise SettingsError(f"{path}: the settings cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(
                f"{path}: byte {error.start} is not UTF-8; settings are TOML in UTF-8"
            ) from error
        try:
            self._values = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            match = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            place = f":{match[1]}:{match[2]}" if match else ""
            plain = re.sub(r"\s*\(at .*\)", "", str(error))
            raise SettingsError(f"{path}{place}: not valid TOML: {plain}") from error
        self._positions = _positions(text)

    def _found(self, section: str, key: str) -> _Found | None:
        keys = self._asked.setdefault(section, [])
        if key not in keys:
            keys.append(key)
        variable = _variable(section, key)
        if variable in self._environ:
            return _Found(self._environ[variable], f"${variable}", True)
        table: Any = self._values
        for part in filter(None, section.split(".")):
            table = table.get(part, {}) if isinstance(table, dict) else {}
        if not isinstance(table, dict) or key not in table:
            return None
        return _Found(table[key], self._where(_dotted(section, key)), False)

    def _look_for_unknown(self, section: str, table: dict[str, Any]) -> None:
        known = [*self._asked.get(section, []), *self._subsections(section)]
        for key, value in table.items():
            inner = _dotted(section, key)
            if inner in self._asked or any(name.startswith(f"{inner}.") for name in self._asked):
                if isinstance(value, dict):
                    if self._asked.get(inner) != []:  # an empty list: the table is free
                        self._look_for_unknown(inner, value)
                elif key not in self._asked.get(section, []):
                    self._wrong_table(inner, value)
            elif key not in known:
                self._faults.append(f"{self._where(inner)}: {inner}: unknown key{_hint(key, known)}")

    def _look_for_unknown_variables(self) -> None:
        known = [_variable(section, key) for section, keys in self._asked.items() for key in keys]
        free = [_variable(section, "") for section, keys in self._asked.items() if section and not keys]
        sections = [_variable(section, "") for section, keys in self._asked.items() if section and keys]
        for name in sorted(self._environ):
            is_ours = any(name.startswith(prefix) for prefix in sections)
            if is_ours and name not in known and not any(name.startswith(prefix) for prefix in free):
                self._faults.append(f"${name}: unknown setting{_hint(name, known)}")

    def _subsections(self, section: str) -> list[str]:
        prefix = f"{section}." if section else ""
        names = [name.removeprefix(prefix) for name in self._asked if name and name.startswith(prefix)]
        return list(dict.fromkeys(name.partition(".")[0] for name in names))

    def _wrong_table(self, section: str, value: Any) -> None:
        self._faults.append(f"{self._where(section)}: {section}: {_shown(value)} is not a table [{section}]")

    def _where(self, dotted: str) -> str:
        place = self._positions.get(dotted)
        return f"{self._name()}:{place}" if place else self._name()

    def _name(self) -> str:
        return str(self._path) if self._path else "settings"


def _positions(text: str) -> dict[str, str]:
    """Dotted key -> `line:col`, as far as plain lines tell; a key written otherwise has no place."""
    section = ""
    places: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            section = header[1].replace(" ", "")
            places.setdefault(section, f"{number}:{line.index('[') + 1}")
        elif match := _KEY.match(line):
            name = re.sub(r"\s", "", match[2])
            places.setdefault(_dotted(section, name), f"{number}:{len(match[1]) + 1}")
    return places


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _variable(section: str, key: str) -> str:
    return PREFIX + _dotted(section, key).replace(".", "_").upper()


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _hint(word: str, known: list[str] | tuple[str, ...]) -> str:
    near = get_close_matches(word, known, n=1)
    return f', did you mean "{near[0]}"?' if near else ""


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
