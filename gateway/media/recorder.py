"""Recording to disk beside the event loop: a call never waits for the disk, and never suffers from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from gateway.media.g711 import SAMPLE_RATE
from gateway.media.wav_file import WavFile

BYTES_PER_SECOND = 2 * SAMPLE_RATE

FLUSH_BYTES = BYTES_PER_SECOND // 2
"""Half a second is written at a time: the most that a kill -9 costs."""

MAX_WAITING = 10 * BYTES_PER_SECOND
"""Audio kept in memory for a stalled disk: ten seconds, 160 kB a call. Beyond it the recording is given
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
    """Writes PCM16 mono 8 kHz into a WAV file that can be played at any moment.

    Args:
        path: a new file; its directory is made.
        max_seconds: further audio is discarded.
        on_full: called once when that is reached.
        on_error: called once with the first error; after it everything is discarded, and nothing raises.
        executor: where file operations run; by default the loop's own.

    """

    __slots__ = (
        "_error",
        "_executor",
        "_file",
        "_finishing",
        "_job",
        "_loop",
        "_on_error",
        "_on_full",
        "_path",
        "_room",
        "_waiting",
    )

    def __init__(
        self,
        path: Path,
        *,
        max_seconds: float,
        on_full: Callable[[], None] = lambda: None,
        on_error: Callable[[OSError], None] = lambda error: None,
        executor: Executor | None = None,
    ) -> None:
        self._path = path
        self._room = round(max_seconds * SAMPLE_RATE) * 2
        self._on_full = on_full
        self._on_error = on_error
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._file: WavFile | None = None
        self._error: OSError | None = None
        self._finishing: asyncio.Future[None] | None = None
        self._job: asyncio.Future[None] | None = None
        self._start_job()  # the file is made at once, so that a full or missing disk is known before the tone

    def write(self, pcm: bytes) -> None:
        """Take audio; it is on disk about half a second later. Never blocks, never raises."""
        if self._room <= 0 or self._error is not None or self._finishing is not None:
            return
        self._waiting += pcm[: self._room]
        self._room -= len(pcm)
        if len(self._waiting) > MAX_WAITING:
            self._fail(OSError(f"the disk has taken nothing for {MAX_WAITING // BYTES_PER_SECOND} s"))
        elif len(self._waiting) >= FLUSH_BYTES and self._job is None:
            self._start_job()
        if self._room <= 0:
            self._on_full()

    async def close(self) -> Recording:
        """Write what is left and close the file. Idempotent; disk errors are in the result."""
        if self._finishing is None:
            self._finishing = asyncio.ensure_future(self._finish())
        await asyncio.shield(self._finishing)
        return Recording(
            self._path, self._file.data_bytes / BYTES_PER_SECOND if self._file else 0.0, self._error
        )

    async def _finish(self) -> None:
        if self._job is not None:
            await asyncio.wait([self._job])
        try:
            await self._loop.run_in_executor(self._executor, self._close_file, bytes(self._waiting))
        except OSError as error:
            self._fail(error)

    def _start_job(self) -> None:
        chunk = bytes(self._waiting)
        self._waiting.clear()
        self._job = self._loop.run_in_executor(self._executor, self._append, chunk)
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
            if len(self._waiting) >= FLUSH_BYTES and self._finishing is None:
                self._start_job()

    def _fail(self, error: OSError) -> None:
        self._waiting.clear()
        if self._error is None:
            self._error = error
            self._on_error(error)

    # In the executor, one call at a time:

    def _append(self, pcm: bytes) -> None:
        if self._file is None:
            self._file = WavFile(self._path)
        if pcm:
            self._file.append(pcm)

    def _close_file(self, rest: bytes) -> None:
        if self._file is None:
            return
        try:
            if rest:
                self._file.append(rest)
        finally:
            self._file.close()
