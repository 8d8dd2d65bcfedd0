"""Traces on disk: segments of one directory, each a row of blocks; the oldest make room for new ones.

A block is a header (its length, the times of its first and last entry) and a MessagePack array of entries.
What a process that was killed left half-written at the end of a segment is passed over.

Everything here blocks, and is called in threads.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

SUFFIX: Final = ".trace"

PARTS: Final = 16
"""Segments that the room is divided into: deleting the oldest takes a sixteenth of what is kept."""

MAX_SEGMENTS: Final = 256
"""Files: each start begins one, however little it writes."""

MAX_BLOCK: Final = 64 * 1024 * 1024
"""Bytes of a block that are believed when one is read: a damaged header names anything. One that is written
has 256 messages, 82 kB each at most."""

_HEADER: Final = struct.Struct("!Idd")


class Entry(NamedTuple):
    """One message, or the head of one RTP packet.

    at: seconds since the epoch; out: we sent it.
    transport: ``udp``, ``tcp``, ``tls`` or ``rtp``; host, port: the peer's; local_host, local_port: ours.
    data: as it was on the wire, secrets starred out.
    """

    at: float
    out: bool
    transport: str
    host: str
    port: int
    local_host: str
    local_port: int
    data: bytes


class Block(NamedTuple):
    """Entries, encoded; first, last: their times, seconds since the epoch."""

    content: bytes
    first: float
    last: float


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[Entry])


def encode(entries: Sequence[Entry]) -> bytes:
    """The content of a block."""
    return _encoder.encode(entries)


@dataclass(slots=True)
class _Segment:
    path: Path
    size: int
    last: float


class Segments:
    """The segments of one directory.

    Args:
        directory: made if it is missing.
        max_bytes: room for all of them.

    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segments: list[_Segment] = []
        self._number = 0

    def open(self) -> None:
        """Find what is there. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            if path.stem.isdigit():
                status = path.stat()
                self._segments.append(_Segment(path, status.st_size, status.st_mtime))
                self._number = int(path.stem)
        self._begin()

    def append(self, blocks: Sequence[Block]) -> None:
        """Write blocks: a file is opened for all that go into it. Raises OSError."""
        while blocks:
            blocks = blocks[self._append(blocks) :]

    def _append(self, blocks: Sequence[Block]) -> int:
        """Write into one segment what it has room for, one block at least; how many that were."""
        segment, room = self._segments[-1], self._max_bytes // PARTS
        if segment.size and segment.size + len(blocks[0].content) > room:
            segment = self._begin()
        with segment.path.open("ab") as file:
            for position, (content, first, last) in enumerate(blocks):
                if position and segment.size + len(content) > room:
                    return position
                file.write(_HEADER.pack(len(content), first, last) + content)
                segment.size += _HEADER.size + len(content)
                segment.last = max(segment.last, last)
        return len(blocks)

    def blocks(self, since: float, until: float) -> Iterator[bytes]:
        """The content of each block that may hold an entry of that time, oldest first."""
        for segment in tuple(self._segments):
            if segment.last >= since:
                yield from _blocks(segment.path, since, until)

    def _begin(self) -> _Segment:
        """A new segment, and room for it. After a start, too: the last one may end within a block."""
        self._number += 1
        segment = _Segment(self._directory / f"{self._number:08}{SUFFIX}", 0, 0.0)
        self._segments.append(segment)
        kept = sum(each.size for each in self._segments) + self._max_bytes // PARTS
        while len(self._segments) > 1 and (kept > self._max_bytes or len(self._segments) > MAX_SEGMENTS):
            oldest = self._segments.pop(0)
            kept -= oldest.size
            oldest.path.unlink(missing_ok=True)
        return segment


def decode(block: bytes) -> list[Entry]:
    """The entries of a block; none if it is damaged."""
    try:
        return _decoder.decode(block)
    except msgspec.DecodeError:
        return []


def _blocks(path: Path, since: float, until: float) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while len(header := file.read(_HEADER.size)) == _HEADER.size:
                length, first, last = _HEADER.unpack(header)
                if length > MAX_BLOCK:
                    return
                if last < since or first > until:
                    file.seek(length, 1)
                    continue
                block = file.read(length)
                if len(block) < length:
                    return
                yield block
    except FileNotFoundError:  # deleted meanwhile, to make room
        return
