"""Speech from an OpenAI-compatible endpoint (OpenAI, or a server of Piper, Kokoro, …)."""

from __future__ import annotations

import asyncio

import aiohttp

from gateway.speech.audio import decode_wav
from gateway.speech.errors import SpeechError, UnspeakableTextError
from gateway.speech.text import speakable

MAX_ANSWER = 32 * 1024 * 1024
"""Bytes of one answer: five minutes of 48 kHz audio, above what the longest text gives."""

_TEXT_REFUSED = frozenset({400, 413, 422})
"""Statuses that speak of this one request; any other is the endpoint's own trouble or a wrong
configuration."""


class HttpEngine:
    """See `Engine`.

    Args:
        url: of the server, without the path.
        key: bearer token, or empty. It appears in no message and no repr.
        model, voice: as the server names them; empty for its defaults, where it has any.
        timeout: seconds for a whole rendering.

    """

    name = "http"
    concurrency = 4

    def __init__(
        self, url: str, *, key: str = "", model: str = "", voice: str = "", timeout: float = 15.0
    ) -> None:
        self.identity = f"http:{url}:{model}:{voice}"
        self._endpoint = url.rstrip("/") + "/v1/audio/speech"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._choice = {name: value for name, value in (("model", model), ("voice", voice)) if value}
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def render(self, text: str) -> bytes:
        """See `Engine.render`."""
        body = {"input": speakable(text), "response_format": "wav", **self._choice}
        try:
            async with asyncio.timeout(self._timeout):
                wav = await self._post(body)
        except TimeoutError as error:
            raise SpeechError(
                f"{self._endpoint} took longer than {self._timeout:g} s; see speech.url"
            ) from error
        except (aiohttp.ClientError, ValueError) as error:  # ValueError: a URL that aiohttp cannot use
            raise SpeechError(f"{self._endpoint} failed ({type(error).__name__}); see speech.url") from error
        return await asyncio.to_thread(decode_wav, wav)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, body: dict[str, str]) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        async with self._session.post(self._endpoint, json=body, headers=self._headers) as response:
            if response.status in _TEXT_REFUSED:
                raise UnspeakableTextError(f"{self._endpoint} refused this text with {response.status}")
            if response.status != 200:
                raise SpeechError(
                    f"{self._endpoint} answered {response.status}; see speech.url and speech.key"
                )
            wav = bytearray()
            async for chunk in response.content.iter_any():
                wav += chunk
                if len(wav) > MAX_ANSWER:
                    raise SpeechError(f"{self._endpoint} sent more than {MAX_ANSWER} bytes; see speech.url")
            return bytes(wav)
