"""Sends one signed webhook, and to nobody inside: an address is looked at before it is connected to.

Whoever may make webhooks names addresses that this process connects to. Without a guard that would open
every service of the network behind us: hence the host's addresses are resolved here, private ones are
refused, and the connection goes to exactly the address that was looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

ATTEMPT_SECONDS: Final = 10.0
"""For connecting, sending and the answer's status."""

SIGNATURE: Final = "Voice-Gateway-Signature"
EVENT: Final = "Voice-Gateway-Event"
DELIVERY: Final = "Voice-Gateway-Delivery"

_TRANSLATED: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"))
"""IPv6 that leads to some IPv4 address (RFC 6052, RFC 3056)."""

PRIVATE: Final = "its address is not on the public internet (webhooks.allow_private)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. status: HTTP's, None without an answer; error: empty if it arrived."""

    status: int | None
    error: str


class PrivateAddressError(OSError):
    """The host is inside, or nobody's."""


class _Guarded(AbstractResolver):
    """Tells public addresses alone."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        """The public addresses of a host. Raises OSError."""
        found = await self._inner.resolve(host, port, family)
        public = [each for each in found if is_public(each["host"])]
        if not public:
            raise PrivateAddressError(PRIVATE)
        return public

    async def close(self) -> None:
        """Let go."""
        await self._inner.close()


class WebhookSender:
    """Sends.

    Args:
        allow_private: also to addresses that are not public.
        clock: seconds since the epoch.

    """

    def __init__(self, *, allow_private: bool, clock: Callable[[], float] = time.time) -> None:
        self.allow_private = allow_private
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def send(self, url: str, secret: str, event: str, delivery_id: str, body: bytes) -> Answer:
        """Make one attempt. Never raises, never takes longer than `ATTEMPT_SECONDS`, follows no redirect."""
        fault = url_fault(url, allow_private=self.allow_private)
        if fault:
            return Answer(None, fault)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "voice-gateway",
            SIGNATURE: signature(secret, int(self._clock()), body),
            EVENT: event,
            DELIVERY: delivery_id,
        }
        try:
            async with self._opened().post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                status = response.status
        except TimeoutError:
            return Answer(None, f"no answer within {ATTEMPT_SECONDS:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, _said(error))
        return Answer(status, "" if 200 <= status < 300 else f"answered {status}")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = None if self.allow_private else _Guarded()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=resolver, use_dns_cache=False, limit=0, force_close=True
                ),
                timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def signature(secret: str, at: int, body: bytes) -> str:
    """What the signature header says: the time, and the HMAC-SHA256 over time, dot and body.

    at: seconds since the epoch.
    """
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def is_public(host: str) -> bool:
    """Whether an address is one of the public internet."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    if any(address in network for network in _TRANSLATED if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


def url_fault(url: str, *, allow_private: bool) -> str:
    """Why nothing can be sent to an URL, as far as it tells by itself; empty if something can."""
    try:
        parsed = URL(url)
        host, _ = parsed.host, parsed.port
    except ValueError:
        return "is no URL"
    if parsed.scheme not in {"https", "http"} or not host:
        return "is no URL that begins with https:// and names a host"
    if parsed.user is not None or parsed.password is not None:
        return "holds a name or a password, which would be shown"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ""  # a name: looked at when it is resolved
    return "" if allow_private or is_public(host) else PRIVATE


def _said(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, PrivateAddressError) else error
    inner = getattr(cause, "os_error", cause)
    return str(getattr(inner, "strerror", None) or inner or type(error).__name__)[:300]
