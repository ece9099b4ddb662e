"""From an order to a running process: templates, private files, descriptors, posix_spawn. Leaves watching to helper.py.

The helper is single-threaded, so what a child inherits - working directory, descriptor limit, the PATH that programs
are looked up in - can be set in the helper itself around the spawn; no launcher program stands between.
"""

import errno
import os
import resource
import shutil
import signal

from msgspec import Struct

from schedulerd.protocol.rendering import TemplateError, Values, render_argv, render_shell
from workerd.spawner.environment import environment_of, has_large_item
from workerd.spawner.wire import Spawn

_DUP2 = os.POSIX_SPAWN_DUP2


class LaunchError(Exception):
    """An attempt cannot be started; `reason` is "template" or "spawn" and the text is for people."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Prepared(Struct, gc=False):
    """All that the spawn needs, filled in."""

    argv: list[str]
    env: dict[str, str]
    cwd: str | None
    stdin: bytes
    directory: str  # private files, removed when the attempt has ended; empty = none


class Process(Struct, frozen=True, gc=False):
    """A child that exists: the leader of a process group of its own, not reaped yet."""

    pid: int
    pidfd: int
    stdout: int  # read ends of its pipes
    stderr: int


class Launcher:
    """Starts processes. Must be the only thread of this process, with something harmless open as 0, 1 and 2."""

    def __init__(self, scratch: str) -> None:
        """`scratch`: an empty directory nobody else can enter."""
        self._scratch = scratch
        self._count = 0
        self._home = os.open(".", os.O_PATH | os.O_DIRECTORY)
        self._ignored = [s for s in signal.valid_signals() if signal.getsignal(s) == signal.SIG_IGN]
        self._path = ""
        # The helper needs three descriptors a child. Children keep the old soft limit: select(2) breaks above it.
        self._theirs = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._ours = (self._theirs[1], self._theirs[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, self._ours)

    def prepare(self, spawn: Spawn) -> Prepared:
        """Fill in every template and write the private files. Raises LaunchError, leaving nothing behind."""
        spec, order = spawn.spec, spawn.order
        values = Values(spec, order, spawn.worker_name)
        prepared = Prepared([], {}, spec.cwd, order.stdin, "")
        try:
            prepared.env = environment_of(spawn, values)
            if order.item is not None and has_large_item(order.item):
                path = self._private_file(prepared, "items.json", order.item, 0o600)
                prepared.env["SCHEDULERD_ITEMS_FILE"] = path
            if spec.kind == "argv":
                prepared.argv = render_argv(spec.argv, values)
            elif spec.kind == "command":
                prepared.argv = [*spec.shell, render_shell(spec.text, values)]
            elif spec.kind == "script":
                text = render_shell(spec.text, values)
                path = self._private_file(prepared, "script", text, 0o700)
                prepared.argv = [path] if text.startswith("#!") else [*spec.shell[:1], path]
            else:
                raise LaunchError("spawn", f'kind "{spec.kind}" is not known to this worker')
            if not prepared.argv or not prepared.argv[0]:
                raise LaunchError("spawn", "there is no program to run: the first argument is empty")
        except (LaunchError, TemplateError, OSError, ValueError, OverflowError) as error:
            remove(prepared)
            if isinstance(error, LaunchError):
                raise
            if isinstance(error, TemplateError):
                raise LaunchError("template", str(error)) from None
            raise LaunchError("spawn", f"the attempt cannot be prepared: {error}") from None
        return prepared

    def start(self, prepared: Prepared) -> Process:
        """Spawn it. Raises LaunchError, leaving neither process nor descriptors nor private files behind."""
        mine: list[int] = []  # to be closed if anything fails
        theirs: list[int] = []  # to be closed in any case
        try:
            for _ in range(2):
                reading, writing = os.pipe()
                mine.append(reading)
                theirs.append(writing)
            actions: list[tuple[int, int, int]] = [(_DUP2, theirs[0], 1), (_DUP2, theirs[1], 2)]
            if prepared.stdin:
                theirs.append(_file_with(prepared.stdin))
                actions.append((_DUP2, theirs[-1], 0))
            pid = self._spawn(prepared, actions)
            return Process(pid, _pidfd_of(pid), mine[0], mine[1])
        except (OSError, ValueError, LaunchError) as error:
            fault = error if isinstance(error, LaunchError) else LaunchError("spawn", _why(error, prepared))
            for descriptor in mine:
                os.close(descriptor)
            remove(prepared)
            raise fault from None
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def _spawn(self, prepared: Prepared, actions: list[tuple[int, int, int]]) -> int:
        path = prepared.env.get("PATH", "")
        if path != self._path:
            os.environ["PATH"] = self._path = (
                path  # posix_spawnp looks into the caller's PATH, not the child's
            )
        if prepared.cwd is not None:
            _enter(prepared.cwd)
        is_lowered = self._theirs != self._ours
        if is_lowered:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._theirs)
        try:
            return os.posix_spawnp(
                prepared.argv[0],
                prepared.argv,
                prepared.env,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=self._ignored,
            )
        finally:
            if is_lowered:
                resource.setrlimit(resource.RLIMIT_NOFILE, self._ours)
            if prepared.cwd is not None:
                os.fchdir(self._home)

    def _private_file(self, prepared: Prepared, name: str, text: str, mode: int) -> str:
        if not prepared.directory:
            self._count += 1
            directory = f"{self._scratch}/{self._count}"
            os.mkdir(directory, 0o700)
            prepared.directory = directory
        path = f"{prepared.directory}/{name}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(text)
        return path


def remove(prepared: Prepared) -> None:
    """Remove the private files."""
    if prepared.directory:
        shutil.rmtree(prepared.directory, ignore_errors=True)
        prepared.directory = ""


def _enter(directory: str) -> None:
    try:
        os.chdir(directory)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise LaunchError("spawn", f'working directory "{directory}" cannot be entered: {why}') from None


def _file_with(data: bytes) -> int:
    """An anonymous file that holds `data`, to be read from its beginning."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _pidfd_of(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # out of descriptors or memory: a child that cannot be watched must not go on
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _why(error: OSError | ValueError, prepared: Prepared) -> str:
    program, path = prepared.argv[0], prepared.env.get("PATH", "")
    if not isinstance(error, OSError):
        return f'"{program}" cannot be started: {error}'
    if error.errno == errno.ENOENT and "/" not in program:
        return f'program "{program}" was not found; PATH is {path}'
    if error.errno == errno.ENOENT and os.path.exists(os.path.join(prepared.cwd or ".", program)):
        return f'program "{program}" cannot be started: the interpreter named in its first line was not found'
    return f'program "{program}" cannot be started: {error.strerror}'
