"""The last known routes on disk: what a node serves that starts while Redis is away."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Final

import msgspec

from routing.view import RouteView

MAGIC: Final = b"VGROUTES1"


class SnapshotError(Exception):
    """The file cannot be used; the message says why."""


class _Content(msgspec.Struct):
    epoch: str
    revision: int
    numbers: dict[str, bytes]
    agents: dict[str, bytes]


def save(path: Path, view: RouteView) -> None:
    """Write the view, whole or not at all. Blocks: call it in a thread. Raises OSError."""
    numbers, agents = view.tables()
    body = msgspec.msgpack.encode(_Content(view.epoch, view.revision, numbers, agents))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(MAGIC + zlib.crc32(body).to_bytes(4, "big"))
        file.write(body)
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
    head = len(MAGIC) + 4
    if not data.startswith(MAGIC) or zlib.crc32(data[head:]).to_bytes(4, "big") != data[len(MAGIC) : head]:
        raise SnapshotError(f"{path} is damaged or of another version; it is ignored")
    try:
        content = msgspec.msgpack.decode(memoryview(data)[head:], type=_Content)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"{path} cannot be decoded ({error}); it is ignored") from None
    view = RouteView(content.epoch, content.revision)
    view.fill(content.numbers, content.agents)
    return view
