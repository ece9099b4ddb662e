"""A PostgreSQL on a host of the faulty network, and what can be done to its processes. Draws no faults.

The tests reach it over its Unix socket, which no fault of the network touches; nobody does while it is stopped.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

import pytest
from acceptance.faults.kit.network import NET, Network
from support.postgres_binaries import NoPostgres, postgres_binaries
from support.postgres_server import PASSWORD, ROLE, PostgresServer
from support.waiting import wait_until

PORT = 5432
COMMITTING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
BACKENDS = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"


class PostgresHost(PostgresServer):
    """One server in the namespace of a host; entered, it answers there to every host of the network."""

    def __init__(self, network: Network, host: str) -> None:
        """Without a server's programs the test fails with the line that says how to get them."""
        try:
            super().__init__(postgres_binaries())
        except NoPostgres as error:
            pytest.fail(str(error), pytrace=False)
        self._network, self._host = network, host
        self.address, self.port = network.address(host), PORT

    def __enter__(self) -> Self:
        super().__enter__()
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NET}0/24 scram-sha-256\n")
        self.sql("SELECT pg_reload_conf()")
        return self

    def new_database(self) -> str:
        """Name of a new, empty database that the role owns."""
        self.sql(f"CREATE DATABASE ledger OWNER {ROLE}")
        return "ledger"

    def url(self, name: str, port: int | None = None, role: str = ROLE) -> str:
        """URL of a database over the Unix socket, for the tests."""
        return f"postgresql://{role}:{PASSWORD}@/{name}?host={self._home}&port={port or self.port}"

    def url_inside(self, name: str) -> str:
        """URL of a database for the hosts of the network."""
        return f"postgresql://{ROLE}:{PASSWORD}@{self.address}:{self.port}/{name}"

    # ---- what is done to it

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """See `PostgresServer`; a server that stands still goes on first."""
        self.go_on()
        super().stop(how)

    def stand_still(self) -> None:
        """SIGSTOP to every process of the server."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT to every process of the server."""
        self._send(signal.SIGCONT)

    def end_backends(self) -> None:
        """The schedulers' connections end, as by an administrator."""
        self.sql(BACKENDS)

    def amid_a_commit(self, act: Callable[[], None]) -> None:
        """`act` while a COMMIT of the leader is done and not answered.

        The commits wait for a replica that does not exist; what ends the wait leaves them done, and unanswered.
        """
        self.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        self.sql("SELECT pg_reload_conf()")
        try:
            seen = wait_until(lambda: self.sql(COMMITTING) != [(0,)], 60, every=0.02)
            assert seen, "nobody commits anything"
            self.sql("ALTER SYSTEM RESET synchronous_standby_names")  # not in force before it is read again
            act()
        finally:
            if self.answers():
                self.sql("ALTER SYSTEM RESET synchronous_standby_names")
                self.sql("SELECT pg_reload_conf()")

    def _send(self, number: signal.Signals) -> None:
        for pid in self._network.pids(self._host):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    # ---- means

    def _spawn(self, argv: list[str | Path], log: BinaryIO) -> "subprocess.Popen[bytes]":
        # a namespace is entered as root, so the user changes behind its door
        given = self._as_user()
        words: list[str | Path] = ["setpriv", "--pdeathsig", "QUIT"]
        if "user" in given:
            words += [f"--reuid={given['user']}", f"--regid={given['group']}", "--clear-groups"]
        return subprocess.Popen(
            self._network.inside(self._host, [*words, *argv]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=given["cwd"],
            env=given["env"],
        )
