"""How agents are reached over WebSocket: one HTTP client for all of them, and the clocks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import aiohttp

from gateway.destinations.remote_control import RemoteControls
from gateway.media.playout_buffer import PREFILL
from gateway.media.session import AudioSession
from routing.models import Endpoint

DNS_SECONDS: Final = 30
"""For which an agent's address is remembered: a call does not wait for DNS, a moved agent is found again."""

MAX_MESSAGE: Final = 8 * 1024 * 1024
"""Bytes of one message: ten minutes of G.711 in base64. An agent that sends more at once is lost."""

HEARTBEAT_SECONDS: Final = 15.0
"""Between pings; an agent that answers none for half as long is gone, though its TCP connection stands."""

CLOSE_SECONDS: Final = 2.0
"""For the agent to answer the closing handshake; the caller does not wait for it."""


AgentSocket: TypeAlias = aiohttp.ClientWebSocketResponse[Literal[False]]
"""Gives texts as bytes: JSON is decoded from them, and a second copy would be made for nothing."""


def _uncounted(session: AudioSession) -> None:
    """Where nobody counts."""


class TrustError(Exception):
    """Certificates cannot be read; the message says which."""


@dataclass(slots=True)
class StreamTrunk:
    """What every agent on a WebSocket is reached through; one for the whole gateway.

    session: of HTTP; see `open_session`.
    controls: by which agents' frameworks end and move their calls over HTTP.
    first_audio_timeout: seconds within which an agent must have said something; 0 for never.
    prefill: seconds that what an agent says is held back at first.
    on_session_over: hears of each session when it is over, to count what became of its audio.
    """

    session: aiohttp.ClientSession
    controls: RemoteControls
    first_audio_timeout: float = 0.0
    prefill: float = PREFILL
    on_session_over: Callable[[AudioSession], None] = _uncounted
    _closing: set[asyncio.Task[Any]] = field(default_factory=set)

    async def connect(self, endpoint: Endpoint, traceparent: str = "") -> AgentSocket:
        """Shake hands; texts come undecoded. Raises aiohttp.ClientError, OSError; give it a time limit.

        traceparent: what the agent is told of the call's trace, if it has one.
        """
        return await self.session.ws_connect(
            endpoint.url,
            headers=handshake_headers(endpoint) | ({"traceparent": traceparent} if traceparent else {}),
            max_msg_size=MAX_MESSAGE,
            heartbeat=HEARTBEAT_SECONDS,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
            decode_text=False,
        )

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Have a goodbye said to an agent while the call goes on; it must be bounded in time."""
        task = asyncio.ensure_future(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Wait for goodbyes that are being said, then close the client."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSE_SECONDS)
        for task in self._closing:
            task.cancel()
        await self.session.close()


def open_session(trusted: ssl.SSLContext) -> aiohttp.ClientSession:
    """The HTTP client, inside of a running loop. trusted: whose certificates are believed."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=DNS_SECONDS, ssl=trusted),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
    )


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Whose certificates are believed: the system's, and those in this PEM file. Blocking.

    Raises:
        TrustError: the file is missing or holds none.

    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TrustError(f"{ca_file}: {getattr(error, 'strerror', None) or error}") from None
    return context


def handshake_headers(endpoint: Endpoint) -> dict[str, str]:
    """The endpoint's own headers, and Twilio's signature if it has a token to sign with.

    Source: Twilio, "Webhooks security": base64 of HMAC-SHA1 over the URL, which has no parameters here.
    """
    headers = dict(endpoint.headers)
    if endpoint.auth_token is not None:
        digest = hmac.new(endpoint.auth_token.encode(), endpoint.url.encode(), hashlib.sha1)
        headers["X-Twilio-Signature"] = base64.b64encode(digest.digest()).decode("ascii")
    return headers
