"""Asks under which address the world sees us, once, before anything listens."""

from __future__ import annotations

import asyncio
import secrets
import socket
from ipaddress import ip_address
from typing import Final

from aiohttp import ClientSession, DummyCookieJar

from gateway.nat.metadata import CLOUDS, SECONDS, MetadataError, public_address
from gateway.nat.stun import (
    RETRANSMIT_AFTER,
    TRANSACTION_BYTES,
    StunError,
    binding_request,
    mapped_address,
)

STUN: Final = "stun:"
DEFAULT_PORT: Final = 3478
LOOKUP_SECONDS: Final = 5.0
"""For the name of a STUN server to be resolved."""


class DiscoveryError(Exception):
    """No address was found; the message says who was asked and what came back."""


async def discover(source: str) -> str:
    """Our public address as an IP literal, within ten seconds.

    source: `stun:HOST` or `stun:HOST:PORT`, or the name of a cloud (`gateway.nat.metadata.CLOUDS`).

    Raises:
        DiscoveryError: see there.

    """
    found = await (_ask_stun(source) if source.startswith(STUN) else _ask_cloud(source))
    try:
        address = ip_address(found)
    except ValueError:
        raise DiscoveryError(f"{source}: {found!r} is no address") from None
    if address.is_unspecified or address.is_multicast:
        raise DiscoveryError(f"{source}: {found} is the address of no machine")
    return str(address)


async def _ask_cloud(name: str) -> str:
    cloud = CLOUDS.get(name)
    if cloud is None:
        raise DiscoveryError(f"{name}: known are {STUN}HOST, {', '.join(CLOUDS)}")
    try:
        async with asyncio.timeout(SECONDS), ClientSession(cookie_jar=DummyCookieJar()) as session:
            return await public_address(session, cloud)
    except TimeoutError:
        raise DiscoveryError(f"{name}: no answer from its metadata service") from None
    except MetadataError as error:
        raise DiscoveryError(f"{name}: {error}") from error


async def _ask_stun(source: str) -> str:
    host, port = stun_server(source)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError) as error:
        raise DiscoveryError(f"{source}: cannot resolve {host}: {str(error) or 'no answer'}") from error
    transaction = secrets.token_bytes(TRANSACTION_BYTES)
    try:
        transport, question = await loop.create_datagram_endpoint(
            lambda: _Question(transaction), remote_addr=(str(found[0][4][0]), port)
        )
    except OSError as error:
        raise DiscoveryError(f"{source}: {error.strerror or error}") from error
    try:
        for patience in RETRANSMIT_AFTER:
            transport.sendto(binding_request(transaction))
            try:
                return await asyncio.wait_for(asyncio.shield(question.answer), patience)
            except TimeoutError:
                continue
        raise DiscoveryError(f"{source}: no answer")
    except (StunError, OSError) as error:
        raise DiscoveryError(f"{source}: {error}") from error
    finally:
        transport.close()
        question.answer.cancel()


def stun_server(source: str) -> tuple[str, int]:
    """Host and port of `stun:HOST[:PORT]`, IPv6 in brackets. Raises DiscoveryError."""
    text = source.removeprefix(STUN)
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise DiscoveryError(f"{source}: write it as stun:HOST or stun:HOST:PORT")
    return host, int(port)


class _Question(asyncio.DatagramProtocol):
    """One transaction; datagrams that are no answer to it are passed over, as a stranger may send them."""

    def __init__(self, transaction: bytes) -> None:
        self._transaction = transaction
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str | bytes, int]) -> None:
        if self.answer.done():
            return
        try:
            self.answer.set_result(mapped_address(data, self._transaction))
        except StunError as error:
            if self._transaction in data[:20]:  # it does answer our question
                self.answer.set_exception(error)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(OSError("nothing listens there"))
