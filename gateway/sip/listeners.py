"""The open listeners of an endpoint, by number and by side."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway.sip.addresses import format_address, is_wildcard, same_family
from gateway.sip.flow import Flow
from gateway.sip.network import LISTENER_MASK, Address, Network, Receiver, Transport

TRANSPORTS: Final = ("udp", "tcp")
"""In the order of opening: a free port is found by UDP, then TCP takes the same."""

PORT_ATTEMPTS: Final = 16
"""Free UDP ports tried until one is free for TCP as well: more than one is rarely needed."""


class ListenError(Exception):
    """A listener cannot be opened; the message names the configuration key, the address and the fault."""


class PortTakenError(ListenError):
    """Some other program (or another of our processes) listens there."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What the listeners towards carriers, or those towards agents, have in common.

    key, tls_key: the configuration keys that name their addresses.
    receiver: whom they tell.
    advertised: the host to name to a peer: given the peer's and our own address towards it (IP literals).
    own: the side whose listeners peers are told of in place of these.
    """

    key: str
    receiver: Receiver
    advertised: Callable[[str, str], str]
    tls_key: str = ""
    own: Side | None = None


class Listener:
    """One open listener.

    Attributes:
        own: another one, of this process alone, that peers are told of in place of this one, which other
            processes share; None where they are told of this one.

    """

    __slots__ = (
        "_host",
        "_network",
        "address",
        "channel",
        "own",
        "send",
        "side",
        "transport",
        "transport_name",
    )

    def __init__(self, network: Network, side: Side, channel: int, name: str, transport: Transport) -> None:
        self._network = network
        self.side = side
        self.channel = channel
        self.transport_name = name
        self.transport = transport
        self.send = transport.send
        self.address = transport.address
        self.own: Listener | None = None
        self._host = None if is_wildcard(self.address[0]) else self.address[0]

    def advertised(self, peer: str) -> Address:
        """Host and port by which a peer (an IP literal) reaches this listener, or the one for it."""
        if self.own is not None:
            return self.own.advertised(peer)
        host, port = self.bound(peer)
        return self.side.advertised(peer, host), port

    def bound(self, peer: str) -> Address:
        """Where it is bound; the address that faces a peer (an IP literal), if that is any address."""
        return self._host or self._network.local_host(peer), self.address[1]


class Listeners:
    """All listeners of one endpoint. The first one opened is number 1."""

    __slots__ = ("_by_channel", "_network")

    def __init__(self, network: Network) -> None:
        self._network = network
        self._by_channel: dict[int, Listener] = {}

    def __iter__(self) -> Iterator[Listener]:
        """The listeners in the order of opening."""
        return iter(self._by_channel.values())

    async def open_tls(self, side: Side, address: Address) -> None:
        """Open TLS on one address.

        Raises:
            PortTakenError: the port is taken.
            ListenError: anything else.

        """
        await self._open(side, "tls", address, side.tls_key)

    async def open(self, side: Side, address: Address) -> None:
        """Open UDP and TCP on one address; with port 0 both on the same free port.

        Raises:
            PortTakenError: the port is taken.
            ListenError: anything else.

        """
        host, port = address
        for attempt in range(PORT_ATTEMPTS):
            try:
                for name in TRANSPORTS:
                    opened = await self._open(side, name, (host, port), side.key)
                    port = opened.address[1]
            except PortTakenError:
                if address[1] != 0 or attempt == PORT_ATTEMPTS - 1:
                    raise
                self._close_last()
                port = 0
            else:
                return

    def of(self, flow: Flow) -> Listener | None:
        """The listener that a flow leaves by."""
        return self._by_channel.get(flow.channel & LISTENER_MASK)

    def find(self, side: Side, transport: str, host: str, near: Listener | None = None) -> Listener | None:
        """The listener of a side that can reach `host` (an IP literal); `near`'s own address goes first."""
        first: Listener | None = None
        for listener in self._by_channel.values():
            if (
                listener.side is side
                and listener.transport_name == transport
                and same_family(listener.address[0], host)
            ):
                if near is None or listener.address == near.address:
                    return listener
                first = first or listener
        return first

    def close(self) -> None:
        """Close all of them, the last one opened first."""
        while self._by_channel:
            self._close_last()

    async def _open(self, side: Side, name: str, address: Address, key: str) -> Listener:
        channel = len(self._by_channel) + 1
        where = f"{key}: {name.upper()} {format_address(address)}"
        if channel > LISTENER_MASK:
            raise ListenError(f"{where} is one listener too many; {LISTENER_MASK} is the most")
        try:
            transport = await self._network.open(name, address, channel, side.receiver)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(f"{where} is taken by another program") from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise ListenError(f"{where}: this machine does not have that address") from error
            raise ListenError(f"{where} cannot be opened: {error.strerror}") from error
        listener = self._by_channel[channel] = Listener(self._network, side, channel, name, transport)
        if side.own is not None:
            listener.own = self.find(side.own, name, address[0])
        return listener

    def _close_last(self) -> None:
        self._by_channel.popitem()[1].transport.close()
