"""Our calls to a Consul agent, each with a time-out, each failing with ConsulError and nothing else.

Leaves to its users when to call, how often to try again, and what the services are called. One client belongs
to one thread; only `interrupt` may be called from another.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import consul
from consul.callback import CB
from msgspec import Struct

from schedulerd.errors import SchedulerdError, SettingsError
from schedulerd.hostkit.interruptible import InterruptibleAdapter

MAX_WAIT_SECONDS = 55  # a blocking query is held no longer; Consul adds up to a sixteenth
TTL_SECONDS = 20
DEREGISTER_AFTER_SECONDS = 3600

_T = TypeVar("_T")


class ConsulError(SchedulerdError):
    """Consul did not do what it was asked; the text says what, where and why. Trying again later helps."""


class Registration(Struct, frozen=True, kw_only=True):
    """One service as it is registered with the local agent, with a TTL check of its own."""

    service: str
    service_id: str
    check_id: str
    address: str  # host or IP address only
    port: int
    meta: Mapping[str, str]
    ttl_seconds: int = TTL_SECONDS  # without `check_pass` for this long it is critical
    deregister_after_seconds: int = (
        DEREGISTER_AFTER_SECONDS  # critical for this long it is forgotten; Consul: >= 60
    )


class ServiceEntry(Struct, frozen=True, kw_only=True):
    """One registration as the health query shows it."""

    service_id: str
    address: str
    port: int
    meta: Mapping[str, str]
    is_passing: bool  # every check, the host's own included


class KeyEntry(Struct, frozen=True, kw_only=True):
    """A key as it stands."""

    value: bytes
    session: str  # whose lock it is; empty: nobody's
    index: int  # of its newest change


class ConsulClient:
    """A thin hand on py-consul. `address` is the agent's, `http://HOST:PORT`."""

    def __init__(self, address: str, *, token: Callable[[], str] = str, timeout_seconds: float = 5.0) -> None:
        """`token` is asked before each call, so that one that is exchanged is used; empty: none.

        Raises ConsulError for an address that is none, and what `token` raises.
        """
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConsulError(f'Consul\'s address "{address}" is not of the form http://HOST:PORT')
        self.address = address
        self._adapter = InterruptibleAdapter()
        # For a blocking query py-consul adds the query's wait and a sixteenth of it to this time-out.
        self._consul = consul.Consul(
            host=parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]",
            port=parts.port or 8500,
            scheme=parts.scheme,
            verify=True,
            connections_timeout=timeout_seconds,
        )
        self._token = token
        self._consul.token = token() or None  # ours alone: py-consul would let the environment's token win
        session = self._consul.http.session
        session.trust_env = False  # the agent is a neighbour: never through a proxy
        session.mount(f"{parts.scheme}://", self._adapter)

    def interrupt(self) -> None:
        """From any thread: the call in flight and all later ones fail at once."""
        self._adapter.interrupt()

    def register(self, service: Registration) -> None:
        """Register `service` or replace what has its id; its check is critical until `check_pass`."""
        check = {
            "CheckID": service.check_id,
            "Name": f"{service.service} says that it is alive",
            "TTL": f"{service.ttl_seconds}s",
            "DeregisterCriticalServiceAfter": f"{service.deregister_after_seconds}s",
        }
        self._call(
            f"register {service.service_id}",
            lambda: self._consul.agent.service.register(
                service.service,
                service_id=service.service_id,
                address=service.address,
                port=service.port,
                check=check,
                meta=dict(service.meta),
                replace_existing_checks=True,
            ),
        )

    def deregister(self, service_id: str) -> None:
        """Take a registration away; one that the agent does not know is away already."""
        self._call(
            f"deregister {service_id}",
            lambda: self._consul.agent.service.deregister(service_id=service_id) or True,
        )

    def check_pass(self, check_id: str, note: str = "") -> None:
        """Say that a TTL check's owner is alive. An agent without the check refuses: register again then."""
        self._call(
            f"pass check {check_id}", lambda: self._consul.agent.check.ttl_pass(check_id, notes=note or None)
        )

    def services(
        self, service: str, *, index: int = 0, wait_seconds: int = MAX_WAIT_SECONDS
    ) -> tuple[int, tuple[ServiceEntry, ...]]:
        """All registrations of `service`, passing or not, by id, and the index to ask with next.

        With `index` it is a blocking query: it returns when something has changed since, or after
        `wait_seconds` and up to a sixteenth more. A return is no proof of a change, and an index may go
        backwards: start over at 0 then.
        """
        wait = max(1, min(wait_seconds, MAX_WAIT_SECONDS))
        query: dict[str, Any] = {"index": index, "wait": f"{wait}s"} if index > 0 else {}
        answer = self._call(f"list service {service}", lambda: self._consul.health.service(service, **query))
        try:
            newest, rows = answer
            return max(1, int(newest)), tuple(
                sorted(map(_entry, rows or ()), key=lambda entry: entry.service_id)
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ConsulError(
                f"Consul at {self.address} answered to list service {service} with no health list: {error!r}"
            ) from error

    # ---- sessions and locks --------------------------------------------------------------------------------

    def create_session(self, name: str, *, ttl_seconds: float, lock_delay_seconds: float) -> str:
        """The id of a new session without checks; what it holds when it ends is released.

        Not renewed for `ttl_seconds` (Consul takes up to twice as long) it ends, and what it held cannot be taken by
        anybody for `lock_delay_seconds`. Consul refuses a TTL below 10 s unless its `session_ttl_min` allows it.
        """
        # py-consul's own call takes whole seconds from 10 on; Consul's limit is Consul's to say
        body = json.dumps(
            {
                "Name": name,
                "TTL": f"{ttl_seconds:g}s",
                "LockDelay": f"{lock_delay_seconds:g}s",
                "Behavior": "release",
                "Checks": [],
            }
        )
        answer = self._call(
            "create a session",
            lambda: self._consul.http.put(
                CB.json(is_id=True),
                "/v1/session/create",
                headers=self._consul.prepare_headers(None),
                data=body,
            ),
        )
        if not isinstance(answer, str) or not answer:
            raise ConsulError(f"Consul at {self.address} answered to create a session with no id: {answer!r}")
        return answer

    def renew_session(self, session: str) -> bool:
        """Start its TTL anew; False when Consul does not know it (any more)."""

        def renew() -> str:
            try:
                self._consul.session.renew(session)
            except consul.NotFound:
                return "unknown"
            return "renewed"

        return self._call("renew our session", renew) == "renewed"

    def destroy_session(self, session: str) -> None:
        """End a session; without locks of its own that delays nobody."""
        self._call("end our session", lambda: self._consul.session.destroy(session))

    def session_names(self) -> tuple[str, ...]:
        """The names of all sessions there are, sorted."""
        answer = self._call("list sessions", lambda: self._consul.session.list())
        try:
            return tuple(sorted(str(row.get("Name") or "") for row in answer[1] or ()))
        except (TypeError, IndexError, KeyError, AttributeError) as error:
            raise ConsulError(
                f"Consul at {self.address} answered with no list of sessions: {error!r}"
            ) from error

    def read_key(
        self, key: str, *, index: int = 0, wait_seconds: int = MAX_WAIT_SECONDS
    ) -> tuple[int, KeyEntry | None]:
        """The index to ask with next, and the key (None: there is none); blocks as `services` does."""
        wait = max(1, min(wait_seconds, MAX_WAIT_SECONDS))
        query: dict[str, Any] = {"index": index, "wait": f"{wait}s"} if index > 0 else {}
        answer = self._call(f"read {key}", lambda: self._consul.kv.get(key, **query))
        try:
            newest, row = answer
            if row is None:
                return max(1, int(newest)), None
            entry = KeyEntry(
                value=row["Value"] or b"", session=row.get("Session") or "", index=int(row["ModifyIndex"])
            )
            return max(1, int(newest)), entry
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ConsulError(
                f"Consul at {self.address} answered to read {key} with no key: {error!r}"
            ) from error

    def acquire_key(self, key: str, value: bytes, session: str) -> bool:
        """Lock `key` for `session` and set its value; also sets the value of a lock that it has.

        False when another session holds it, or its lock-delay is not over.
        """
        answer = self._call(f"lock {key}", lambda: [self._consul.kv.put(key, value, acquire=session)])
        return answer == [True]

    def release_key(self, key: str, value: bytes, session: str) -> bool:
        """Unlock `key` and set its value, without a delay for the next; False when `session` did not hold it."""
        answer = self._call(f"unlock {key}", lambda: [self._consul.kv.put(key, value, release=session)])
        return answer == [True]

    def _call(self, what: str, call: Callable[[], _T]) -> _T:
        try:
            self._consul.token = self._token() or None
            answer = call()
        except SettingsError as error:
            raise ConsulError(f"Consul at {self.address} was not asked to {what}: {error}") from error
        # OSError is the root of what requests raises
        except (OSError, ValueError, RecursionError, consul.ConsulException) as error:
            raise ConsulError(f"Consul at {self.address} did not {what}: {_plain(error)}") from error
        if answer is False:
            raise ConsulError(f"Consul at {self.address} did not {what}: it does not know it")
        return answer


def _entry(row: Any) -> ServiceEntry:
    service = row["Service"]
    return ServiceEntry(
        service_id=service["ID"],
        address=service["Address"] or row["Node"]["Address"],
        port=int(service["Port"]),
        meta=dict(service["Meta"] or {}),
        is_passing=all(check["Status"] == "passing" for check in row["Checks"]),
    )


def _plain(error: Exception) -> str:
    """The innermost cause in one line: what `requests` wraps several times is said once."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    text = " ".join(str(cause).split()) or type(cause).__name__
    return text if len(text) <= 300 else text[:300] + "..."
