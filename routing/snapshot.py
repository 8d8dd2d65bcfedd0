"""The last known routes on disk: what a node serves that starts while Redis is away.

A file is `MAGIC` and frames: length and CRC-32 of the body, four bytes each, big-endian, then the body in
MessagePack. The first frame says which data set it is; the others hold records; an empty one ends the file.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Literal

import msgspec

from routing.cache import Change
from routing.view import RouteView

MAGIC: Final = b"VGROUTES3"

PAUSE: Final = 0.001
"""Seconds between frames: encoding one holds the interpreter for about as long, and calls go first."""

_FRAME_HEAD: Final = 8


class SnapshotError(Exception):
    """The file cannot be used; the message says why."""


class _Head(msgspec.Struct):
    epoch: str
    revision: int
    mark: str


class _Part(msgspec.Struct, array_like=True):
    kind: Literal["number", "agent"]
    records: dict[str, bytes]


def save(path: Path, view: RouteView) -> None:
    """Write the view, whole or not at all. Blocks: call it in a thread. Raises OSError.

    Changes applied meanwhile may be in it or not: following the log from its revision on brings them again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(MAGIC)
        _put(file, msgspec.msgpack.encode(_Head(view.epoch, view.revision, view.mark)))
        for kind, records in view.parts():
            _put(file, msgspec.msgpack.encode(_Part(kind, records)))
            time.sleep(PAUSE)
        _put(file, b"")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load(path: Path) -> RouteView | None:
    """Read a view; None if there is no file. Blocks: call it in a thread.

    Raises:
        SnapshotError: it is damaged or of another version.
        OSError: it cannot be read.

    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        frames = _frames(memoryview(data))
        head = msgspec.msgpack.decode(next(frames), type=_Head)
        view = RouteView(head.epoch, head.revision, head.mark)
        for body in frames:
            part = msgspec.msgpack.decode(body, type=_Part)
            for key, value in part.records.items():
                view.apply(Change(part.kind, key, value))
    except (ValueError, msgspec.DecodeError, StopIteration):
        raise SnapshotError(f"{path} is damaged or of another version; it is ignored") from None
    return view


def _put(file: IO[bytes], body: bytes) -> None:
    file.write(len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big"))
    file.write(body)


def _frames(data: memoryview) -> Iterator[memoryview]:
    """Bodies of all frames but the empty one at the end. Raises ValueError if there is no such file."""
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise ValueError("not a snapshot")
    at = len(MAGIC)
    while True:
        body_at = at + _FRAME_HEAD
        length, checksum = (int.from_bytes(data[i : i + 4], "big") for i in (at, at + 4))
        at = body_at + length
        body = data[body_at:at]
        if body_at > len(data) or len(body) != length or zlib.crc32(body) != checksum:
            raise ValueError("a frame is damaged")
        if not length:
            break
        yield body
    if at != len(data):
        raise ValueError("more than a snapshot")
