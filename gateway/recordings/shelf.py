"""From a finished file to the store: nothing is lost on the way, and no call waits.

The local directory is the outbox: a recording stays there until the store has it, and is found there again
after a restart. Without another store it simply stays. What a killed process left behind, a recording without
its record, is given one and goes the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from gateway.recordings.names import recorded_at
from gateway.recordings.ogg import encode
from storage.local import LocalStore
from storage.objects import ObjectStore, StorageError

MAX_WAITING: Final = 10_000
"""Recordings remembered for the store; further ones lie in the directory, and are found when it is looked
through again."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
"""Seconds between tries while the store does not take anything; doubled each time."""

LOOK_SECONDS: Final = 600.0
"""Between two looks through the directory."""

ABANDONED_SECONDS: Final = 60.0
"""A recording that has no record and has not grown for so long belongs to nobody: those that are alive grow
every half second."""

WHOLE_CALL: Final = "-call"
"""At the end of a name: no voicemail message, but a recording of a whole call."""

log = structlog.get_logger("recordings")

Available = Callable[[str, dict[str, Any]], None]
"""Takes the key of a recording that the store has, and its record."""


class Shelf:
    """Brings finished recordings to the store.

    Args:
        directory: where they are written.
        store: where they belong; a `LocalStore` of the same directory leaves them there.
        looks: look through the directory for what others left there; one process of several does.
        form: what whole calls are kept as. Messages stay WAV files under the names that the API knows.
        on_available: hears of each one that is in its place; at least once.
        on_waiting: hears how many wait for the store.
        on_failure: hears of each try that failed.
        wall_clock: seconds since the epoch.

    """

    def __init__(
        self,
        directory: Path,
        store: ObjectStore,
        *,
        looks: bool = True,
        form: Literal["wav", "ogg"] = "wav",
        on_available: Available,
        on_waiting: Callable[[int], None] = lambda count: None,
        on_failure: Callable[[], None] = lambda: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._store = store
        self._stays = isinstance(store, LocalStore) and store.directory == directory
        self._local = store if isinstance(store, LocalStore) and self._stays else LocalStore(directory)
        self._looks = looks
        self._form = form
        self._on_available = on_available
        self._on_waiting = on_waiting
        self._on_failure = on_failure
        self._wall_clock = wall_clock
        self._waiting: dict[Path, None] = {}
        self._news = asyncio.Event()

    def take(self, path: Path) -> None:
        """A recording is finished, its record beside it."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting[path] = None
            self._on_waiting(len(self._waiting))
            self._news.set()

    async def run(self) -> None:
        """For ever; cancel it."""
        looked_at, pause = float("-inf"), FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            if self._looks and loop.time() >= looked_at + LOOK_SECONDS:
                looked_at = loop.time()
                with contextlib.suppress(StorageError):
                    await self._look()
            self._news.clear()
            if await self._carry():
                pause = FIRST_PAUSE
                wait = LOOK_SECONDS
            else:
                wait, pause = pause, min(2 * pause, LONGEST_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    # while the store is away new recordings do not hurry it
                    await (self._news.wait() if wait == LOOK_SECONDS else asyncio.sleep(wait))

    async def close(self) -> None:
        """Let go of threads; what waits is found at the next start."""
        if not self._stays:  # then it is the caller's store
            await self._local.close()

    async def _carry(self) -> bool:
        """Bring everything that waits to the store, until it takes no more; whether it took all."""
        for path in list(self._waiting):
            try:
                await self._put(path)
            except (StorageError, OSError) as error:
                self._on_failure()
                log.warning("recording not stored yet", error=str(error), place=self._store.place)
                del self._waiting[path]
                self._waiting[path] = (
                    None  # the next try begins with another one, should this one be the fault
                )
                return False
            del self._waiting[path]
            self._on_waiting(len(self._waiting))
        return True

    async def _put(self, path: Path) -> None:
        prepared = await asyncio.to_thread(self._prepare, path)
        if prepared is None:
            return  # it is there already: it was found twice
        audio, record = prepared
        key = audio.relative_to(self._directory).as_posix()
        beside = audio.with_suffix(".json")
        await self._store.put(key, audio)
        await self._store.put(beside.relative_to(self._directory).as_posix(), beside)
        if not self._stays:  # the audio first: alone, a record would be taken for a recording that waits
            await self._local.delete(key)
            await self._local.delete(beside.relative_to(self._directory).as_posix())
        log.info("recording available", key=key, call_id=record.get("call_id"), place=self._store.place)
        self._on_available(key, record)

    def _prepare(self, path: Path) -> tuple[Path, dict[str, Any]] | None:
        """The audio in its form, and the record that says so; in a thread."""
        record_path = path.with_suffix(".json")
        audio = path if path.exists() else path.with_suffix(".ogg")
        if not audio.exists():
            return None
        record = _read(record_path)
        if self._form == "ogg" and audio.suffix == ".wav" and audio.stem.endswith(WHOLE_CALL):
            try:
                audio = encode(path)
            except ValueError as error:
                log.error("recording stays as it is", error=str(error))
            else:
                record["recording"] = audio.name
                _write(record, record_path)
                path.unlink(missing_ok=True)
        if not record_path.exists():
            _write(record, record_path)
        return audio, record

    async def _look(self) -> None:
        """Find what waits in the directory, and what nobody finished."""
        records: set[str] = set()
        async for info in self._local.list():
            if recorded_at(info.key) is None:
                continue
            stem, _, end = info.key.rpartition(".")
            if end == "json":  # comes before its recording: the list is by key
                records = {each for each in records if each.startswith(stem[:10])} | {stem}
                continue
            path = self._directory / info.key
            if stem in records:
                if not self._stays:
                    self.take(path)
            elif self._wall_clock() - info.modified_at > ABANDONED_SECONDS:
                await asyncio.to_thread(_adopt, path)
                self.take(path)


def _adopt(path: Path) -> None:
    """Write the record of a recording that nobody finished."""
    name = path.stem[7:]
    seconds = 0.0
    with contextlib.suppress(OSError, EOFError, wave.Error), wave.open(str(path)) as file:
        seconds = file.getnframes() / file.getframerate()
    record = {
        "kind": "call" if name.endswith(WHOLE_CALL) else "voicemail",
        "call_id": name.removesuffix(WHOLE_CALL),
        "recording": path.name,
        "recorded_seconds": round(seconds, 3),
        "recording_error": "the gateway ended while it recorded",
    }
    _write(record, path.with_suffix(".json"))


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write(record: dict[str, Any], path: Path) -> None:
    draft = path.with_name(f".{path.stem}.record")
    draft.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
