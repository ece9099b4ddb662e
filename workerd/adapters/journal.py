"""The worker's journal: an append-only file of records, durable in groups. Their meaning is recovery.py's.

The file is a magic and frames of length, CRC-32 and MessagePack. A crash can tear only the tail; it is
cut at the last good record. After an error of write or fsync nobody knows what is on the disk, so the only
answer is to end and to let the next start read the truth.
"""

import logging
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from schedulerd.errors import SchedulerdError, SettingsError
from schedulerd.hostkit import failpoint
from workerd.records import Record

MAGIC = b"wrkjrnl\x01"
COMPACT_BYTES = 32 << 20  # below this size compaction is not worth its fsync
COMPACT_FACTOR = 3  # and it waits until the file has grown to so many times its compacted size

_FRAME = struct.Struct("<II")  # length, CRC-32 of the payload
_LONGEST = 1 << 30

_log = logging.getLogger("workerd.journal")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class JournalError(SchedulerdError):
    """The journal could not be written: this worker must end at once and say nothing more."""


class Journal:
    """One open journal; `records` holds what it told at opening, oldest first."""

    def __init__(self, path: Path) -> None:
        """Open or make the file at `path`, cutting a torn tail. Raises SettingsError if it is no journal."""
        self.path = path
        self.records: list[Record] = []
        self.size = 0
        self._compacted_size = 0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(f"{path}: the journal cannot be opened: {error.strerror}") from error
        try:
            self._read()
        except SettingsError:
            os.close(self._file)
            raise
        except (OSError, JournalError) as error:
            os.close(self._file)
            raise SettingsError(f"{path}: the journal cannot be read or made: {error}") from error

    def append(self, records: Sequence[Record], *, sync: bool) -> None:
        """Write `records`; with `sync` they are durable when this returns. Raises JournalError."""
        self._write(self._file, _frames(records), sync)

    @property
    def is_mostly_past(self) -> bool:
        """Whether the file is large and far larger than what is worth keeping in it."""
        return self.size > COMPACT_BYTES and self.size > COMPACT_FACTOR * self._compacted_size

    def compact(self, records: Sequence[Record]) -> None:
        """Replace the whole file by `records`; a crash leaves the old or the new. Raises JournalError."""
        fresh = self.path.with_suffix(".new")
        try:
            file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"{fresh}: the compacted journal cannot be made: {error.strerror}") from error
        try:
            self.size = 0
            self._write(file, MAGIC + _frames(records), sync=True)
            failpoint.at("journal.before_rename")
            fresh.rename(self.path)
            self._sync_directory()
        except OSError as error:
            os.close(file)
            raise JournalError(f"{self.path}: the compacted journal cannot be kept: {error}") from error
        os.close(self._file)
        self._file = file
        self._compacted_size = self.size

    def close(self) -> None:
        """Close the file; what was not synced may still be lost."""
        os.close(self._file)

    def _write(self, file: int, data: bytes, sync: bool) -> None:
        rest = memoryview(data)
        try:
            failpoint.at("journal.before_write")
            failpoint.tear("journal.torn", file, data)
            while rest:
                rest = rest[os.write(file, rest) :]
            if sync:
                failpoint.at("journal.before_sync")
                os.fdatasync(file)
        except OSError as error:
            raise JournalError(
                f"{self.path}: the journal cannot be written ({error.strerror}); workerd ends here, "
                "and its next start tells what became of the attempts"
            ) from error
        self.size += len(data)

    def _read(self) -> None:
        """Fill `records` and leave the file as long as they are."""
        with open(self._file, "rb", closefd=False) as stream:
            data = stream.read()
        if not data.startswith(MAGIC):
            if data and not MAGIC.startswith(data):
                raise SettingsError(
                    f"{self.path}: begins with {data[:8]!r}, which is no worker journal of this version; "
                    "move it away to start without it"
                )
            os.ftruncate(self._file, 0)
            self._write(self._file, MAGIC, sync=True)
            self._sync_directory()
            return
        good = len(MAGIC)
        while (payload := _payload(data, good)) is not None:
            try:
                self.records.append(_decode(payload))
            except msgspec.DecodeError as error:
                raise SettingsError(
                    f"{self.path}: the record at byte {good} is whole but cannot be understood ({error}); "
                    "was it written by a newer workerd?"
                ) from error
            good += _FRAME.size + len(payload)
        if good < len(data):
            _log.warning(
                "journal cut after its last good record  file=%s kept=%d cut=%d",
                self.path,
                good,
                len(data) - good,
            )
            os.ftruncate(self._file, good)
            os.fsync(self._file)
        self.size = good

    def _sync_directory(self) -> None:
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _frames(records: Sequence[Record]) -> bytes:
    parts: list[bytes] = []
    for record in records:
        payload = _encode(record)
        parts.append(_FRAME.pack(len(payload), zlib.crc32(payload)))
        parts.append(payload)
    return b"".join(parts)


def _payload(data: bytes, at: int) -> memoryview | None:
    """The payload of the frame at `at`; None when there is no whole, good frame.

    A file that has grown before its last page was written ends in zeros: those would be an empty payload with the right
    sum, and no record is empty.
    """
    if at + _FRAME.size > len(data):
        return None
    length, crc = _FRAME.unpack_from(data, at)
    begin = at + _FRAME.size
    payload = memoryview(data)[begin : begin + length]
    if not 0 < length <= _LONGEST or len(payload) < length or zlib.crc32(payload) != crc:
        return None
    return payload
