"""Where recordings are: the places that the configuration names."""

from __future__ import annotations

from pathlib import Path

from gateway.config import Settings
from storage.objects import ObjectStore
from storage.opening import Credentials, from_url, parse_url


def local_directory(settings: Settings) -> Path:
    """Where recordings are written, and stay without another store."""
    return settings.voicemail.directory or settings.data.dir / "recordings"


def audio_directory(settings: Settings) -> Path | None:
    """Where finished audio is, if that is a directory. Raises StorageError for an URL that names nothing."""
    place = parse_url(settings.storage.url) if settings.storage.url else local_directory(settings)
    return place if isinstance(place, Path) else None


def open_store(settings: Settings) -> ObjectStore:
    """The store of finished recordings.

    Raises:
        StorageError: it cannot be used.

    """
    storage = settings.storage
    credentials = Credentials(storage.access_key_id, storage.secret_access_key.get_secret_value())
    return from_url(storage.url, local_directory(settings), credentials)
