"""`python -m schedulerd.adapters.jobfiles.helper`: reads job files for another process."""

import gc
import sys

import msgspec

from schedulerd.adapters.jobfiles.readers import read_frame, write_frame
from schedulerd.adapters.jobfiles.reading import Request, read_jobs


def main() -> None:
    """One answer for each request, until standard input ends."""
    gc.disable()  # a file's objects are few, hold no cycles worth a search, and this process ends soon
    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(Request).decode
    while True:
        try:
            request = decode(read_frame(sys.stdin.buffer))
        except EOFError:
            return
        write_frame(sys.stdout.buffer, encode(read_jobs(request)))


if __name__ == "__main__":
    main()
