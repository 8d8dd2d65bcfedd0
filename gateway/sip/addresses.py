"""Transport addresses: IP literals, and ``host:port`` as an operator writes it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from gateway.sip.network import Address
from gateway.sip.remembering import remember

KNOWN_HOSTS = 4096
"""Hosts remembered by each of the questions below: more peers than a node has, 1 MB at the worst. Full, a
table is emptied."""


class AddressError(ValueError):
    """The text is no ``host:port``; the message says what is wrong with it."""


_literals: Final[dict[str, bool]] = {}

_public: Final[dict[str, bool]] = {}


def is_ip_literal(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address rather than a name (IPv6 without brackets)."""
    known = _literals.get(host)
    return remember(_literals, host, _is_literal(host), KNOWN_HOSTS) if known is None else known


def is_public(host: str) -> bool:
    """Whether `host` is an IP literal of the Internet at large: not private, loopback, link-local, …."""
    known = _public.get(host)
    if known is None:
        known = remember(_public, host, is_ip_literal(host) and ip_address(host).is_global, KNOWN_HOSTS)
    return known


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_wildcard(host: str) -> bool:
    """Whether a socket bound to this IP literal listens on every address of its family."""
    return ip_address(host).is_unspecified


def same_family(host: str, other: str) -> bool:
    """Whether both IP literals are IPv4, or both IPv6."""
    return (":" in host) == (":" in other)


def parse_address(text: str) -> Address:
    """Read ``192.0.2.1:5060`` or ``[2001:db8::1]:5060``; the host must be an IP literal.

    Raises:
        AddressError: it is something else.

    """
    host, colon, port = text.rpartition(":")
    if not colon:
        raise AddressError(f'"{text}" has no port; write host:port')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f'"{text}": write an IPv6 address in brackets, [::1]:5060')
    if not is_ip_literal(host):
        raise AddressError(f'"{text}": {host or "nothing"} is not an IP address')
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise AddressError(f'"{text}": {port or "nothing"} is not a port')
    return host, int(port)


def format_address(address: Address) -> str:
    """Write an address as `parse_address` reads it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
