"""Objects as files below a directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from storage.objects import (
    CHUNK,
    InvalidKey,
    InvalidRange,
    ObjectInfo,
    ObjectNotFound,
    StorageError,
    check_key,
    content_type,
)

OPERATION_SECONDS: Final = 30.0
"""For one file operation; network disks stall, and whoever asked has to hear of it."""

COPY_SECONDS: Final = 600.0
"""For copying one file from another disk; a recording of four hours has 460 MB."""

THREADS: Final = 2
"""Of our own: a stalled disk takes these, not those that everything else needs."""

LISTED_AT_ONCE: Final = 500
"""Files looked at in one go of a thread."""

T = TypeVar("T")


class LocalStore:
    """An `ObjectStore` in a directory, which is made when something is put there.

    A file that lies where its object belongs is kept in place; one on the same disk is linked, not copied.

    Args:
        directory: where objects are. What a link within it leads out of it to is not ours, and not served.

    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.place = str(directory)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")

    async def put(self, key: str, source: Path) -> ObjectInfo:
        """See `ObjectStore`."""
        check_key(key)
        return await self._run(lambda: self._put(key, source), COPY_SECONDS)

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `ObjectStore`. Nothing is open between two pieces: a reader who goes away leaves nothing."""
        check_key(key)
        etag, at, stop = "", start, end
        while stop is None or at < stop or not etag:
            info, piece = await self._run(partial(self._piece, key, at, stop))
            if etag and info.etag != etag:
                raise StorageError(f"{key!r} changed while it was read")
            if not etag:
                if not 0 <= start < max(info.size, 1) or (end is not None and end <= start):
                    raise InvalidRange(key, info.size)
                stop = info.size if end is None else min(end, info.size)
            etag = info.etag
            if not piece:
                return
            at += len(piece)
            yield piece

    async def head(self, key: str) -> ObjectInfo:
        """See `ObjectStore`."""
        check_key(key)
        return await self._run(lambda: self._head(key))

    async def delete(self, key: str) -> None:
        """See `ObjectStore`. The directory that becomes empty goes, too."""
        check_key(key)
        await self._run(lambda: self._delete(key))

    async def list(self, directory: str = "") -> AsyncIterator[ObjectInfo]:
        """See `ObjectStore`."""
        if directory:
            check_key(directory)
        found = self._walk(directory)
        while batch := await self._run(lambda: tuple(islice(found, LISTED_AT_ONCE))):
            for info in batch:
                yield info

    async def close(self) -> None:
        """See `ObjectStore`."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, operation: Callable[[], T], seconds: float = OPERATION_SECONDS) -> T:
        """Run it in a thread of ours; foreign errors become ours here."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._threads, operation)
        except TimeoutError:
            raise StorageError(f"{self.place}: the disk has not answered for {seconds:g} s") from None
        except OSError as error:
            raise StorageError(f"{error.filename or self.place}: {error.strerror or error}") from error
        except RuntimeError as error:  # the pool is shut down
            raise StorageError(f"{self.place}: closed") from error

    # In a thread:

    def _path(self, key: str) -> Path:
        path = self.directory / key
        if not path.resolve().is_relative_to(self.directory.resolve()):
            raise InvalidKey(f"{key!r} leads out of {self.place}")
        return path

    def _info(self, key: str, found: os.stat_result) -> ObjectInfo:
        if not stat.S_ISREG(found.st_mode):
            raise ObjectNotFound(key)
        etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        return ObjectInfo(key, found.st_size, content_type(key), etag, found.st_mtime)

    def _head(self, key: str) -> ObjectInfo:
        try:
            return self._info(key, self._path(key).stat())
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectNotFound(key) from None

    def _put(self, key: str, source: Path) -> ObjectInfo:
        target = self._path(key)
        if not (target.exists() and target.samefile(source)):
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{secrets.token_hex(8)}.draft")
            try:
                _link_or_copy(source, draft)
                draft.replace(target)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
        return self._info(key, target.stat())

    def _piece(self, key: str, start: int, end: int | None) -> tuple[ObjectInfo, bytes]:
        try:
            with self._path(key).open("rb", buffering=0) as file:
                info = self._info(key, os.fstat(file.fileno()))
                wanted = CHUNK if end is None else min(CHUNK, max(end - start, 0))
                return info, os.pread(file.fileno(), wanted, max(start, 0))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectNotFound(key) from None

    def _delete(self, key: str) -> None:
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        if path.parent != self.directory:
            with contextlib.suppress(OSError):  # not empty, or gone already
                path.parent.rmdir()

    def _walk(self, directory: str) -> Iterator[ObjectInfo]:
        """By key: a directory stands where its name with the slash would."""
        top = self._path(directory) if directory else self.directory
        try:
            entries = sorted(
                (f"{entry.name}/" if entry.is_dir() else entry.name) for entry in os.scandir(top)
            )
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in entries:
            key = f"{directory}/{name}" if directory else name
            try:
                check_key(key.removesuffix("/"))
                if name.endswith("/"):
                    yield from self._walk(key.removesuffix("/"))
                else:
                    yield self._head(key)
            except (InvalidKey, ObjectNotFound):
                continue  # not ours, or gone meanwhile


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
