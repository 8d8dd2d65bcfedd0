"""Where a peer's RTCP comes from and goes to (RFC 3605, RFC 4961), without falling for strangers.

1. SDP names an address: ``a=rtcp:``, or the port after RTP's. What comes from exactly there is accepted at
   once, and keeps the right of way.
2. Until something is accepted, another port of the host that RTP comes from may latch: a NAT maps both alike.
3. After that only the accepted source is heard.
4. A peer whose RTP comes from another address than SDP's sits behind a NAT: SDP's RTCP address is a private
   one, and nothing is sent until the peer's own RTCP has shown where to.
"""

from __future__ import annotations

from gateway.media.ports import Address


class RtcpLatch:
    """Decides whose RTCP is heard, and where ours goes. Pure: no socket, no clock.

    Attributes:
        accepted: the source that is heard, or None until that is settled.
        target: where to send, or None on hold or before anything is known.

    """

    __slots__ = ("_held", "_named", "accepted", "target")

    def __init__(self) -> None:
        self._held = False
        self._named: Address | None = None
        self.accepted: Address | None = None
        self.target: Address | None = None

    def expect(self, named: Address | None, *, held: bool = False) -> None:
        """Take the address that SDP names, None if only packets can tell; held: SDP says to send nothing."""
        self._held = held
        if not held and named != self._named:
            self._named = named
            self.accepted = None
        self._aim(self.accepted or self._named)

    def rtp_latched(self, source: Address, sdp: Address | None) -> None:
        """RTP is accepted from `source`; SDP named `sdp` for it."""
        if self.accepted is not None and self.accepted != self._named and self.accepted[0] != source[0]:
            self.accepted = None  # it came with a stranger's RTP, or the peer has moved
        self._aim(self.accepted or (self._named if source == sdp else None))

    def offer(self, source: Address, rtp_peer: Address | None) -> bool:
        """Whether a packet from there is the peer's.

        rtp_peer: where its RTP comes from, or is expected from.
        """
        if source == self.accepted:
            return True
        follows_rtp = self.accepted is None and rtp_peer is not None and source[0] == rtp_peer[0]
        if source != self._named and not follows_rtp:
            return False
        self.accepted = source
        self._aim(source)
        return True

    def _aim(self, target: Address | None) -> None:
        self.target = None if self._held else target
