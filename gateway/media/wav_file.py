"""A WAV file that is valid after every append, so that what a killed process leaves behind can be played."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from gateway.media.g711 import SAMPLE_RATE

HEADER_BYTES = 44


def wav_header(data_bytes: int, rate: int = SAMPLE_RATE) -> bytes:
    """The RIFF header before `data_bytes` bytes of PCM16 mono."""
    form = struct.pack("<4sI4s", b"RIFF", data_bytes + HEADER_BYTES - 8, b"WAVE")
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return form + layout + struct.pack("<4sI", b"data", data_bytes)


class WavFile:
    """PCM16 mono 8 kHz, append only. Blocking: belongs into an executor, one call at a time.

    Raises (every method): OSError.
    """

    __slots__ = ("_file", "data_bytes")

    def __init__(self, path: Path) -> None:
        """Create the file (it must not exist) and its directory."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("xb", buffering=0)
        self.data_bytes = 0
        self._write(0, wav_header(0))

    def append(self, pcm: bytes) -> None:
        """Write the samples, then their count: a cut in between loses only the newest samples."""
        self._write(HEADER_BYTES + self.data_bytes, pcm)
        self._write(0, wav_header(self.data_bytes + len(pcm)))
        self.data_bytes += len(pcm)

    def close(self) -> None:
        """Make it durable and close it."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _write(self, offset: int, data: bytes) -> None:
        self._file.seek(offset)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
