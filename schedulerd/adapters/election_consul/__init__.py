"""Leadership among several schedulers by a lock in Consul. `ConsulElection` is the room's door."""

from schedulerd.adapters.election_consul.election import ConsulElection

__all__ = ["ConsulElection"]
