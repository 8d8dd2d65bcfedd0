"""Carriers and trunks: who is calling, told by the source address of the signalling."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal, TypeAlias

from gateway.sip.account import Account

SrtpPolicy: TypeAlias = Literal["off", "optional", "required"]

IdentityPolicy: TypeAlias = Literal["off", "record", "require"]

Network: TypeAlias = IPv4Network | IPv6Network

_Level: TypeAlias = tuple[int, dict[int, "Carrier"]]

KNOWN_SOURCES: Final = 4096
"""Admitted addresses whose carrier is remembered: all that carriers publish, several times over. Others never
are, so that a scan from everywhere costs no memory."""


class CarriersError(Exception):
    """The carriers' files cannot be used; the message names file, entry and field."""


@dataclass(frozen=True, slots=True, eq=False)
class Carrier:
    """A carrier, or a trunk of the operator's own.

    name: how logs, records and metrics call it.
    sources: where its signalling comes from; empty where it is known by a certificate alone.
    certificate_names: domains by which its TLS clients prove who they are (RFC 5922), in lower case.
    default_country: ISO 3166 code by which national dialled numbers are read.
    media_sources: where its RTP comes from; empty when not known.
    call_id_header: the header that holds the carrier's own id of the call, which its retry from another
        address repeats; None when there is none.
    passed_headers: prefixes of header names that agents get to see.
    refused_callers: callers who get 603: numbers, ``anonymous``, or beginnings of them with a ``*`` behind.
    username, password: by which its calls are known from any address (digest); empty without.
    registration: the account at which its calls are asked for; None where it sends them unasked.
    srtp: whether its callers' audio is encrypted: ``off``, ``optional`` (as a call wants it), ``required``.
    asserted_identity: whether its P-Asserted-Identity is believed (RFC 3325).
    identity: what becomes of its callers' PASSporTs (RFC 8224): ``off``: nothing; ``record``: they are
        verified, and the result is told; ``require``: calls without a valid one are refused.
    early_media: whether its callers hear our ringback before they are answered (183 in place of 180); None
        for what ``media.early_media`` says.
    calls_per_second: new calls that it may place; None for what ``admission.carrier_calls_per_second`` says.
    development: whether this is the entry that admits loopback.
    documentation, checked: where the addresses were read, and when.
    """

    name: str
    sources: tuple[Network, ...] = ()
    default_country: str = "US"
    media_sources: tuple[Network, ...] = ()
    call_id_header: str | None = None
    passed_headers: tuple[str, ...] = ()
    refused_callers: tuple[str, ...] = ()
    certificate_names: tuple[str, ...] = ()
    username: str = ""
    password: str = field(default="", repr=False)
    registration: Account | None = None
    srtp: SrtpPolicy = "optional"
    asserted_identity: bool = True
    identity: IdentityPolicy = "off"
    early_media: bool | None = None
    calls_per_second: float | None = None
    development: bool = False
    documentation: str | None = None
    checked: date | None = None

    @property
    def account(self) -> str:
        """The user that it knows us by; empty where we have not registered."""
        return self.registration.username if self.registration is not None else ""

    def refuses(self, caller: str) -> bool:
        """Whether this caller is turned away; a plus in front makes no difference."""
        number = caller.lower().removeprefix("+")
        return any(_matches(number, pattern) for pattern in self.refused_callers)


def _matches(number: str, pattern: str) -> bool:
    wanted = pattern.lower().removeprefix("+")
    if wanted.endswith("*"):
        return number.startswith(wanted[:-1])
    return number == wanted


class CarrierTable:
    """Which carrier an address belongs to: the longest prefix that holds it, as in a routing table."""

    __slots__ = ("_by_certificate", "_by_username", "_carriers", "_known", "_levels")

    def __init__(self, carriers: Iterable[Carrier]) -> None:
        """Index `carriers`.

        Raises:
            CarriersError: two have the same name, the same network or the same name in certificates.

        """
        self._carriers = tuple(carriers)
        _check_names(self._carriers)
        self._by_certificate = _by_certificate(self._carriers)
        self._by_username = _by_username(self._carriers)
        self._known: dict[str, Carrier] = {}
        self._levels = {version: _levels(self._carriers, version) for version in (4, 6)}

    def __iter__(self) -> Iterator[Carrier]:
        """The carriers in the order of their files."""
        return iter(self._carriers)

    def __len__(self) -> int:
        """How many carriers there are."""
        return len(self._carriers)

    def match_certificate(self, name: str) -> Carrier | None:
        """Whose certificate has this name, in lower case; None for a stranger's."""
        return self._by_certificate.get(name)

    def match_username(self, username: str) -> Carrier | None:
        """Whose account this is; None for nobody's."""
        return self._by_username.get(username)

    @property
    def uses_digest(self) -> bool:
        """Whether anybody is known by a password."""
        return bool(self._by_username)

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """Every name by which a certificate is known."""
        return tuple(self._by_certificate)

    def match(self, host: str) -> Carrier | None:
        """Whose address `host` (an IP literal, IPv6 without brackets) is; None for a stranger's."""
        return self._known.get(host) or self._look_up(host)

    def _look_up(self, host: str) -> Carrier | None:
        """What a stranger costs: one conversion and a dictionary lookup for each length of prefix."""
        try:
            version, number = _number(host)
        except (OSError, ValueError):
            return None
        for shift, carriers in self._levels[version]:
            carrier = carriers.get(number >> shift)
            # Loopback stays out even if a network as wide as 0.0.0.0/0 was admitted.
            if carrier is not None and (carrier.development or not _is_loopback(version, number)):
                self._remember(host, carrier)
                return carrier
        return None

    def _remember(self, host: str, carrier: Carrier) -> None:
        if len(self._known) >= KNOWN_SOURCES:
            self._known.clear()
        self._known[host] = carrier


def _number(host: str) -> tuple[int, int]:
    """An IP literal as its version and its number; an IPv4 address written as IPv6 is IPv4.

    Raises OSError or ValueError for anything else.
    """
    if ":" not in host:
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, host))
    number = int.from_bytes(socket.inet_pton(socket.AF_INET6, host.partition("%")[0]))
    return (4, number & 0xFFFF_FFFF) if number >> 32 == 0xFFFF else (6, number)


def _is_loopback(version: int, number: int) -> bool:
    return number >> 24 == 127 if version == 4 else number == 1


def _levels(carriers: Sequence[Carrier], version: int) -> list[_Level]:
    """For each prefix length, longest first: the bits to shift away, and whose the rest is."""
    levels: dict[int, dict[int, Carrier]] = {}
    for carrier in carriers:
        for network in carrier.sources:
            if network.version != version:
                continue
            shift = network.max_prefixlen - network.prefixlen
            other = levels.setdefault(shift, {}).setdefault(int(network.network_address) >> shift, carrier)
            if other is not carrier:
                raise CarriersError(f'"{other.name}" and "{carrier.name}" both have {network} in sources')
    return sorted(levels.items())


def _by_certificate(carriers: Sequence[Carrier]) -> dict[str, Carrier]:
    found: dict[str, Carrier] = {}
    for carrier in carriers:
        for name in carrier.certificate_names:
            other = found.setdefault(name, carrier)
            if other is not carrier:
                raise CarriersError(
                    f'"{other.name}" and "{carrier.name}" both have "{name}" in certificate_names'
                )
    return found


def _by_username(carriers: Sequence[Carrier]) -> dict[str, Carrier]:
    found: dict[str, Carrier] = {}
    for carrier in carriers:
        if not carrier.username:
            continue
        other = found.setdefault(carrier.username, carrier)
        if other is not carrier:
            raise CarriersError(f'"{other.name}" and "{carrier.name}" have the same username')
    return found


def _check_names(carriers: Sequence[Carrier]) -> None:
    names: set[str] = set()
    for carrier in carriers:
        if carrier.name in names:
            raise CarriersError(f'two entries are called "{carrier.name}"')
        names.add(carrier.name)
