"""From a URI to the servers that it means: RFC 3263 §4.1 and §4.2, without the addresses.

The transport is what the URI says; else UDP (TLS for sips) if it names an address or a port; else what the
domain's NAPTR records say; else whatever it has SRV records for. A port in the URI is final; else SRV records
say host and port; else it is the default one. A call tries what is left one after the other (§4.3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from gateway.sip.addresses import is_ip_literal
from gateway.sip.dns_records import DnsError, Kind, Naptr, Record, Srv, in_order
from gateway.sip.response_path import default_port
from gateway.sip.uri import SipUri

SERVICES: Final = {"sip+d2u": "udp", "sip+d2t": "tcp", "sips+d2t": "tls"}
"""NAPTR services that we speak (RFC 3263 §4.1)."""

PREFIXES: Final = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}
"""Where a transport's SRV records stand (RFC 3263 §4.2)."""


class Names(Protocol):
    """Whoever can be asked; `DnsMemory` fulfils it."""

    def fresh(self, name: str, kind: Kind) -> tuple[Record, ...] | None:
        """The records, if they are in memory."""

    async def ask(self, name: str, kind: Kind) -> tuple[Record, ...]:
        """The records. Raises DnsError."""


class Server(NamedTuple):
    """One server: host is a name without a final dot, in lower case, or an IP literal."""

    transport: str
    host: str
    port: int


async def servers(uri: SipUri, names: Names, chance: Callable[[], float]) -> list[Server]:
    """The servers of a URI in the order to be tried; at least one, which may not exist.

    chance: a random number from 0 up to 1, for SRV's weights.
    """
    usual = usual_server(uri)
    host, secure = usual.host, uri.scheme == "sips"
    if is_ip_literal(host) or uri.port is not None:
        return [usual]
    named = uri.param("transport") is not None and usual.transport
    found = (
        await _by_srv(host, [named], names, chance) if named else await _chosen(host, secure, names, chance)
    )
    return found or [usual]


def usual_server(uri: SipUri) -> Server:
    """What a URI means where DNS has nothing to say about servers."""
    secure = uri.scheme == "sips"
    transport = (uri.param("transport") or ("tls" if secure else "udp")).lower()
    if secure and transport == "tcp":
        transport = "tls"  # RFC 3261 §26.2.2
    host = (uri.param("maddr") or uri.host).lower().rstrip(".")
    return Server(transport, host, uri.port or default_port(transport))


async def _chosen(host: str, secure: bool, names: Names, chance: Callable[[], float]) -> list[Server]:
    """Let the domain choose the transport."""
    try:
        ((_, records),) = await answers(names, [(host, "NAPTR")])
    except DnsError:
        records = ()
    wanted = sorted(
        (record.order, record.preference, SERVICES[record.service], record.replacement)
        for record in records
        if isinstance(record, Naptr) and record.flags == "s" and record.service in SERVICES
    )
    ways = [(transport, name) for _, _, transport, name in wanted if not secure or transport == "tls"]
    if ways:
        return await _srv(ways, names, chance)
    return await _by_srv(host, ["tls"] if secure else ["udp", "tcp", "tls"], names, chance)


async def _by_srv(
    host: str, transports: list[str], names: Names, chance: Callable[[], float]
) -> list[Server]:
    return await _srv([(transport, PREFIXES[transport] + host) for transport in transports], names, chance)


async def _srv(ways: list[tuple[str, str]], names: Names, chance: Callable[[], float]) -> list[Server]:
    try:
        found = await answers(names, [(name, "SRV") for _, name in ways])
    except DnsError:
        return []
    return [
        Server(transport, record.target, record.port)
        for (transport, _), (_, records) in zip(ways, found, strict=True)
        for record in in_order((record for record in records if isinstance(record, Srv)), chance)
    ]


async def answers(
    names: Names, questions: Sequence[tuple[str, Kind]]
) -> list[tuple[str, tuple[Record, ...]]]:
    """The name and the records of each question, all asked at once; none where DNS does not answer.

    A domain whose servers cannot be asked for is still tried by its address.
    """
    known = [names.fresh(*question) for question in questions]  # mostly: then no task is made
    asked = [question for question, records in zip(questions, known, strict=True) if records is None]
    if not asked:
        return [(name, records or ()) for (name, _), records in zip(questions, known, strict=True)]
    told = await asyncio.gather(*(names.ask(*question) for question in asked), return_exceptions=True)
    faults = [result for result in told if isinstance(result, BaseException)]
    if faults and (len(faults) == len(questions) or not isinstance(faults[0], DnsError)):
        raise faults[0]
    results = iter(() if isinstance(result, BaseException) else result for result in told)
    return [
        (name, next(results) if records is None else records)
        for (name, _), records in zip(questions, known, strict=True)
    ]
