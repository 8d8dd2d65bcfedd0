"""DTLS-SRTP of one leg (RFC 5764): a handshake on each of its port's two sockets, and the seal they key.

Handshakes begin once it is settled who begins and whose certificate it must be. What the peer sends before
that (its datagrams overtake its answer) is kept, a few of them, and looked at then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from gateway.media.dtls import Association, Digest, Identity
from gateway.media.ports import HandshakeDoor
from gateway.media.reception import PortStats
from gateway.media.srtp import SrtpSeal

MAX_EARLY: Final = 4
"""Datagrams that are kept while it is not settled whom they are from: a first flight and its repetitions."""


class DtlsSeal:
    """See `gateway.media.ports.PacketSeal`; RTP and RTCP have keys of their own.

    Attributes:
        rtp, rtcp: the seals of both sockets.

    """

    __slots__ = ("rtcp", "rtp")

    def __init__(self) -> None:
        self.rtp = SrtpSeal()
        self.rtcp = SrtpSeal()

    @property
    def stats(self) -> PortStats:
        """See `PacketSeal`."""
        return self.rtp.stats

    @stats.setter
    def stats(self, stats: PortStats) -> None:
        self.rtp.stats = self.rtcp.stats = stats

    def seal(self, packet: bytes) -> bytes:
        """See `PacketSeal`."""
        return self.rtp.seal(packet)

    def open(self, packet: bytes) -> bytes:
        """See `PacketSeal`."""
        return self.rtp.open(packet)

    def seal_rtcp(self, packet: bytes) -> bytes:
        """See `PacketSeal`."""
        return self.rtcp.seal_rtcp(packet)

    def open_rtcp(self, packet: bytes) -> bytes:
        """See `PacketSeal`."""
        return self.rtcp.open_rtcp(packet)


class _Stream:
    """The handshake on one of the two sockets. ended: what came of it was taken."""

    def __init__(self, seal: SrtpSeal, *, rtcp: bool) -> None:
        self.seal = seal
        self.rtcp = rtcp
        self.association: Association | None = None
        self.ended = False
        self.timer: asyncio.TimerHandle | None = None
        self.early: list[tuple[bytes, str, int]] = []
        self.unsent: Sequence[bytes] = ()

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class DtlsExchange:
    """See `gateway.media.ports.KeyExchange`.

    Args:
        own: our certificate.
        on_failed: told why audio will not be heard, once for each handshake.

    Attributes:
        seal: for the same port; it seals and opens nothing before the handshakes' end.

    """

    def __init__(self, own: Identity, on_failed: Callable[[str], None]) -> None:
        self.seal = DtlsSeal()
        self._own = own
        self._on_failed = on_failed
        self._door: HandshakeDoor | None = None
        self._streams = (_Stream(self.seal.rtp, rtcp=False), _Stream(self.seal.rtcp, rtcp=True))
        self._settled: tuple[Sequence[Digest], bool] | None = None

    def attach(self, door: HandshakeDoor) -> None:
        """See `KeyExchange`."""
        self._door = door
        if self._settled is not None:
            self._begin(*self._settled)

    def settle(self, peer: Sequence[Digest], *, client: bool) -> None:
        """Shake hands with a peer; the same one again changes nothing (RFC 5763 §6.6).

        peer: of its certificate, one of which must be right. client: whether we begin.
        """
        if self._settled == (peer, client):
            return
        self._settled = peer, client
        if self._door is not None:
            self._begin(peer, client)

    def receive(self, datagram: bytes, host: str, port: int, *, rtcp: bool) -> None:
        """See `KeyExchange`."""
        stream = self._streams[rtcp]
        association = stream.association
        if self._door is None or association is None:
            if len(stream.early) < MAX_EARLY:
                stream.early.append((datagram, host, port))
        elif self._door.admits(host):
            self._door.answer_to(host, port, rtcp=rtcp)
            self._go_on(stream, association, association.receive(datagram))

    def reachable(self) -> None:
        """See `KeyExchange`; the first flight waits for that."""
        for stream in self._streams:
            self._send(stream, stream.unsent)

    def close(self) -> None:
        """See `KeyExchange`."""
        for stream in self._streams:
            stream.stop()
        self._door = None

    def _begin(self, peer: Sequence[Digest], client: bool) -> None:
        for stream in self._streams:
            stream.association = association = Association(self._own, peer, client=client)
            stream.ended = False
            self._go_on(stream, association, association.begin())
            early, stream.early = stream.early, []
            for each in early:
                self.receive(*each, rtcp=stream.rtcp)

    def _send(self, stream: _Stream, datagrams: Sequence[bytes]) -> None:
        """What cannot be sent yet waits for `reachable`."""
        door = self._door
        stream.unsent = [each for each in datagrams if door is None or not door.send(each, rtcp=stream.rtcp)]

    def _go_on(self, stream: _Stream, association: Association, datagrams: Sequence[bytes]) -> None:
        """After a step: send, take what came of the handshake, once, or wait for what is next."""
        self._send(stream, datagrams)
        stream.stop()
        if stream.ended:
            return
        if association.keys is not None:
            stream.seal.receive_with(association.keys.suite, association.keys.theirs)
            stream.seal.send_with(association.keys.suite, association.keys.ours)
            self._ended(stream)
        elif association.failure:
            self._ended(stream, association.failure)
        elif (seconds := association.timeout) is not None:
            again = partial(self._expired, stream, association)
            stream.timer = asyncio.get_running_loop().call_later(seconds, again)

    def _expired(self, stream: _Stream, association: Association) -> None:
        self._go_on(stream, association, association.expire())

    def _ended(self, stream: _Stream, failure: str = "") -> None:
        stream.ended = True
        if stream.rtcp:
            return  # calls go on without reports
        self.seal.stats.handshake = "failed" if failure else "done"
        if failure:
            self._on_failed(failure)
