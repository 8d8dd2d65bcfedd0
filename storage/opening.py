"""Which store a configuration means."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from storage.local import LocalStore
from storage.objects import InvalidKey, ObjectStore, StorageError, check_key

QUERY_KEYS = {"endpoint", "region"}


class StorageUrlError(StorageError):
    """The URL names no store; says what to write."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retryable=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of an S3-compatible service; both empty: those of the environment or the machine (AWS's own chain)."""

    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What an ``s3://`` URL says."""

    name: str
    prefix: str
    endpoint: str
    region: str


def parse_url(url: str) -> Path | Bucket:
    """What a URL of a store means: a directory or a bucket.

    url: ``file:///srv/recordings``; ``s3://bucket/prefix?endpoint=https://…&region=…``.

    Raises:
        StorageUrlError: it is none of these.

    """
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise StorageUrlError(f"no URL of a store: {error}") from None
    if "@" in parts.netloc:
        raise StorageUrlError("keys do not belong into the URL: write access_key_id and secret_access_key")
    if parts.scheme == "file" and not parts.netloc and parts.path and not parts.query:
        return Path(unquote(parts.path))
    if parts.scheme != "s3" or not parts.netloc or parts.fragment:
        raise StorageUrlError(
            "write s3://bucket/prefix?endpoint=https://host&region=name, or file:///directory"
        )
    if unknown := query.keys() - QUERY_KEYS:
        raise StorageUrlError(f"{min(unknown)!r}: known after the question mark are endpoint and region")
    endpoint = query.get("endpoint", "")
    if endpoint and not endpoint.startswith(("https://", "http://")):
        raise StorageUrlError("endpoint: write it as https://host")
    prefix = unquote(parts.path).strip("/")
    try:
        return Bucket(parts.netloc, check_key(prefix) if prefix else "", endpoint, query.get("region", ""))
    except InvalidKey:
        raise StorageUrlError(f"{prefix!r}: a prefix has letters, digits, /, and ._=+-") from None


def from_url(url: str, local: Path, credentials: Credentials | None = None) -> ObjectStore:
    """Open a store.

    url: see `parse_url`; empty for the directory `local`.

    Raises:
        StorageUrlError: it names no store.
        StorageError: what it names cannot be used.

    """
    place = parse_url(url) if url else local
    if isinstance(place, Path):
        return LocalStore(place)
    from storage.s3 import S3Store  # its library is only loaded where it is used

    credentials = credentials or Credentials()
    return S3Store(
        place.name,
        place.prefix,
        endpoint=place.endpoint,
        region=place.region,
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key,
    )
