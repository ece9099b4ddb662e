"""A TCP relay that delays: what comes in on its port goes on to where the connection was meant for, later.

A program of its own, run on the host whose incoming connections were diverted to it. Within one connection bytes stay
in order, as TCP promises; between connections and between the two directions of one, what was sent first may come
last. Standard library only.

    relay.py PORT DELAY_MS JITTER_MS SEED
"""

import asyncio
import random
import socket
import struct
import sys

_ORIGINAL_DESTINATION = 80  # SO_ORIGINAL_DST of linux/netfilter_ipv4.h
CHUNK = 16_384


class Relay:
    """Every connection is copied both ways, each chunk at its own delay."""

    def __init__(self, delay: float, jitter: float, seed: int) -> None:
        self._delay = delay
        self._jitter = jitter
        self._rng = random.Random(seed)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until one of its ends closes."""
        try:
            onward = await asyncio.open_connection(*_meant_for(writer.get_extra_info("socket")))
        except OSError:
            writer.transport.abort()
            return
        there = asyncio.create_task(self._copy(reader, onward[1]))
        back = asyncio.create_task(self._copy(onward[0], writer))
        await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        writer.transport.abort()
        onward[1].transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)
        sender = asyncio.create_task(_deliver(waiting, writer))
        latest = 0.0
        try:
            while data := await reader.read(CHUNK):
                latest = max(latest, loop.time() + self._delay + self._rng.uniform(0.0, self._jitter))
                await waiting.put((latest, data))
            await waiting.join()
        except OSError:
            pass
        finally:
            sender.cancel()


async def _deliver(waiting: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, data = await waiting.get()
        await asyncio.sleep(due - loop.time())
        try:
            writer.write(data)
            await writer.drain()
        except OSError:
            return
        finally:
            waiting.task_done()


def _meant_for(connection: socket.socket) -> tuple[str, int]:
    told = connection.getsockopt(socket.SOL_IP, _ORIGINAL_DESTINATION, 16)
    port, address = struct.unpack_from("!2xH4s", told)
    return socket.inet_ntoa(address), port


async def main() -> None:
    """Serve until killed."""
    port, delay, jitter, seed = (int(word) for word in sys.argv[1:5])
    relay = Relay(delay / 1000, jitter / 1000, seed)
    server = await asyncio.start_server(relay.serve, "0.0.0.0", port)
    async with server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
