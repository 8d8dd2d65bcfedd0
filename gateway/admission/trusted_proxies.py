"""Edge proxies of ours: whoever they name as the source of a request is believed to be it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from gateway.sip.named_source import EDGE_SOURCE, as_source
from gateway.sip.remembering import remember

if TYPE_CHECKING:  # the configuration is checked with this class, and need not load a user agent for it
    from gateway.admission.carriers import Network
    from gateway.sip.inbound_leg import InboundLeg

KNOWN_SENDERS: Final = 4_096
"""Addresses of which it is remembered whether they are proxies of ours: carriers send from a few. Strangers
who fill it up cost the others one look more."""


class TrustedProxiesError(ValueError):
    """An entry is no address or network; the message says which."""


class TrustedProxies:
    """The addresses of our edge.

    Args:
        networks: addresses or networks, as an operator writes them.

    Raises:
        TrustedProxiesError: one is something else.

    """

    __slots__ = ("_known", "_networks")

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(_network(text) for text in networks)
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        """Whether there is an edge at all."""
        return bool(self._networks)

    def __contains__(self, host: str) -> bool:
        """Whether `host` (an IP literal, IPv6 without brackets) is one of them."""
        if not self._networks:
            return False
        known = self._known.get(host)
        return self._look_up(host) if known is None else known

    def source_of(self, leg: InboundLeg) -> str:
        """The address that a call really came from."""
        if leg.flow.host in self:
            value = leg.request.headers.get(EDGE_SOURCE)
            return (as_source(value) if value is not None else None) or leg.flow.host
        return leg.flow.host

    def _look_up(self, host: str) -> bool:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        found = any(address in network for network in self._networks)
        return remember(self._known, host, found, KNOWN_SENDERS)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise TrustedProxiesError(f'"{text}" is not an address or network') from None
