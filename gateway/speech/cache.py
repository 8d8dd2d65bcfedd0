"""Messages rendered before they are needed, and a default for when they cannot be.

Looked for in memory, on disk, and asked of the engine, in that order.
"""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.speech.engine import Engine
from gateway.speech.memory import MessageMemory
from gateway.speech.message import Encoder, RenderedMessage
from gateway.speech.render_queue import Priority, RenderQueue
from gateway.speech.store import MessageStore, message_key

DEFAULT_MESSAGE = Path(__file__).with_name("default_message.wav")

MEMORY_BYTES = 64 * 1024 * 1024
"""Some 150 messages of ten seconds with both encodings; more come from disk in a millisecond."""

DISK_BYTES = 1024 * 1024 * 1024
"""Some 6,000 messages of ten seconds."""

MAX_PREPARED = 10_000
"""Messages waiting to be prepared. More distinct ones than that are rendered when first called for."""


def _ignore(source: str, error: Exception) -> None:
    """What happens to errors that nobody asked for."""


class SpeechCache:
    """Serves rendered messages; `RenderQueue` says how rendering is ordered and what happens when it fails.

    Args:
        engine: renders what is not there yet; the cache closes it.
        directory: of the files; None keeps messages in memory only.
        encoders: by codec name; every message is encoded with each.
        memory_bytes: of messages in memory, encodings included.
        disk_bytes: of files.
        on_error: called with the engine's name (or ``"cache"`` for the disk) and the exception.

    """

    def __init__(
        self,
        engine: Engine,
        directory: Path | None,
        *,
        encoders: Mapping[str, Encoder],
        memory_bytes: int = MEMORY_BYTES,
        disk_bytes: int = DISK_BYTES,
        on_error: Callable[[str, Exception], None] = _ignore,
    ) -> None:
        self._engine = engine
        self._encoders = encoders
        self._on_error = on_error
        self._memory = MessageMemory(memory_bytes)
        self._store = MessageStore(directory, disk_bytes) if directory is not None else None
        self._store_failed = False
        self._default: RenderedMessage | None = None
        self._queue = RenderQueue(
            self._load,
            self._render,
            self._save,
            on_error=lambda error: on_error(engine.name, error),
            concurrency=engine.concurrency,
        )

    async def start(self) -> None:
        """Load the default message and begin to render what is queued. To be awaited before `get`.

        Raises:
            OSError: the package's default message is missing.

        """
        self._default = await asyncio.to_thread(_load_default, self._encoders)
        self._queue.start()

    async def close(self) -> None:
        """Stop rendering; whoever still waits gets the default."""
        await self._queue.close()
        await self._engine.close()

    @property
    def default(self) -> RenderedMessage:
        """The bundled message.

        Raises:
            RuntimeError: before `start`.

        """
        if self._default is None:
            raise RuntimeError("SpeechCache.start has not been awaited")
        return self._default

    @property
    def pending(self) -> int:
        """Messages that are being rendered, wait for it, or are to be tried again."""
        return len(self._queue)

    def prerender(self, text: str) -> None:
        """Have a message ready some time soon. Never blocks; does nothing for one that is ready or queued."""
        key = self._key(text)
        if key not in self._memory and len(self._queue) < MAX_PREPARED:
            self._queue.submit(key, text, Priority.PREPARE)

    def get_nowait(self, text: str) -> RenderedMessage | None:
        """The message, if it is in memory."""
        return self._memory.get(self._key(text))

    async def get(self, text: str, timeout: float) -> RenderedMessage:
        """The message, or the default one if it cannot be had within `timeout` seconds. Raises nothing."""
        key = self._key(text)
        message = self._memory.get(key)
        if message is not None:
            return message
        try:
            async with asyncio.timeout(timeout):
                return await self._queue.result(key, text) or self.default
        except TimeoutError:
            return self._memory.get(key) or self.default

    def _key(self, text: str) -> str:
        return message_key(self._engine.identity, text)

    async def _load(self, key: str) -> RenderedMessage | None:
        if self._store is None:
            return None
        try:
            pcm = await asyncio.to_thread(self._store.load, key)
        except OSError as error:
            self._report_store(error)
            return None
        return None if pcm is None else await self._remember(key, pcm)

    async def _render(self, key: str, text: str) -> RenderedMessage:
        return await self._remember(key, await self._engine.render(text))

    async def _save(self, key: str, message: RenderedMessage) -> None:
        if self._store is None:
            return
        try:
            await asyncio.to_thread(self._store.save, key, message.pcm)
        except OSError as error:
            self._report_store(error)
        else:
            self._store_failed = False

    async def _remember(self, key: str, pcm: bytes) -> RenderedMessage:
        message = await asyncio.to_thread(RenderedMessage, pcm, self._encoders)
        self._memory.put(key, message)
        return message

    def _report_store(self, error: OSError) -> None:
        """Once for each time that it begins to fail: a full disk fails for every message."""
        if not self._store_failed:
            self._store_failed = True
            self._on_error("cache", error)


def _load_default(encoders: Mapping[str, Encoder]) -> RenderedMessage:
    with wave.open(str(DEFAULT_MESSAGE), "rb") as file:
        return RenderedMessage(file.readframes(file.getnframes()), encoders, is_default=True)
