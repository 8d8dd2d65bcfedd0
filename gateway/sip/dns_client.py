"""Questions to DNS on asyncio, by dnspython: to the servers of this machine, or to given ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.sip.addresses import parse_address
from gateway.sip.dns_records import Answer, DnsError, Kind, Naptr, Record, Srv

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as DnsResolver

TIMEOUT: Final = 4.0
"""Seconds for one question, over all servers; callers wait less, and what comes later serves the next one."""

SERVER_TIMEOUT: Final = 1.0
"""Seconds until the next server is asked."""

MAX_QUESTIONS: Final = 64
"""Questions under way; others wait. Agents have a handful of domains."""

MAX_RECORDS: Final = 64
"""Records taken of one answer: more servers than anybody tries for a call."""

NEGATIVE_LIFETIME: Final = 30.0
"""Seconds that "there is none" counts where the answer does not say (RFC 2308 §5)."""


class DnsClient:
    """Asks the servers. Belongs to one event loop.

    Args:
        servers: ``host:port`` with an IP literal; empty for those of /etc/resolv.conf.

    """

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._servers = servers
        self._resolver: DnsResolver | None = None
        self._places = asyncio.Semaphore(MAX_QUESTIONS)

    async def ask(self, name: str, kind: Kind) -> Answer:
        """One question.

        Raises:
            DnsError: no answer, or one that says nothing about the name.

        """
        async with self._places:
            if self._resolver is None:
                # Reads /etc/resolv.conf, and imports what a gateway of literal addresses never needs.
                self._resolver = await asyncio.to_thread(_make_resolver, self._servers)
            return await _ask(self._resolver, name, kind)


def _make_resolver(servers: Sequence[str]) -> DnsResolver:
    import dns.asyncresolver
    import dns.nameserver
    import dns.resolver

    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration as error:
        raise DnsError(f"no DNS server is configured: {error}") from error
    if servers:
        places = [parse_address(server) for server in servers]
        resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in places]
    resolver.cache = None  # `gateway.sip.dns_memory` knows what to keep, and for how long
    resolver.timeout, resolver.lifetime = SERVER_TIMEOUT, TIMEOUT
    return resolver


async def _ask(resolver: DnsResolver, name: str, kind: Kind) -> Answer:
    import dns.exception
    import dns.resolver

    try:
        found = await resolver.resolve(name, kind, raise_on_no_answer=False, search=True)
    except dns.resolver.NXDOMAIN as error:
        return Answer((), _negative_lifetime(error))
    except dns.resolver.YXDOMAIN as error:
        raise DnsError(f"{name}: the name is too long") from error
    except dns.exception.Timeout as error:
        raise DnsError(f"no answer for {name} from DNS") from error
    except dns.exception.DNSException as error:
        raise DnsError(f"{name}: DNS cannot answer ({type(error).__name__})") from error
    except (OSError, ValueError) as error:
        raise DnsError(f"{name}: {error}") from error
    lifetime = float(found.chaining_result.minimum_ttl)
    if found.rrset is None:
        return Answer((), min(lifetime, 10 * NEGATIVE_LIFETIME) or NEGATIVE_LIFETIME)
    return Answer(tuple(_record(kind, data) for data in list(found.rrset)[:MAX_RECORDS]), lifetime)


def _negative_lifetime(error: Any) -> float:
    """The SOA's, of the longest answer (RFC 2308 §5)."""
    lifetimes = [response.resolve_chaining().minimum_ttl for response in error.responses().values()]
    return float(min((lifetime for lifetime in lifetimes if lifetime), default=NEGATIVE_LIFETIME))


def _record(kind: Kind, data: Any) -> Record:
    match kind:
        case "SRV":
            return Srv(data.priority, data.weight, data.port, _name(data.target))
        case "NAPTR":
            return Naptr(
                data.order, data.preference, _text(data.flags), _text(data.service), _name(data.replacement)
            )
    return str(data.address)


def _name(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)).lower()


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").lower()
