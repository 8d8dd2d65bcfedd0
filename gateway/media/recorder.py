"""Recording to disk beside the event loop: a call never waits for the disk, and never suffers from it."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.media.codecs import FRAMES_PER_SECOND, LINEAR, AudioCodec
from gateway.media.disk import Disk
from gateway.media.g711 import SAMPLE_RATE
from gateway.media.transcoder import converter
from gateway.media.wav_file import WavFile

FLUSH_SECONDS = 0.5
"""Written at a time: the most that a kill -9 costs."""

MAX_WAITING_SECONDS = 10
"""Audio kept in memory for a stalled disk: 160 kB a call of mono at 8 kHz. Beyond it the recording is given
up."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What came of it.

    path: the WAV file; seconds: of audio in it; error: why it is shorter than what was said, or None.
    """

    path: Path
    seconds: float
    error: OSError | None


class Recorder:
    """Writes a WAV file of PCM16 that can be played at any moment.

    Args:
        path: a new file; its directory is made.
        max_seconds: further audio is discarded.
        form: of what is written: each sample by itself, in one byte or two. What is no PCM16 is decoded
            where it is written, many frames at a time.
        channels: interleaved, of PCM16.
        min_free: bytes that must be free on the disk, or nothing is recorded.
        on_full: called once when that is reached.
        on_error: called once with the first error; after it everything is discarded, and nothing raises.
        disk: where file operations run; by default one of its own.

    """

    __slots__ = (
        "_bytes_per_second",
        "_channels",
        "_disk",
        "_error",
        "_file",
        "_finishing",
        "_flush_bytes",
        "_form",
        "_job",
        "_min_free",
        "_on_error",
        "_on_full",
        "_path",
        "_room",
        "_to_pcm",
        "_waiting",
    )

    def __init__(
        self,
        path: Path,
        *,
        max_seconds: float,
        on_full: Callable[[], None] = lambda: None,
        on_error: Callable[[OSError], None] = lambda error: None,
        form: AudioCodec = LINEAR[SAMPLE_RATE],
        channels: int = 1,
        min_free: int = 0,
        disk: Disk | None = None,
    ) -> None:
        if form.frame_bytes is None or not form.stateless:
            raise ValueError(f"{form.name} has no samples that stand by themselves")
        self._path = path
        self._form = form
        self._channels = channels
        self._to_pcm = converter(form, LINEAR[form.sample_rate])
        self._bytes_per_second = channels * form.frame_bytes * FRAMES_PER_SECOND
        self._flush_bytes = round(FLUSH_SECONDS * self._bytes_per_second)
        self._room = round(max_seconds * form.sample_rate) * self._bytes_per_second // form.sample_rate
        self._min_free = min_free
        self._on_full = on_full
        self._on_error = on_error
        self._disk = disk or Disk()
        self._waiting = bytearray()
        self._file: WavFile | None = None
        self._error: OSError | None = None
        self._finishing: asyncio.Future[None] | None = None
        self._job: asyncio.Future[None] | None = None
        self._start_job()  # the file is made at once, so that a full or missing disk is known before the tone

    def write(self, audio: bytes) -> None:
        """Take audio; it is on disk about half a second later. Never blocks, never raises."""
        room = self._room
        if room <= 0 or self._error is not None or self._finishing is not None:
            return
        waiting = self._waiting
        waiting += audio if len(audio) <= room else audio[:room]
        self._room = room = room - len(audio)
        if len(waiting) >= self._flush_bytes:
            if len(waiting) > MAX_WAITING_SECONDS * self._bytes_per_second:
                self._fail(OSError(f"the disk has taken nothing for {MAX_WAITING_SECONDS} s"))
            elif self._job is None:
                self._start_job()
        if room <= 0:
            self._on_full()

    @property
    def failed(self) -> bool:
        """Whether it was given up: the disk is full, gone or stalled."""
        return self._error is not None

    @property
    def _enough(self) -> bool:
        return len(self._waiting) >= self._flush_bytes

    async def close(self) -> Recording:
        """Write what is left and close the file. Idempotent; disk errors are in the result."""
        if self._finishing is None:
            self._finishing = asyncio.ensure_future(self._finish())
        await asyncio.shield(self._finishing)
        written = self._file.data_bytes if self._file else 0
        return Recording(self._path, written / (2 * self._channels * self._form.sample_rate), self._error)

    async def _finish(self) -> None:
        if self._job is not None:
            await asyncio.wait([self._job])
        try:
            await self._disk.run(self._close_file, bytes(self._waiting))
        except OSError as error:
            self._fail(error)

    def _start_job(self) -> None:
        chunk = bytes(self._waiting)
        self._waiting.clear()
        self._job = self._disk.run(self._append, chunk)
        self._job.add_done_callback(self._job_done)

    def _job_done(self, job: asyncio.Future[None]) -> None:
        self._job = None
        if job.cancelled():
            return
        try:
            job.result()
        except OSError as error:
            self._fail(error)
        else:
            if self._enough and self._finishing is None:
                self._start_job()

    def _fail(self, error: OSError) -> None:
        self._waiting.clear()
        if self._error is None:
            self._error = error
            self._on_error(error)

    # In the executor, one call at a time:

    def _append(self, audio: bytes) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._min_free and (free := shutil.disk_usage(self._path.parent).free) < self._min_free:
                raise OSError(
                    errno.ENOSPC, f"only {free >> 20} MiB are free, {self._min_free >> 20} are kept"
                )
            self._file = WavFile(self._path, self._form.sample_rate, self._channels)
        if audio:
            self._file.append(self._to_pcm(audio))

    def _close_file(self, rest: bytes) -> None:
        if self._file is None:
            return
        try:
            if rest:
                self._file.append(self._to_pcm(rest))
        finally:
            self._file.close()
