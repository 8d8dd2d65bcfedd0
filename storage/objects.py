"""The seam: objects under keys, as much of an object store as recordings need."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

MAX_KEY: Final = 512
"""Characters; S3 takes 1,024 with the prefix in front."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]{0,199}")
"""No segment begins with a dot: no way up, and no hidden file."""

CHUNK: Final = 262_144
"""Bytes of an object in memory at a time while it is read."""

CONTENT_TYPES: Final = {".wav": "audio/wav", ".ogg": "audio/ogg", ".json": "application/json"}
"""Of what we keep, by the end of a key."""

OTHER_CONTENT_TYPE: Final = "application/octet-stream"


class StorageError(Exception):
    """The store did not do it.

    retryable: the same may work later; False when somebody has to change something first.
    """

    def __init__(self, text: str, *, retryable: bool = True) -> None:
        super().__init__(text)
        self.retryable = retryable


class InvalidKey(StorageError):  # noqa: N818 - named for what is so
    """No key of ours."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retryable=False)


class ObjectNotFound(StorageError):  # noqa: N818 - named for what is so
    """There is no such object, or not any more."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key!r}", retryable=False)


class InvalidRange(StorageError):  # noqa: N818 - named for what is so
    """The range begins at or after the object's end (HTTP: 416).

    size: of the object, bytes.
    """

    def __init__(self, key: str, size: int) -> None:
        super().__init__(f"{key!r} has {size} bytes", retryable=False)
        self.size = size


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object without reading it.

    size: bytes; content_type: a MIME type; etag: with its quotes, another one for other bytes;
    modified_at: seconds since the epoch.
    """

    key: str
    size: int
    content_type: str
    etag: str
    modified_at: float


class ObjectStore(Protocol):
    """Keeps objects. Every wait is bounded; every method can be cancelled.

    Keys are segments joined by ``/``, each of letters, digits and ``._=+-``, none beginning with a dot.

    Raises (every method): InvalidKey; StorageError, which says whether trying again may help.

    Attributes:
        place: where that is, for people; without secrets.

    """

    place: str

    async def put(self, key: str, source: Path) -> ObjectInfo:
        """Keep a file under a key, whole or not at all, in place of what was there. The file stays."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream the bytes from `start` up to, not including, `end`; None and beyond: to the last.

        Raises:
            ObjectNotFound: at the first piece, or later if it is deleted meanwhile.
            InvalidRange: `start` is not within the object, or `end` not after it.

        """

    async def head(self, key: str) -> ObjectInfo:
        """What is there.

        Raises:
            ObjectNotFound: nothing.

        """

    async def delete(self, key: str) -> None:
        """Delete it; that nothing is there is no error."""

    def list(self, directory: str = "") -> AsyncIterator[ObjectInfo]:
        """Everything below a directory (``2026-11-27``; empty: everything), by key."""

    async def close(self) -> None:
        """Let go of threads and connections. Idempotent."""


def check_key(key: str) -> str:
    """The key itself.

    Raises:
        InvalidKey: it is none.

    """
    if len(key) > MAX_KEY or not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        raise InvalidKey(f"no key of an object: {key[:MAX_KEY]!r}")
    return key


def content_type(key: str) -> str:
    """The MIME type of what stands under a key of ours."""
    return CONTENT_TYPES.get(PurePosixPath(key).suffix, OTHER_CONTENT_TYPE)
