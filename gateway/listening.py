"""Where the gateway listens, by its configuration, and whether it can."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from gateway.config import Settings
from gateway.sip.addresses import parse_address
from gateway.sip.network import Address

Kind: TypeAlias = Literal["udp", "tcp"]


class Place(NamedTuple):
    """A socket that is to be: of which key, as written there, and of which kind."""

    key: str
    text: str
    kind: Kind

    @property
    def address(self) -> Address:
        """Raises AddressError."""
        return parse_address(self.text)

    def __str__(self) -> str:
        return f"{self.key}: {self.kind.upper()} {self.text}"


def carrier_places(settings: Settings) -> Iterator[Place]:
    """Where carriers reach us: UDP, TCP and, once there is a certificate, TLS."""
    return _places(settings, "", settings.sip.listen, settings.sip.tls_listen)


def agent_places(settings: Settings) -> Iterator[Place]:
    """Where agents do."""
    return _places(settings, "agent_", settings.sip.agent_listen, settings.sip.agent_tls_listen)


def _places(
    settings: Settings, side: str, listen: Sequence[str], tls_listen: Sequence[str]
) -> Iterator[Place]:
    for text in listen:
        yield Place(f"sip.{side}listen", text, "udp")
        yield Place(f"sip.{side}listen", text, "tcp")
    if settings.sip.tls_certificate is not None:
        for text in tls_listen:
            yield Place(f"sip.{side}tls_listen", text, "tcp")


def web_place(settings: Settings) -> Place:
    """Where HTTP is spoken."""
    return Place("web.listen", settings.web.listen, "tcp")


def try_to_bind(place: Place) -> None:
    """Bind a socket there, as a listener would, and let go of it.

    Raises:
        AddressError: the text is no address.
        OSError: somebody else has it, or this machine does not.

    """
    address = place.address
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if place.kind == "udp" else socket.SOCK_STREAM) as sock:
        if place.kind == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
