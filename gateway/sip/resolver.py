"""The ways to the host of a URI: transport, address and port, best first (RFC 3263).

Addresses in the URI need nobody; names in /etc/hosts mean the addresses there; for others DNS says servers
(NAPTR, SRV) and addresses (A, AAAA). A way that did not work lately goes behind the others.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache

from gateway.sip.addresses import is_ip_literal
from gateway.sip.dns_client import DnsClient
from gateway.sip.dns_memory import DnsMemory
from gateway.sip.dns_records import Dns, DnsError, Kind
from gateway.sip.flow import Flow
from gateway.sip.hosts_file import HostsFile
from gateway.sip.server_location import Server, answers, servers, usual_server
from gateway.sip.uri import SipUri, UriError, parse_uri

TIMEOUT = 2.0
"""Seconds to wait for an answer: a caller waits too. A late answer still serves the next call."""

KNOWN_NAMES = 1024
"""URIs whose parts are remembered, and ways that failed; agents have far fewer. The oldest goes first."""

MAX_SERVERS = 8
"""Servers of a domain whose addresses are asked for: a caller hangs up before more have been tried."""

MAX_WAYS = 8
"""Ways that are handed out for one URI."""

AVOIDED = 30.0
"""Seconds that a way which failed goes behind the others (RFC 3263 §4.3 leaves it to us)."""


class ResolveError(OSError):
    """A URI leads nowhere; the message says why, fit for a log line."""


class Resolver:
    """Resolves URIs. Belongs to one event loop.

    Args:
        dns: whom to ask; the machine's own servers by default.
        hosts: the names that go before DNS.
        timeout: seconds, see `TIMEOUT`.
        chance: a random number from 0 up to 1, for the weights of servers.

    """

    def __init__(
        self,
        dns: Dns | None = None,
        hosts: HostsFile | None = None,
        *,
        timeout: float = TIMEOUT,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._memory = DnsMemory(dns or DnsClient())
        self._hosts = hosts or HostsFile()
        self._timeout = timeout
        self._chance = chance
        self._last: dict[str, str] = {}
        self._avoided: dict[tuple[str, str, int], float] = {}

    async def resolve(self, uri: str) -> tuple[Flow, ...]:
        """Return the ways to the host of a sip URI, best first; channels are 0.

        Raises:
            ResolveError: no sip URI, a transport that we do not have, a name unknown or not answered in time.

        """
        stated = self.stated(uri)
        if stated is not None:
            return (stated,)
        target = _destination(uri)
        host = (target.param("maddr") or target.host).lower().rstrip(".")
        try:
            async with asyncio.timeout(self._timeout):
                flows = await self._ways(target, host)
        except TimeoutError:
            raise ResolveError(f"no answer for {host} within {self._timeout:g} s") from None
        except DnsError as error:
            raise ResolveError(str(error)) from error
        if not flows:
            raise ResolveError(f"{host}: no such name")
        return self._last_failures_last(flows)[:MAX_WAYS]

    def stated(self, uri: str) -> Flow | None:
        """The way that a URI states itself, by an address; None if a name has to be looked for.

        Raises:
            ResolveError: see `resolve`.

        """
        way = _stated(uri)
        if way is not None:
            self._remember(way.host, way.host)
        return way

    def failed(self, flow: Flow) -> None:
        """A way does not work: for a while others are tried first."""
        self._avoided.pop(flow[:3], None)
        if len(self._avoided) >= KNOWN_NAMES:
            del self._avoided[next(iter(self._avoided))]
        self._avoided[flow[:3]] = asyncio.get_running_loop().time() + AVOIDED

    def recall(self, host: str) -> str | None:
        """An address of a name that was resolved before, however long ago; None if it never was."""
        return self._last.get(host.lower().rstrip("."))

    async def close(self) -> None:
        """Ask nothing more."""
        await self._memory.close()

    async def _ways(self, target: SipUri, host: str) -> list[Flow]:
        if await self._hosts.addresses(host):
            # Who names the address names the server: there is nothing to ask DNS about.
            places = [usual_server(target)]
        else:
            places = await servers(target, self._memory, self._chance)
        found = await self._addresses([place.host for place in places[:MAX_SERVERS]])
        return [_flow(target, place, address) for place in places for address in found[place.host]]

    async def _addresses(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The addresses of each name. Raises DnsError if that is all there is to say."""
        found: dict[str, tuple[str, ...]] = {}
        asked: list[str] = []
        for name in dict.fromkeys(names):
            local = (name,) if is_ip_literal(name) else await self._hosts.addresses(name)
            if local:
                found[name] = local
            else:
                asked.append(name)
        kinds: tuple[Kind, ...] = ("AAAA", "A")
        if asked:
            told = await answers(self._memory, [(name, kind) for name in asked for kind in kinds])
            for name, records in told:
                found[name] = (*found.get(name, ()), *(str(record) for record in records))
            for name in asked:
                found[name] = _reachable_first(found[name])
        for name, addresses in found.items():
            if addresses:
                self._remember(name, addresses[0])
        return found

    def _remember(self, name: str, address: str) -> None:
        if self._last.get(name) != address:
            self._last.pop(name, None)
            if len(self._last) >= KNOWN_NAMES:
                del self._last[next(iter(self._last))]
            self._last[name] = address

    def _last_failures_last(self, flows: list[Flow]) -> tuple[Flow, ...]:
        flows = list(dict.fromkeys(flows))
        if self._avoided:
            now = asyncio.get_running_loop().time()
            flows.sort(key=lambda flow: self._avoided.get(flow[:3], 0.0) > now)
        return tuple(flows)


def _reachable_first(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """IPv6 before IPv4, but last what no route leads to (RFC 7984 §4, the rule of RFC 6724 that matters)."""
    if not any(":" in address for address in addresses):
        return addresses
    return tuple(sorted(addresses, key=lambda address: not _routed(address)))


def _routed(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as probe:
        probe.connect((address, 5060))  # sends nothing: only asks whether there is a route
        return True
    return False


@lru_cache(KNOWN_NAMES)
def _stated(uri: str) -> Flow | None:
    target = _destination(uri)
    place = usual_server(target)
    return _flow(target, place, place.host) if is_ip_literal(place.host) else None


def _flow(target: SipUri, place: Server, address: str) -> Flow:
    # A TLS server must prove the name that was asked for, not what DNS makes of it (RFC 5922 §7.3).
    name = target.host.lower().rstrip(".") if place.transport == "tls" else ""
    return Flow(place.transport, address, place.port, 0, name)


@lru_cache(KNOWN_NAMES)
def _destination(uri: str) -> SipUri:
    try:
        target = parse_uri(uri)
    except UriError as error:
        raise ResolveError(f"{uri}: {error.reason}") from None
    if not isinstance(target, SipUri):
        raise ResolveError(f"{uri}: {target.scheme} URIs lead to no host that we can send to")
    transport = (target.param("transport") or ("tls" if target.scheme == "sips" else "udp")).lower()
    if transport not in {"udp", "tcp", "tls"}:
        raise ResolveError(f'{uri}: we do not speak transport "{transport}"')
    if target.scheme == "sips" and transport == "udp":
        raise ResolveError(f"{uri}: a sips URI cannot be reached over UDP")
    return target
