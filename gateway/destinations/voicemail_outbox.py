"""Voicemails on their way to the API: on disk until its store has them, so that none is ever lost.

A message has a file from the moment its recording begins. A gateway that is killed meanwhile finds it at its
next start, and tells of what was recorded until then. The API says by Redis what it has; what it has not is
offered again, more and more rarely, and the API knows a message that it has already by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from gateway.media.g711 import SAMPLE_RATE
from gateway.media.wav_file import HEADER_BYTES
from routing.call_events import VoicemailCreated
from routing.event_stream import BATCH, FAILURES, EventWriter

MAX_HELD: Final = 10_000
"""Messages whose state is in memory; further ones stay on disk until these are delivered."""

LOOK_SECONDS: Final = 1.0
"""Between questions to the API about messages that it was offered just now."""

PATIENCE: Final = 15.0
"""Seconds that the API is given for a message before it is looked for less often."""

SELDOM_SECONDS: Final = 15.0
"""Between looks then."""

AGAIN_SECONDS: Final = 60.0
LONGEST_PAUSE: Final = 3600.0
"""Seconds until a message is offered again, doubled each time, and their limit."""


class Entry(Struct, frozen=True):
    """A message's file.

    complete: its recording is over.
    recorder: the node, or its worker, that recorded it.
    """

    complete: bool
    message: VoicemailCreated
    recorder: str = ""


@dataclass(slots=True)
class _Offer:
    """Where a message stands. offered_at: None if not yet, in this process."""

    offered_at: float | None = None
    pause: float = AGAIN_SECONDS


_decoder: Final = msgspec.json.Decoder(Entry)

_Result = TypeVar("_Result")


class VoicemailOutbox:
    """Keeps messages until they have arrived.

    Args:
        directory: of the messages' files; made when the first one comes.
        recordings: the directory that messages' recordings are in.
        writer: brings events to Redis.
        min_seconds: a message with less is too short.
        recorder: who we are.
        abandoned: whether a recording under way, of that recorder, is nobody's any more.
        on_error: told what went wrong, in words.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        directory: Path,
        recordings: Path,
        writer: EventWriter,
        *,
        min_seconds: float,
        recorder: str = "",
        abandoned: Callable[[str], bool] = lambda recorder: True,
        on_error: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._recordings = recordings
        self._writer = writer
        self._min_seconds = min_seconds
        self._recorder = recorder
        self._abandoned = abandoned
        self._on_error = on_error
        self._clock = clock
        self._offers: dict[str, _Offer] = {}
        self._more_on_disk = False
        self._recording: set[str] = set()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "voicemail-outbox")  # one: files are written in order
        self._jobs: set[asyncio.Future[None]] = set()

    def begun(self, message: VoicemailCreated) -> None:
        """A recording begins. Never blocks; a disk that fails costs what a kill would lose, nothing else."""
        self._recording.add(message.voicemail_id)
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._thread, self._write, self._entry_of(message, complete=False))
        self._jobs.add(job)
        job.add_done_callback(self._begun)

    def _begun(self, job: asyncio.Future[None]) -> None:
        self._jobs.discard(job)
        if not job.cancelled() and (error := job.exception()) is not None:
            self._on_error(str(error))

    async def finished(self, message: VoicemailCreated) -> None:
        """A recording is over; its message is kept when this returns."""
        entry = self._entry_of(message, complete=True)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, entry)
        except OSError as error:
            self._on_error(str(error))
            self._writer.put(message)  # the best that is left
            return
        finally:
            self._recording.discard(message.voicemail_id)
        self._hold(message.voicemail_id)
        self._wake.set()

    async def recover(self) -> None:
        """Find what another process has left, before anybody moves its recordings."""
        await self._in_thread(self._recover)

    async def run(self) -> None:
        """Deliver until cancelled; `recover` first."""
        while True:
            if not self._offers and self._more_on_disk:
                await self._in_thread(self._load)
            if not self._offers:
                await self._wake.wait()
            self._wake.clear()
            try:
                await self._look()
            except FAILURES as error:
                self._on_error(str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    async def close(self) -> None:
        """Let go of the thread, once it has written what it was given."""
        await asyncio.to_thread(self._thread.shutdown)

    async def _look(self) -> None:
        """Forget what has arrived, offer what is due. Raises one of `FAILURES`."""
        offered = [each for each, offer in self._offers.items() if offer.offered_at is not None]
        for start in range(0, len(offered), BATCH):
            kept = await self._writer.kept(offered[start : start + BATCH])
            await self._in_thread(lambda: self._remove(kept))  # noqa: B023 - it runs now
            for each in kept:
                self._offers.pop(each, None)
        now = self._clock()
        due = [
            each
            for each, offer in self._offers.items()
            if offer.offered_at is None or now - offer.offered_at >= offer.pause
        ][:BATCH]
        messages = await self._in_thread(lambda: self._read(due))
        if messages:
            await self._writer.write(list(messages.values()))
        for each in due:
            if each not in messages:
                self._offers.pop(each, None)  # somebody has removed its file
                continue
            offer = self._offers[each]
            if offer.offered_at is not None:
                offer.pause = min(2 * offer.pause, LONGEST_PAUSE)
            offer.offered_at = now

    def _pause(self) -> float:
        now = self._clock()
        fresh = any(
            offer.offered_at is None or now - offer.offered_at < PATIENCE for offer in self._offers.values()
        )
        return LOOK_SECONDS if fresh else SELDOM_SECONDS

    def _hold(self, voicemail_id: str) -> None:
        if len(self._offers) < MAX_HELD:
            self._offers.setdefault(voicemail_id, _Offer())
        else:
            self._more_on_disk = True

    def _entry_of(self, message: VoicemailCreated, *, complete: bool) -> Entry:
        return Entry(complete=complete, message=message, recorder=self._recorder)

    def _path(self, voicemail_id: str) -> Path:
        return self._directory / f"{voicemail_id}.json"

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # In the thread:

    def _write(self, entry: Entry) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._path(entry.message.voicemail_id)
        draft = path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(entry))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def _remove(self, voicemail_ids: set[str]) -> None:
        for each in voicemail_ids:
            self._path(each).unlink(missing_ok=True)

    def _recover(self) -> None:
        """Complete what another process has left behind."""
        try:
            for path in sorted(self._directory.glob("*.json")):
                entry = self._entry(path)
                ours = path.stem in self._recording
                if entry is not None and not entry.complete and not ours and self._abandoned(entry.recorder):
                    self._complete(path, entry.message)
        except OSError as error:
            self._on_error(str(error))
        self._load()

    def _complete(self, path: Path, message: VoicemailCreated) -> None:
        try:
            size = (self._recordings / message.recording_key).stat().st_size
        except OSError:
            path.unlink(missing_ok=True)  # killed before there was any audio
            return
        seconds = round(max(0, size - HEADER_BYTES) / 2 / SAMPLE_RATE, 3)
        message = msgspec.structs.replace(
            message,
            duration_seconds=seconds,
            speech_seconds=seconds,  # nobody has counted; rather too much than a message overlooked
            too_short=seconds < self._min_seconds,
        )
        self._write(self._entry_of(message, complete=True))

    def _load(self) -> None:
        self._more_on_disk = False
        try:
            for path in sorted(self._directory.glob("*.json")):
                entry = self._entry(path)
                if entry is not None and entry.complete:
                    self._hold(entry.message.voicemail_id)
        except OSError as error:
            self._on_error(str(error))

    def _read(self, voicemail_ids: list[str]) -> dict[str, VoicemailCreated]:
        entries = ((each, self._entry(self._path(each))) for each in voicemail_ids)
        return {each: entry.message for each, entry in entries if entry is not None}

    def _entry(self, path: Path) -> Entry | None:
        """What a file says; None for one that is gone, or no file of ours."""
        try:
            return _decoder.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            self._on_error(f"{path} is damaged: {error}")
            path.replace(path.with_suffix(".damaged"))
            return None
