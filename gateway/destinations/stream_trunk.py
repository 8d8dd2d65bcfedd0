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
from typing import Any, Final

import aiohttp

from gateway.destinations.agent_socket import CLOSE_SECONDS, AgentSocket, AgentWeb, HttpAgentWeb
from gateway.destinations.remote_control import RemoteControls
from gateway.media.playout_buffer import PREFILL
from gateway.media.session import AudioSession
from routing.models import Endpoint

DNS_SECONDS: Final = 30
"""For which an agent's address is remembered: a call does not wait for DNS, a moved agent is found again."""


def _uncounted(session: AudioSession) -> None:
    """Where nobody counts."""


class TrustError(Exception):
    """Certificates cannot be read; the message says which."""


@dataclass(slots=True)
class StreamTrunk:
    """What every agent on a WebSocket is reached through; one for the whole gateway.

    web: where agents' WebSockets come from; see `open_web`.
    controls: by which agents' frameworks end and move their calls over HTTP.
    first_audio_timeout: seconds within which an agent must have said something; 0 for never.
    prefill: seconds that what an agent says is held back at first.
    on_session_over: hears of each session when it is over, to count what became of its audio.
    """

    web: AgentWeb
    controls: RemoteControls
    first_audio_timeout: float = 0.0
    prefill: float = PREFILL
    on_session_over: Callable[[AudioSession], None] = _uncounted
    _closing: set[asyncio.Task[Any]] = field(default_factory=set)

    async def connect(self, endpoint: Endpoint, traceparent: str = "") -> AgentSocket:
        """Shake hands. Raises aiohttp.ClientError, OSError, ValueError; give it a time limit.

        traceparent: what the agent is told of the call's trace, if it has one.
        """
        headers = handshake_headers(endpoint)
        if traceparent:
            headers["traceparent"] = traceparent
        return await self.web.open_socket(endpoint.url, headers)

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
        await self.web.close()


def open_web(trusted: ssl.SSLContext) -> HttpAgentWeb:
    """Agents by way of an HTTP client, inside of a running loop. trusted: whose certificates are believed."""
    return HttpAgentWeb(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=DNS_SECONDS, ssl=trusted),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
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
