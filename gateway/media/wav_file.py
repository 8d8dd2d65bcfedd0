"""A WAV file that is valid after every append, so that what a killed process leaves behind can be played."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

from gateway.media.g711 import SAMPLE_RATE

HEADER_BYTES = 44


def wav_header(data_bytes: int, rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    """The RIFF header before `data_bytes` bytes of PCM16."""
    frame = 2 * channels
    form = struct.pack("<4sI4s", b"RIFF", data_bytes + HEADER_BYTES - 8, b"WAVE")
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, frame * rate, frame, 16)
    return form + layout + struct.pack("<4sI", b"data", data_bytes)


def _create(path: Path) -> io.FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.open("xb", buffering=0)
    except FileNotFoundError:  # the directory was empty, and whoever tidies up was quicker
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb", buffering=0)


class WavFile:
    """PCM16, append only. Blocking: belongs into an executor, one call at a time.

    Raises (every method): OSError.
    """

    __slots__ = ("_channels", "_file", "_rate", "data_bytes")

    def __init__(self, path: Path, rate: int = SAMPLE_RATE, channels: int = 1) -> None:
        """Create the file (it must not exist) and its directory."""
        self._rate = rate
        self._channels = channels
        self._file = _create(path)
        self.data_bytes = 0
        self._write(0, wav_header(0, rate, channels))

    def append(self, pcm: bytes) -> None:
        """Write the samples, then their count: a cut in between loses only the newest samples."""
        self._write(HEADER_BYTES + self.data_bytes, pcm)
        self._write(0, wav_header(self.data_bytes + len(pcm), self._rate, self._channels))
        self.data_bytes += len(pcm)

    def close(self) -> None:
        """Make it durable and close it."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            view, offset = view[written:], offset + written


def shorten(path: Path, data_bytes: int) -> None:
    """Cut a file of ours off after so many bytes of samples; blocking.

    The header first: a cut in between leaves a file that is a little too long, and plays right.

    Raises:
        OSError: it cannot be written, or is not such a file.

    """
    with path.open("r+b") as file:
        header = file.read(HEADER_BYTES)
        if header[:4] != b"RIFF" or header[36:40] != b"data":
            raise OSError(f"{path} is no recording of ours")
        for offset, size in ((4, data_bytes + HEADER_BYTES - 8), (40, data_bytes)):
            file.seek(offset)
            file.write(struct.pack("<I", size))
        file.flush()
        file.truncate(HEADER_BYTES + data_bytes)
        os.fsync(file.fileno())
