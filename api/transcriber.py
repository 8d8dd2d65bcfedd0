"""Asks an OpenAI-compatible endpoint to write down what was said, with a time limit for everything."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import msgspec
from msgspec import Struct

MAX_AUDIO: Final = 25 * 1024 * 1024
"""Bytes of one message that are sent: as much as OpenAI takes, 27 minutes of a message's audio."""

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer that are read."""

MAX_TRANSCRIPT: Final = 20_000
"""Characters that are kept: more than anybody says in the longest message."""

REFUSED: Final = frozenset({400, 413, 415, 422})
"""Statuses that speak of this message; any other is the endpoint's own trouble, or a wrong configuration."""

_UNFIT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who writes down.

    url: of the server, without the path; key: a bearer token, empty for none; model: as the server names it.
    language: ISO 639-1, empty to let the server find out; timeout: seconds for a whole message.
    """

    url: str
    key: str = field(repr=False)
    model: str
    language: str
    timeout: float


class TranscriptionFailedError(Exception):
    """The endpoint did not write it down; the message holds nothing of it. retryable: it may later."""

    def __init__(self, text: str, *, retryable: bool) -> None:
        super().__init__(text)
        self.retryable = retryable


class _Answer(Struct):
    text: str


_decoder: Final = msgspec.json.Decoder(_Answer)


class Transcriber:
    """Asks.

    Args:
        endpoint: who writes down.

    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._address = endpoint.url.rstrip("/") + "/v1/audio/transcriptions"
        self._session: aiohttp.ClientSession | None = None

    async def transcript(self, name: str, audio: bytes, content_type: str) -> str:
        """What is said in a recording; empty if nothing is.

        name: of the file, whose suffix tells the server what it is.

        Raises:
            TranscriptionFailedError: saying whether trying again may help.

        """
        endpoint = self._endpoint
        form = aiohttp.FormData()
        form.add_field("model", endpoint.model)
        form.add_field("response_format", "json")
        if endpoint.language:
            form.add_field("language", endpoint.language)
        form.add_field("file", audio, filename=name, content_type=content_type)
        headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        try:
            async with (
                asyncio.timeout(endpoint.timeout),
                self._opened().post(
                    self._address, data=form, headers=headers, allow_redirects=False
                ) as response,
            ):
                if response.status != 200:
                    text = f"{self._address} answered {response.status}"
                    raise TranscriptionFailedError(text, retryable=response.status not in REFUSED)
                answer = await response.content.read(MAX_ANSWER)
                while len(answer) < MAX_ANSWER and (piece := await response.content.read(MAX_ANSWER)):
                    answer += piece
        except TimeoutError:
            text = f"{self._address} took longer than {endpoint.timeout:g} s"
            raise TranscriptionFailedError(text, retryable=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = f"{self._address} failed ({type(error).__name__})"
            raise TranscriptionFailedError(text, retryable=True) from None
        try:
            told = _decoder.decode(answer).text
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            text = f"{self._address} answered with something else than a transcript"
            raise TranscriptionFailedError(text, retryable=True) from None
        return _UNFIT.sub("", told).strip()[:MAX_TRANSCRIPT]

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session
