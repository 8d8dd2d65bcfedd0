"""A media port whose traffic somebody listens to: the place where a call is recorded.

Whatever a caller says and hears goes through the caller's port: an agent over a relay, transcoded or not, an
agent over a WebSocket, the waiting sound, the voicemail. So one tap there hears the whole call, whoever takes
it, and ports of calls that nobody records have no code for it at all.
"""

from __future__ import annotations

from typing import Protocol

from gateway.media.ports import Address, KeyExchange, MediaPort, PacketSeal, PacketSink
from gateway.media.reception import PortStats
from gateway.media.rtp_port import discard


class PacketTap(Protocol):
    """Hears both directions, and may put something else in a packet's place. Must not raise."""

    def from_caller(self, packet: bytes) -> bytes:
        """A packet that came; what is to go on."""

    def to_caller(self, packet: bytes) -> bytes:
        """A packet that is to be sent; what is to be sent."""


class TappedPort:
    """A `MediaPort` with a tap on it. It owns the port."""

    __slots__ = ("_port", "_sink", "_tap")

    def __init__(self, port: MediaPort, tap: PacketTap) -> None:
        self._port = port
        self._tap = tap
        self._sink: PacketSink = discard
        port.sink = self._received

    @property
    def sink(self) -> PacketSink:
        """See `MediaPort`."""
        return self._sink

    @sink.setter
    def sink(self, sink: PacketSink) -> None:
        self._sink = sink

    @property
    def rtcp_sink(self) -> PacketSink:
        """See `MediaPort`."""
        return self._port.rtcp_sink

    @rtcp_sink.setter
    def rtcp_sink(self, sink: PacketSink) -> None:
        self._port.rtcp_sink = sink

    @property
    def sending(self) -> bool:
        """See `MediaPort`."""
        return self._port.sending

    @sending.setter
    def sending(self, sending: bool) -> None:
        self._port.sending = sending

    @property
    def last_packet_at(self) -> float | None:
        """See `MediaPort`."""
        return self._port.last_packet_at

    @last_packet_at.setter
    def last_packet_at(self, at: float | None) -> None:
        self._port.last_packet_at = at

    @property
    def stats(self) -> PortStats:
        """See `MediaPort`."""
        return self._port.stats

    @stats.setter
    def stats(self, stats: PortStats) -> None:
        self._port.stats = stats

    @property
    def address(self) -> Address:
        """See `MediaPort`."""
        return self._port.address

    def set_remote(self, host: str, port: int, rtcp_port: int | None = None) -> None:
        """See `MediaPort`."""
        self._port.set_remote(host, port, rtcp_port)

    def send(self, packet: bytes) -> None:
        """See `MediaPort`. What the caller is not sent, while on hold, is not recorded."""
        if self._port.sending:
            self._port.send(self._tap.to_caller(packet))

    def send_rtcp(self, packet: bytes) -> None:
        """See `MediaPort`."""
        self._port.send_rtcp(packet)

    def secure(self, seal: PacketSeal) -> None:
        """See `MediaPort`; what is recorded is in the clear."""
        self._port.secure(seal)

    def exchange_keys(self, exchange: KeyExchange) -> None:
        """See `MediaPort`."""
        self._port.exchange_keys(exchange)

    def close(self) -> None:
        """See `MediaPort`."""
        self._port.close()
        self._sink = discard

    def _received(self, packet: bytes) -> None:
        self._sink(self._tap.from_caller(packet))
