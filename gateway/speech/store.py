"""Rendered messages on disk: one WAV file each, named by the hash of what was rendered.

Blocking: belongs into an executor.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import wave
from contextlib import suppress
from pathlib import Path

from gateway.speech.audio import SAMPLE_RATE

PRUNE_TO = 0.9
"""After pruning, this part of the limit is in use, so that not every save prunes again."""


def message_key(identity: str, text: str) -> str:
    """The name of a rendering: SHA-256 over the engine's identity and the text, in hexadecimal."""
    return hashlib.sha256(f"{len(identity)}:{identity}{text}".encode("utf-8", "surrogatepass")).hexdigest()


class MessageStore:
    """A directory with a size limit; the least recently used messages go first. Processes may share it.

    Args:
        directory: made when first needed.
        max_bytes: of all files together.

    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._bytes: int | None = None

    def load(self, key: str) -> bytes | None:
        """PCM16 mono 8 kHz, or None if it is not there. A file that is no whole message is removed.

        Raises:
            OSError: the directory cannot be read.

        """
        path = self._path(key)
        try:
            with wave.open(str(path), "rb") as file:
                pcm = file.readframes(file.getnframes())
                whole = len(pcm) == 2 * file.getnframes() and file.getframerate() == SAMPLE_RATE
        except FileNotFoundError:
            return None
        except (wave.Error, EOFError):
            whole = False
        if not whole:
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):  # a read-only cache serves as well
            os.utime(path)
        return pcm

    def save(self, key: str, pcm: bytes) -> None:
        """Write a message so that a reader finds it whole or not at all, also after a crash.

        Raises:
            OSError: disk full, no permission, …

        """
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(suffix=".tmp", dir=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as raw:
                with wave.open(raw, "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(SAMPLE_RATE)
                    file.writeframes(pcm)
                raw.flush()
                os.fsync(raw.fileno())
            Path(name).replace(self._path(key))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._prune(len(pcm))

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.wav"

    def _prune(self, added: int) -> None:
        if self._bytes is not None and self._bytes + added <= self._max_bytes:
            self._bytes += added
            return
        files = []
        for path in self._directory.glob("*.wav"):
            with suppress(FileNotFoundError):  # another process prunes, too
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        files.sort()
        self._bytes = sum(size for _, size, _ in files)
        if self._bytes <= self._max_bytes:
            return
        for _, size, path in files:
            if self._bytes <= self._max_bytes * PRUNE_TO:
                break
            path.unlink(missing_ok=True)
            self._bytes -= size
