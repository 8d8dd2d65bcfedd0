"""Objects in a bucket of an S3-compatible service (AWS, MinIO, R2, Ceph, …), by obstore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store as Bucket

from storage.objects import (
    CHUNK,
    InvalidRange,
    ObjectInfo,
    ObjectNotFound,
    StorageError,
    check_key,
    content_type,
)

CONNECT_SECONDS: Final = 5
REQUEST_SECONDS: Final = 30
"""For one request, or one part of a large file."""

RETRY_SECONDS: Final = 30
RETRIES: Final = 3
"""Of one request, within `RETRY_SECONDS`; what takes longer is the caller's to try again."""

OPERATION_SECONDS: Final = CONNECT_SECONDS + REQUEST_SECONDS + RETRY_SECONDS
"""For everything but uploads."""

SLOWEST_UPLOAD: Final = 50_000
"""Bytes a second; an upload gets the time that its size takes at this speed."""

PIECE: Final = 4 * CHUNK
"""Bytes asked for in one request while an object is read: a reader may be as slow as they like."""

PART_BYTES: Final = 8_388_608
"""Larger files go up in parts of this size, one or two in memory at a time (S3's least is 5 MiB)."""

PARTS_AT_ONCE: Final = 2

MAX_ERROR: Final = 300
"""Characters of a service's complaint that are passed on."""

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

T = TypeVar("T")


class S3Store:
    """An `ObjectStore` in a bucket.

    Args:
        bucket: which exists already.
        prefix: in front of every key; empty for none.
        endpoint: empty for AWS.
        region: empty for what the environment says, or us-east-1.
        access_key_id, secret_access_key: empty for AWS's own chain: environment, web identity, machine.

    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str = "",
        region: str = "",
        access_key_id: str = "",
        secret_access_key: str = "",
    ) -> None:
        self.place = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        config: S3Config = {}
        if endpoint:
            config["endpoint"] = endpoint
        if region:
            config["region"] = region
        if access_key_id:
            config["access_key_id"] = access_key_id
            config["secret_access_key"] = secret_access_key
        options: ClientConfig = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        }
        retries: RetryConfig = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}
        try:
            self._bucket = Bucket(
                bucket, prefix=prefix or None, config=config, client_options=options, retry_config=retries
            )
        except BaseError as error:
            raise StorageError(f"{self.place}: {_complaint(error)}", retryable=False) from None

    async def put(self, key: str, source: Path) -> ObjectInfo:
        """See `ObjectStore`."""
        check_key(key)
        try:
            size = (await asyncio.to_thread(source.stat)).st_size
            whole = await asyncio.to_thread(source.read_bytes) if size <= PART_BYTES else None
        except OSError as error:
            raise StorageError(f"{error.filename}: {error.strerror}") from error
        upload = obstore.put_async(
            self._bucket,
            key,
            _parts(source) if whole is None else whole,
            attributes={"Content-Type": content_type(key)},
            use_multipart=whole is None,
            chunk_size=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
        )
        await self._bounded(key, upload, OPERATION_SECONDS + size / SLOWEST_UPLOAD)
        return await self.head(key)

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `ObjectStore`."""
        check_key(key)
        info = await self.head(key)
        if not 0 <= start < max(info.size, 1) or (end is not None and end <= start):
            raise InvalidRange(key, info.size)
        stop = info.size if end is None else min(end, info.size)
        for at in range(start, stop, PIECE):
            piece = obstore.get_async(
                self._bucket, key, options={"range": (at, min(at + PIECE, stop)), "if_match": info.etag}
            )
            found = await self._bounded(key, piece)
            yield bytes(await self._bounded(key, found.bytes_async()))

    async def head(self, key: str) -> ObjectInfo:
        """See `ObjectStore`."""
        check_key(key)
        found = await self._bounded(key, obstore.get_async(self._bucket, key, options={"head": True}))
        meta = found.meta
        kind = found.attributes.get("Content-Type", content_type(key))
        return ObjectInfo(
            key, meta["size"], str(kind), meta["e_tag"] or '""', meta["last_modified"].timestamp()
        )

    async def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        check_key(key)
        try:
            await self._bounded(key, obstore.delete_async(self._bucket, key))
        except ObjectNotFound:
            return

    async def list(self, directory: str = "") -> AsyncIterator[ObjectInfo]:
        """See `ObjectStore`."""
        if directory:
            check_key(directory)
        with self._mapped(directory):
            batches = obstore.list(self._bucket, directory or None, chunk_size=500)
        while True:
            try:
                batch = await self._bounded(directory, anext(batches))
            except StopAsyncIteration:
                return
            for each in batch:
                key = each["path"]
                yield ObjectInfo(
                    key,
                    each["size"],
                    content_type(key),
                    each["e_tag"] or '""',
                    each["last_modified"].timestamp(),
                )

    async def close(self) -> None:
        """See `ObjectStore`: connections end with the object."""

    async def _bounded(self, key: str, doing: Awaitable[T], seconds: float = OPERATION_SECONDS) -> T:
        with self._mapped(key):
            async with asyncio.timeout(seconds):
                return await doing

    @contextmanager
    def _mapped(self, key: str) -> Iterator[None]:
        """Foreign errors become ours here."""
        try:
            yield
        except (NotFoundError, FileNotFoundError):
            raise ObjectNotFound(key) from None
        except (PermissionDeniedError, UnauthenticatedError, PermissionError):
            raise StorageError(
                f"{self.place}: access refused: check the keys and the bucket's policy", retryable=False
            ) from None
        except TimeoutError:
            raise StorageError(f"{self.place}: no answer in time") from None
        except (BaseError, OSError) as error:
            raise StorageError(f"{self.place}: {_complaint(error)}") from None


async def _parts(source: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(source.open, "rb")
    try:
        while part := await asyncio.to_thread(file.read, PART_BYTES):
            yield part
    finally:
        await asyncio.to_thread(file.close)


def _complaint(error: Exception) -> str:
    text = " ".join(str(error).split("Debug source:")[0].split())
    return text[:MAX_ERROR] or type(error).__name__
