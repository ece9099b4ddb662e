"""Whoever's session holds the key in Consul leads, while it can renew that session. Leaves epochs to the ledger.

Consul's lock is advisory, and an ended session frees its key up to two TTLs after the last renewal: so the leader
counts for itself, and acts no longer than `lease` seconds of boot time after a renewal that succeeded was sent. The
keeper, a thread that waits on the monotonic clock, renews the session and takes or releases the key; the watch wakes
it.
"""

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct, structs

from schedulerd.adapters.election import LeaderCard, Lease
from schedulerd.adapters.election_consul.others import Others
from schedulerd.adapters.election_consul.refusal import foreign, refusal
from schedulerd.adapters.election_consul.session import Session
from schedulerd.adapters.election_consul.watch import BACKOFF_SECONDS, KeyWatch
from schedulerd.hostkit.clock import boot_seconds
from schedulerd.hostkit.consul_client import MAX_WAIT_SECONDS, ConsulClient, ConsulError, KeyEntry
from schedulerd.protocol import consul_names
from schedulerd.protocol.leader_card import card_in, value_of
from schedulerd.protocol.timing import ElectionTerms

RETRY = 0.25  # seconds between two tries to renew while a lease is running out
POLL = 0.5  # seconds between two tries to take a key that is free: its lock-delay ends without a word
STOP_SECONDS = 5.0  # far longer than giving the key back takes; Consul may be gone

log = logging.getLogger(__name__)


class _Key(Struct, frozen=True):
    """The key as the watch saw it last."""

    session: str  # whose it is; empty: nobody's
    card: LeaderCard | None
    since: float  # boot-time seconds at which it was first seen in these hands


class ConsulElection:
    """`Election` by a lock in Consul. `card` is what the others get to read once this scheduler leads."""

    kind = "consul"

    def __init__(
        self,
        make_client: Callable[[float], ConsulClient],
        cluster: str,
        card: LeaderCard,
        terms: ElectionTerms,
        state_dir: Path,
        *,
        on_error: Callable[[], None] = lambda: None,
        stuck: Callable[[], str] = str,
        wait_seconds: int = MAX_WAIT_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`make_client` gets the time-out of its calls in seconds; `on_error` is called for each that fails.

        `stuck` says in a sentence that this scheduler does nothing although it may; empty: it gets on.
        """
        self.trouble = "waiting for Consul's first word on who leads"
        self.fault = ""
        self._make_client = make_client
        self._cluster = cluster
        self._key = consul_names.leader_key(cluster)
        self._card = card
        self._told: LeaderCard | None = None  # what the key's value says of us
        self._terms = terms
        self._session = Session(state_dir, consul_names.session_name(cluster, card.id, card.name), terms)
        self._watch = KeyWatch(
            self._key, wait_seconds, on_seen=self._saw, on_error=self._watch_failed, jitter=jitter
        )
        self._others = Others(cluster)
        self._on_error = on_error
        self._stuck = stuck
        self._jitter = jitter
        self._on_change: Callable[[], None] = lambda: None
        self._lease: Lease | None = None
        self._before: LeaderCard | None = None  # what was in the key when we took it
        self._taken_at = 0  # Consul's index of our lock; what the watch saw before it is history
        self._aside_until = 0.0  # boot-time seconds until which we leave the key to others
        self._must_release = False
        self._failures = 0
        self._seen: _Key | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- for the other threads ---------------------------------------------------------------------------------

    @property
    def lease(self) -> Lease | None:
        """See `Election`."""
        return self._lease

    @property
    def standbys(self) -> tuple[str, ...] | None:
        """See `Election`."""
        leader = self.leader
        return self._others.names(leader.id if leader is not None else "")

    @property
    def leader(self) -> LeaderCard | None:
        """See `Election`."""
        if self._lease is not None and self._lease.holds():
            return self._card
        seen = self._seen
        if seen is None or seen.session in ("", self._session.id) or seen.card is None:
            return None
        return seen.card if seen.card.id != self._card.id else None

    @property
    def before(self) -> LeaderCard | None:
        """See `Election`."""
        return self._before

    def start(self, on_change: Callable[[], None]) -> None:
        """Take part; Consul need not be there yet."""
        self._on_change = on_change
        # a call that hangs must leave time for another before the lease is over
        short = max(0.2, min(5.0, (self._terms.lease - self._terms.renew) / 2))
        client = self._make_client(short)
        self._thread = threading.Thread(target=self._run, args=(client,), name="election", daemon=True)
        self._watch.start(self._make_client(5.0))
        self._thread.start()

    def announce(self, card: LeaderCard) -> None:
        """See `Election`."""
        self._card = card
        self._wake.set()

    def refuse(self, own: str, theirs: LeaderCard) -> None:
        """See `Election`. What the key said before us it says again: it is of those who keep the right ledger."""
        self.fault = self.fault or foreign(self._cluster, own, theirs)
        if self._lease is not None and self._before is not None:
            self._card = self._before
        self.give_up(self.fault, 0.0)

    def give_up(self, why: str, aside: float) -> bool:
        """See `Election`. Returns before Consul knows."""
        if self._lease is not None:
            self._lease.end(why)
        self._aside_until = boot_seconds() + aside
        self._must_release = True
        self._wake.set()
        return True

    def stop(self) -> None:
        """Release the key, then end the session; without Consul its TTL does that."""
        if self._lease is not None:
            self._lease.end("schedulerd is stopping")
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
        self._watch.stop(STOP_SECONDS)

    # ---- the keeper --------------------------------------------------------------------------------------------

    def _run(self, client: ConsulClient) -> None:
        try:
            self._keep(client)
        except Exception as error:  # whatever it is: without this thread nobody is elected here any more
            log.critical("the election has ended", exc_info=True)
            if self._lease is not None:
                self._lease.end("the election has ended")
            self.fault = f"the election has ended: {type(error).__name__}: {error}"
            self._on_change()

    def _keep(self, client: ConsulClient) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                pause = self._round(client)
                self._failures = 0
            except ConsulError as error:
                pause = self._failed(str(error))
            if self._lease is not None and not self._lease.holds():
                self._drop_lease()
            elif self._lease is not None:
                pause = min(pause, self._lease.left())
            self._wake.wait(pause)
        self._leave(client)

    def _round(self, client: ConsulClient) -> float:
        """Everything that is due now; the seconds until there is more to do. Raises ConsulError."""
        if not self._watch.is_alive():
            raise RuntimeError("the watch of the election's key has ended")
        if not self._session.id:
            self._session.begin(client)
        self._look_whether_stuck()
        if self._must_release:
            if self._lease is not None:  # won at the very moment in which it was given up
                self._lease.end("it was given up")
            client.release_key(self._key, value_of(self._card), self._session.id)
            self._must_release = False
        if self._session.is_due() and not self._renew(client):
            return 0.0
        if self._seen is not None:
            self.trouble = ""
        if self._lease is not None and self._lease.holds():
            if self._told != self._card:
                card = self._card
                client.acquire_key(self._key, value_of(card), self._session.id)
                self._told = card
        elif self._may_stand():
            return self._stand(client)
        self._others.look(client)
        now = boot_seconds()
        waits = [self._session.renewed_at + self._terms.renew, self._aside_until]
        return max(0.01, min((at for at in waits if at > now), default=now) - now)

    def _look_whether_stuck(self) -> None:
        """A leader that does nothing gives the lead up: its session alone would go on for ever."""
        if self._lease is not None and self._lease.holds() and (why := self._stuck()):
            log.error("the lead is given up: %s", why)
            self._lease.end(why)
            self._card = structs.replace(self._card, ended=f"stuck: {why}")
            self._must_release = True

    def _renew(self, client: ConsulClient) -> bool:
        """Renew session and lease; False when Consul has ended the session."""
        if self._session.renew(client):
            if self._lease is not None:
                self._lease.extend(self._session.renewed_at, self._terms.lease)
            return True
        log.warning("Consul has ended our session; a new one is begun")
        if self._lease is not None:
            self._lease.end("Consul has ended the session")
        return False

    def _may_stand(self) -> bool:
        """Whether the key is free as far as we know, and we want it."""
        seen = self._seen
        if seen is None or self.fault or boot_seconds() < self._aside_until or self._stuck():
            return False
        return seen.session in ("", self._session.id)

    def _stand(self, client: ConsulClient) -> float:
        """Try to take the key; the seconds until the next try."""
        if not self._renew(client):
            return 0.0
        sent_at = self._session.renewed_at
        _, entry = client.read_key(self._key)
        before = card_in(entry.value) if entry is not None else None
        # which ledger it is stays in the key until we have opened ours
        kept = before.ledger_id if before is not None else ""
        card = self._card = structs.replace(self._card, ended="", ledger_id=kept or self._card.ledger_id)
        if client.acquire_key(self._key, value_of(card), self._session.id):
            _, entry = client.read_key(self._key)
            if entry is not None and entry.session == self._session.id:
                self._taken_at, self._told, self._before = entry.index, card, before
                self._lease = Lease(sent_at, self._terms.lease)
                self._others.forget()
                self._on_change()
                return 0.0
        seen = self._seen
        free_at = 0.0 if seen is None or seen.session else seen.since + self._terms.lock_delay
        left = free_at - boot_seconds()
        # the end of the lock-delay is hit exactly; all other tries are spread
        return max(0.01, left) if -0.05 < left < POLL else POLL * (0.5 + self._jitter())

    def _failed(self, text: str) -> float:
        """Consul did not do it: the seconds until the next try."""
        if self._stopping.is_set():
            return 0.0
        self._complain(text)
        self._failures += 1
        if self._lease is not None and self._lease.holds():
            return RETRY
        pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS)) - 1]
        return pause * (1 + self._jitter()) / 2

    def _drop_lease(self) -> None:
        """Have the loop see at once that it is over; the session may still hold the key, and then we stand again."""
        self._lease = None
        self._on_change()

    def _leave(self, client: ConsulClient) -> None:
        """Let another lead at once: the key first, since an ended session that holds it delays everybody."""
        if not self._session.id:
            return
        try:
            client.release_key(self._key, value_of(self._card), self._session.id)
            self._session.end(client)
        except ConsulError as error:
            log.warning("the lock in Consul could not be given back: %s; its TTL will end it", error)

    # ---- the watch, in its thread ------------------------------------------------------------------------------

    def _saw(self, newest: int, entry: KeyEntry | None) -> None:
        session = entry.session if entry is not None else ""
        card = card_in(entry.value) if entry is not None else None
        before, lease = self._seen, self._lease
        since = boot_seconds() if before is None or before.session != session else before.since
        self._seen = _Key(session, card, since)
        if lease is not None and newest > self._taken_at and session != self._session.id:
            lease.end("the lock in Consul is not ours any more")
        is_live = session not in ("", self._session.id)
        if is_live:
            self._aside_until = 0.0  # somebody else has taken it: from now on we stand for it like all others
        if card is not None and not self.fault:
            self.fault = refusal(self._cluster, self._card, card, is_live=is_live)
        if before is None or (before.session, before.card) != (session, card):
            if is_live and card is not None and card.id != self._card.id and not self.fault:
                log.info("standing by  leader=%s epoch=%d", card.words(), card.epoch)
            self._wake.set()
            self._on_change()

    def _watch_failed(self, text: str) -> None:
        if self._seen is None:
            self._complain(text)
        else:
            self._on_error()

    def _complain(self, text: str) -> None:
        self._on_error()
        if text != self.trouble:
            log.warning("the election does not get on: %s; trying again", text)
        self.trouble = text
