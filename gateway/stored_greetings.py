"""Uploaded greetings as a speech engine has them: what it is told to speak is the id of one.

So a `SpeechCache` with this engine keeps greetings in memory and on disk, fetches those that numbers and
agents refer to before anybody calls, and leaves a store that fails alone for a while.
"""

from __future__ import annotations

import asyncio

from gateway.speech.audio import SAMPLE_RATE, decode_wav
from gateway.speech.errors import SpeechError, UnspeakableTextError
from storage.greetings import greeting_key
from storage.objects import ObjectStore, StorageError

MAX_GREETING_SECONDS = 600
"""Of audio in the store, where others than the API may have put it; the API's are much shorter."""

MAX_GREETING_BYTES = 2 * SAMPLE_RATE * MAX_GREETING_SECONDS + 4096
"""Of a file: header and all."""

FETCH_SECONDS = 30.0
"""For one greeting to come out of its store."""


class StoredGreetings:
    """See `gateway.speech.engine.Engine`.

    Args:
        store: where the API has put them.

    """

    name = "greetings"
    identity = "greeting"
    concurrency = 2

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def render(self, text: str) -> bytes:
        """The audio of a greeting.

        Raises:
            UnspeakableTextError: there is none, or it is damaged; nobody asks again on its own account.
            SpeechError: the store does not give it away now.

        """
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                wav = await self._fetch(greeting_key(text))
        except TimeoutError:
            raise SpeechError(f"greeting {text}: the store took longer than {FETCH_SECONDS:g} s") from None
        except StorageError as error:
            kind = SpeechError if error.retryable else UnspeakableTextError
            raise kind(f"greeting {text}: {error}") from error
        try:
            return await asyncio.to_thread(decode_wav, wav)
        except SpeechError as error:
            raise UnspeakableTextError(f"greeting {text} is damaged: {error}") from error

    async def close(self) -> None:
        """Nothing is its own: the store is closed by whoever opened it."""

    async def _fetch(self, key: str) -> bytes:
        pieces, size = [], 0
        async for piece in self._store.read(key):
            size += len(piece)
            if size > MAX_GREETING_BYTES:
                raise StorageError(f"{key!r} is larger than {MAX_GREETING_BYTES} bytes", retryable=False)
            pieces.append(piece)
        return b"".join(pieces)
