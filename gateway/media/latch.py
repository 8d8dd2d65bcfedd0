"""Symmetric RTP (RFC 4961): learning where a peer really sends from, without falling for strangers.

The rule, from the moment SDP names an address:

0. Before it does, nobody is heard.
1. A valid packet from exactly that address is accepted at once and settles the matter: signalling vouched
   for it.
2. Until something is accepted, another address may *latch*: after three valid RTP packets in sequence from
   one source (RFC 3550 A.1 calls it probation) that source is accepted and becomes where we send. The three
   are held and then delivered, so no audio is lost. A blind injector would have to win this race with a
   correct-looking stream in the short time before the peer's first packet; where the carrier's media ranges
   are known it must also come from there.
3. After that only the accepted source is heard; all others are dropped. One exception: the address in SDP
   keeps the right of way and takes a latch back, so that a stranger who was first loses as soon as the true
   peer speaks.
4. A new address in SDP (re-INVITE) begins again at 1; the same address again (a session refresh, a resume)
   changes nothing.

There is no time limit on 2: a caller behind a NAT may send nothing until it is answered, tens of seconds
after its offer.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from gateway.media.ports import Address, Network

PROBATION_PACKETS = 3
"""Sequential packets that a source not named by SDP must show: one more than RFC 3550's MIN_SEQUENTIAL,
still only 60 ms."""

MAX_CANDIDATES = 4
"""Sources on probation at once. More than one so that a flood from elsewhere cannot keep resetting the true
peer."""


HOLD: Address = ("", 0)
"""Stands for the addresses by which SDP says "send nothing"."""


class SymmetricLatch:
    """Decides which source is the peer, and where to send. Pure: no socket, no clock.

    Attributes:
        accepted: the source that is heard, or None until that is settled.
        expected: the address that SDP names, or None where only packets can tell.
        target: where to send, or None on hold or before anything is known.

    """

    __slots__ = ("_candidates", "_held", "_ranges", "_sdp", "accepted", "expected", "target")

    def __init__(self, ranges: Sequence[Network] | None = None) -> None:
        self._ranges = ranges
        self.expected: Address | None = None
        self._sdp: Address | None = None
        self._held = False
        self._candidates: dict[Address, list[bytes]] = {}
        self.accepted: Address | None = None
        self.target: Address | None = None

    def expect(self, host: str, port: int) -> None:
        """Take the address that SDP names; see `MediaPort.set_remote` for its special values."""
        named = unicast(host, port)
        self._held = named is HOLD
        if named is HOLD:  # whoever was heard is still heard, nobody is sent to
            self.target = None
            return
        if (host, port) != self._sdp:
            self._sdp = host, port
            self._candidates.clear()
            self.expected = named
            if self.accepted != named:
                self.accepted = None
        self.target = self.accepted or named

    def offer(self, packet: bytes, source: Address) -> Sequence[bytes] | None:
        """Judge a valid packet whose source is not `accepted`.

        Returns the packets to deliver now (none while on probation), or None: a stranger's, drop it.
        """
        if source == self.expected:
            self._accept(source)
            return (packet,)
        if self._sdp is None and not self._held:
            return None  # nobody was named yet: whoever sends now cannot be a peer of ours
        if self.accepted is not None or not self._may_latch(source):
            return None
        held = self._candidates.get(source)
        if held is None:
            if len(self._candidates) >= MAX_CANDIDATES:
                del self._candidates[next(iter(self._candidates))]
            self._candidates[source] = [packet]
            return ()
        if not _follows(held[-1], packet):
            held.clear()
        held.append(packet)
        if len(held) < PROBATION_PACKETS:
            return ()
        self._accept(source)
        return held

    def admits(self, host: str) -> bool:
        """Whether the peer may be at a host: what else comes from there than packets may be its own."""
        known = self.accepted or self.expected
        if known is not None and known[0] == host:
            return True
        return self.accepted is None and self._sdp is not None and self._may_latch((host, 0))

    def _accept(self, source: Address) -> None:
        self.accepted = source
        self.target = None if self._held else source
        self._candidates.clear()

    def _may_latch(self, source: Address) -> bool:
        if self._ranges is None:
            return True
        ip = ip_address(source[0])
        return any(ip in network for network in self._ranges)


def _follows(previous: bytes, packet: bytes) -> bool:
    """Whether `packet` is the next of the same stream: same SSRC, sequence number one higher."""
    step = (packet[2] << 8 | packet[3]) - (previous[2] << 8 | previous[3])
    return step & 0xFFFF == 1 and packet[8:12] == previous[8:12]


def unicast(host: str, port: int) -> Address | None:
    """SDP's address in the spelling that sockets use; None when only the peer's packets can tell; or HOLD."""
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    if ip.is_unspecified or not 0 < port < 0x10000:
        return HOLD
    return None if ip.is_multicast else (str(ip), port)
