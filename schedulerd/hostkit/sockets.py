"""Options of the ZeroMQ sockets of both daemons: what the two ends of a link have to agree on stands here once.

Sizes of frames come from the codec; who talks to whom is for the adapters.
"""

from collections.abc import Mapping

import zmq

HIGH_WATER = 256  # frames; credits bound what is under way, not this
LARGEST_BACK = 64 << 10  # bytes: a PUSH socket has nothing to read
# A connection that got stuck while the network was away is begun anew: the kernel's own next try may be a minute off,
# and heartbeats find a dead peer only after the handshake.
CONNECT_MS = 3000
HANDSHAKE_MS = 8000  # allows for 1.5 s on the way, each way

_EVERY: dict[int, int] = {
    zmq.LINGER: 0,
    zmq.HEARTBEAT_IVL: 2_000,
    zmq.HEARTBEAT_TIMEOUT: 6_000,
    zmq.HEARTBEAT_TTL: 10_000,
}
_PUSH: dict[int, int] = {
    zmq.IMMEDIATE: 1,  # a frame waits for no connection: it would come minutes later
    zmq.IPV6: 1,
    zmq.SNDHWM: HIGH_WATER,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 5_000,
    zmq.CONNECT_TIMEOUT: CONNECT_MS,
    zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
    zmq.MAXMSGSIZE: LARGEST_BACK,
}


def set_options(socket: "zmq.Socket[bytes]", options: Mapping[int, int]) -> None:
    """The options every socket has, and these."""
    for option, value in {**_EVERY, **options}.items():
        socket.setsockopt(option, value)


def push_socket(context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
    """A PUSH socket for the one peer that it will be connected to."""
    socket = context.socket(zmq.PUSH)
    set_options(socket, _PUSH)
    return socket
