"""Servers and tools that tests need: whether what was found runs, and how a finder tells it as a program of its own.

Where each is looked for stands in its own file. Standard library only: the Makefile runs the finders.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Missing(Exception):
    """There is none and none could be had; the text is one line that says how to install one."""


def told_by(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> str:
    """What a program writes when it is asked for its version; empty when it does not run."""
    try:
        done = subprocess.run(
            command,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def print_found(find: Callable[[], str | Path]) -> int:
    """The exit code of a finder: 0 and what it found on a line, or 1 and the line of what to do."""
    try:
        print(find())
    except Missing as error:
        print(error, file=sys.stderr)
        return 1
    return 0
