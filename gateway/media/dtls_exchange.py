"""DTLS-SRTP of one leg (RFC 5764): a handshake on each of its port's two sockets, and the seal they key.

Handshakes begin once it is settled who begins and whose certificate it must be. What the peer sends before
that (its datagrams overtake its answer) is kept, a few of them, and looked at then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from gateway.media.dtls import Association, Identity
from gateway.media.ports import HandshakeDoor
from gateway.media.reception import PortStats
from gateway.media.srtp import SrtpSeal

MAX_EARLY: Final = 4
"""Datagrams that are kept while it is not settled whom they are from: a first flight and its repetitions."""

Digest = tuple[str, bytes]
"""An algorithm as fingerprints name it, and what it makes of the peer's certificate."""


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
    """The handshake on one of the two sockets."""

    def __init__(self, seal: SrtpSeal) -> None:
        self.seal = seal
        self.association: Association | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.early: list[tuple[bytes, str, int]] = []
        self.unsent: list[bytes] = []

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class DtlsExchange:
    """See `gateway.media.ports.KeyExchange`.

    Args:
        own: our certificate.
        on_failed: told why audio will not be heard, once for each stream.

    Attributes:
        seal: for the same port; it seals and opens nothing before the handshakes' end.

    """

    def __init__(self, own: Identity, on_failed: Callable[[str], None]) -> None:
        self.seal = DtlsSeal()
        self._own = own
        self._on_failed = on_failed
        self._door: HandshakeDoor | None = None
        self._streams = (_Stream(self.seal.rtp), _Stream(self.seal.rtcp))
        self._settled: tuple[Sequence[Digest], bool] | None = None

    def attach(self, door: HandshakeDoor) -> None:
        """See `KeyExchange`."""
        self._door = door
        if self._settled is not None:
            self._begin()

    def settle(self, peer: Sequence[Digest], *, client: bool) -> None:
        """Shake hands with a peer; the same one again changes nothing (RFC 5763 §6.6).

        peer: of its certificate, one of which must be right. client: whether we begin.
        """
        if self._settled == (peer, client):
            return
        self._settled = peer, client
        if self._door is not None:
            self._begin()

    def receive(self, datagram: bytes, host: str, port: int, *, rtcp: bool) -> None:
        """See `KeyExchange`."""
        stream = self._streams[rtcp]
        if self._door is None or stream.association is None:
            if len(stream.early) < MAX_EARLY:
                stream.early.append((datagram, host, port))
        elif self._door.admits(host):
            self._door.answer_to(host, port, rtcp=rtcp)
            self._go_on(rtcp, stream.association.receive(datagram))

    def reachable(self) -> None:
        """See `KeyExchange`; the first flight waits for that."""
        for rtcp, stream in enumerate(self._streams):
            if self._door is not None:
                stream.unsent = [each for each in stream.unsent if not self._door.send(each, rtcp=bool(rtcp))]

    def close(self) -> None:
        """See `KeyExchange`."""
        for stream in self._streams:
            stream.stop()
        self._door = None

    def _begin(self) -> None:
        if self._settled is None:
            return
        for rtcp, stream in enumerate(self._streams):
            stream.association = Association(self._own, client=self._settled[1])
            self._go_on(bool(rtcp), stream.association.begin())
            early, stream.early = stream.early, []
            for each in early:
                self.receive(*each, rtcp=bool(rtcp))

    def _go_on(self, rtcp: bool, datagrams: Sequence[bytes]) -> None:
        """After a step: send, take the keys if they are there, and wait for what is next."""
        stream = self._streams[rtcp]
        association = stream.association
        if self._door is None or association is None:
            return
        stream.unsent = [each for each in datagrams if not self._door.send(each, rtcp=rtcp)]
        stream.stop()
        if association.keys is not None:
            self._agreed(stream, association)
        elif not association.failure and (seconds := association.timeout) is not None:
            again = partial(self._expired, rtcp, association)
            stream.timer = asyncio.get_running_loop().call_later(seconds, again)
        if association.failure and not rtcp:
            self.seal.stats.handshake = "failed"
            self._on_failed(association.failure)

    def _expired(self, rtcp: bool, association: Association) -> None:
        if association is self._streams[rtcp].association:
            self._go_on(rtcp, association.expire())

    def _agreed(self, stream: _Stream, association: Association) -> None:
        keys = association.keys
        if keys is None or self._settled is None:
            return
        if not any(association.digest(algorithm) == digest for algorithm, digest in self._settled[0]):
            association.keys = None
            association.failure = "the certificate is not that of the session description"
            return
        stream.seal.receive_with(keys.suite, keys.theirs)
        stream.seal.send_with(keys.suite, keys.ours)
        if stream is self._streams[0]:
            self.seal.stats.handshake = "done"
