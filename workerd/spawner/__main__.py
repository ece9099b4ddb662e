"""Entry of the helper process: workerd starts it with one end of a socket pair as descriptor 0. Wiring only."""

import fcntl
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from schedulerd.hostkit import failpoint
from workerd.spawner.helper import Helper
from workerd.spawner.kernel import become_subreaper
from workerd.spawner.launch import Launcher
from workerd.spawner.leftovers import take

# What may reach this process by a group, a service manager or a terminal is for workerd to decide upon.
_IGNORED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)


def main() -> NoReturn:
    """Work until workerd is gone."""
    failpoint.arm(os.environ)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    try:
        control = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3))
        control.getpeername()
    except OSError:
        print("workerd.spawner is started by workerd, with a socket as its standard input", file=sys.stderr)
        sys.exit(2)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)  # what children read, unless they are given something
    for descriptor in (1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # workerd itself was started without it
            os.dup2(null, descriptor)
    os.closerange(3, control.fileno())
    os.closerange(control.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    try:
        take(Path(sys.argv[1]))  # kept until this process ends: by it the next workerd knows that we live
    except OSError as error:
        print(
            f"the helper before this one has not ended, no child is started: {error}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(4)
    become_subreaper()
    helper = Helper(control, Launcher(sys.argv[1]))
    why = "fault"
    try:
        why = helper.run()
    finally:
        ended = helper.end_all()
        if why == "lease":
            print(f"the lease of workerd ran out: {ended} children killed", file=sys.stderr, flush=True)
    # Here, with the socket still open: workerd takes its end for the end of this process and looks at the exit code.
    os._exit(3 if why == "lease" else 0)


if __name__ == "__main__":
    main()
