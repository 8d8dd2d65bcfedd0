"""Where a URI leads: transport, address and port (RFC 3263, without NAPTR and SRV).

Agents are named by address, or by a name with A or AAAA records; a port and a transport are in the URI or
have RFC 3261's defaults. The system's resolver does the asking, so /etc/hosts and cluster DNS work; as it
tells no time to live, an answer counts for a fixed time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from gateway.sip.addresses import is_ip_literal
from gateway.sip.flow import Flow
from gateway.sip.response_path import default_port
from gateway.sip.uri import SipUri, UriError, parse_uri

LIFETIME = 30.0
"""Seconds that an answer counts: what cluster DNS gives its records, and soon enough for a moved agent."""

TIMEOUT = 2.0
"""Seconds to wait for an answer: a caller waits too. A late answer still serves the next call."""

KNOWN_NAMES = 1024
"""Names remembered; agents have far fewer, so the oldest going first costs nothing."""


class ResolveError(OSError):
    """A URI leads nowhere; the message says why, fit for a log line."""


@dataclass(frozen=True, slots=True)
class _Answer:
    addresses: tuple[str, ...]
    expires_at: float


class Resolver:
    """Resolves URIs, with a cache. Belongs to one event loop."""

    def __init__(self, *, lifetime: float = LIFETIME, timeout: float = TIMEOUT) -> None:
        """Args: both in seconds, see `LIFETIME` and `TIMEOUT`."""
        self._lifetime = lifetime
        self._timeout = timeout
        self._answers: dict[str, _Answer] = {}
        self._asking: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def resolve(self, uri: str) -> tuple[Flow, ...]:
        """Return the ways to the host of a sip URI, best first; channels are 0.

        Raises:
            ResolveError: no sip URI, a transport that we do not have, a name unknown or not answered in time.

        """
        target, transport = _destination(uri)
        host = target.param("maddr") or target.host
        port = target.port or default_port(transport)
        # A TLS server must prove the name that was asked for, not what DNS makes of it (RFC 5922 §7.3).
        name = target.host.lower().rstrip(".") if transport == "tls" else ""
        addresses = (host,) if is_ip_literal(host) else await self._addresses(host.lower().rstrip("."))
        return tuple(Flow(transport, address, port, 0, name) for address in addresses)

    def recall(self, host: str) -> str | None:
        """The first address of a name that was resolved before, however long ago; None if it never was."""
        answer = self._answers.get(host.lower().rstrip("."))
        return answer.addresses[0] if answer else None

    async def _addresses(self, name: str) -> tuple[str, ...]:
        known = self._answers.get(name)
        if known is not None and asyncio.get_running_loop().time() < known.expires_at:
            return known.addresses
        # Everybody who needs a name waits for one question, so that a dead DNS holds up one thread for each.
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.create_task(self._ask(name))
            asking.add_done_callback(self._forget(name))
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.shield(asking)
        except TimeoutError:
            fault = f"no answer for {name} within {self._timeout:g} s"
        except socket.gaierror as error:
            fault = f"{name}: {error.strerror}"
        except (OSError, UnicodeError) as error:
            fault = f"{name}: {error}"
        if known is not None:  # an old address is better than none (RFC 8767)
            return known.addresses
        raise ResolveError(fault)

    async def _ask(self, name: str) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        addresses = tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        self._answers.pop(name, None)
        if len(self._answers) >= KNOWN_NAMES:
            del self._answers[next(iter(self._answers))]
        self._answers[name] = _Answer(addresses, loop.time() + self._lifetime)
        return addresses

    def _forget(self, name: str) -> Callable[[asyncio.Task[tuple[str, ...]]], None]:
        def forget(task: asyncio.Task[tuple[str, ...]]) -> None:
            del self._asking[name]
            if not task.cancelled():
                task.exception()  # seen, even if everybody who waited has gone

        return forget


@lru_cache(KNOWN_NAMES)
def _destination(uri: str) -> tuple[SipUri, str]:
    try:
        target = parse_uri(uri)
    except UriError as error:
        raise ResolveError(f"{uri}: {error.reason}") from None
    if not isinstance(target, SipUri):
        raise ResolveError(f"{uri}: {target.scheme} URIs lead to no host that we can send to")
    transport = (target.param("transport") or ("tls" if target.scheme == "sips" else "udp")).lower()
    if transport not in {"udp", "tcp", "tls"}:
        raise ResolveError(f'{uri}: we do not speak transport "{transport}"')
    if target.scheme == "sips":
        if transport == "udp":
            raise ResolveError(f"{uri}: a sips URI cannot be reached over UDP")
        transport = "tls"  # sips with transport=tcp is TLS over TCP (RFC 3261 §26.2.2)
    return target, transport
