"""SRTP and SRTCP of one leg (RFC 3711, RFC 7714): packets sealed and opened, by libsrtp.

Keys may change while the stream runs (a re-INVITE): what was sealed with the last ones and is still on its
way is opened for a moment longer.
"""

from __future__ import annotations

from typing import Final

from pylibsrtp import Error, Policy, Session

from gateway.media.reception import PortStats

PROFILES: Final = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
"""Suites by their names in session descriptions."""

MAX_SOURCES: Final = 16
"""Sources (SSRC) one direction of which libsrtp keeps the state. A call has a few; a peer that invents more
begins anew, which costs it its own replay protection, and us no memory."""

OLD_PACKETS: Final = 50
"""Packets that may still come with the last keys: a second of audio, more than is on its way."""

RTP_HEADER = 12
RTCP_HEADER = 8


class SealError(OSError):
    """A packet cannot be sealed: no key yet, or numbers that were used already (RFC 3711 §3.3.1)."""


class _Direction:
    """One direction under one key.

    Attributes:
        key: suite and master key, to compare.
        session: libsrtp's.

    """

    __slots__ = ("_kind", "_sources", "_ssrc", "key", "session")

    def __init__(self, suite: str, key: bytes, kind: int) -> None:
        self.key = suite, key
        self._kind = kind
        self._begin()

    def _begin(self) -> None:
        suite, key = self.key
        policy = Policy(key=key, ssrc_type=self._kind, srtp_profile=PROFILES[suite])
        self.session = Session(policy)
        self._sources: set[bytes] = set()
        self._ssrc = b""

    def open(self, packet: bytes) -> bytes:
        """An RTP packet in the clear. Raises Error, ValueError."""
        clear = bytes(self.session.unprotect(packet))
        ssrc = packet[8:12]
        if ssrc != self._ssrc:  # only of what the peer has sealed: nobody else can make us forget anything
            if not self._has_room(ssrc):
                self._begin()
            self._ssrc = ssrc
        return clear

    def seal(self, packet: bytes) -> bytes:
        """An RTP packet as it leaves. Raises Error, ValueError, SealError."""
        ssrc = packet[8:12]
        if ssrc != self._ssrc:
            # Beginning anew would use the same key stream twice.
            if not self._has_room(ssrc):
                raise SealError("too many sources")
            self._ssrc = ssrc
        return bytes(self.session.protect(packet))

    def _has_room(self, ssrc: bytes) -> bool:
        if ssrc not in self._sources:
            if len(self._sources) >= MAX_SOURCES:
                return False
            self._sources.add(ssrc)
        return True


class SrtpSeal:
    """Both directions of one leg; see `gateway.media.ports.PacketSeal`.

    Attributes:
        stats: of the port; what is refused is counted there.

    """

    __slots__ = ("_in", "_last", "_last_left", "_out", "stats")

    def __init__(self) -> None:
        self.stats = PortStats()
        self._in: _Direction | None = None
        self._out: _Direction | None = None
        self._last: _Direction | None = None
        self._last_left = 0

    def receive_with(self, suite: str, key: bytes) -> None:
        """Open what comes from now on with this key; the same key again changes nothing (RFC 4568 §7.1.4)."""
        if self._in is None or self._in.key != (suite, key):
            self._last, self._last_left = self._in, OLD_PACKETS
            self._in = _Direction(suite, key, Policy.SSRC_ANY_INBOUND)

    def send_with(self, suite: str, key: bytes) -> None:
        """Seal what leaves from now on with this key; likewise."""
        if self._out is None or self._out.key != (suite, key):
            self._out = _Direction(suite, key, Policy.SSRC_ANY_OUTBOUND)

    def seal(self, packet: bytes) -> bytes:
        """An RTP packet as it leaves. Raises SealError."""
        if self._out is None:
            raise SealError("no key yet")
        try:
            return self._out.seal(packet)
        except (Error, ValueError) as error:
            raise SealError(str(error)) from None

    def seal_rtcp(self, packet: bytes) -> bytes:
        """An RTCP packet as it leaves. Raises SealError."""
        if self._out is None:
            raise SealError("no key yet")
        try:
            return bytes(self._out.session.protect_rtcp(packet))
        except (Error, ValueError) as error:
            raise SealError(str(error)) from None

    def open(self, packet: bytes) -> bytes:
        """An RTP packet that came, in the clear; empty, and counted, if it is not the peer's."""
        if len(packet) < RTP_HEADER or self._in is None:
            return b""
        try:
            return self._in.open(packet)
        except (Error, ValueError) as error:
            return self._old(packet) or self._refused(error)

    def open_rtcp(self, packet: bytes) -> bytes:
        """Likewise for RTCP."""
        if len(packet) < RTCP_HEADER or self._in is None:
            return b""
        try:
            return bytes(self._in.session.unprotect_rtcp(packet))
        except (Error, ValueError) as error:
            return self._refused(error)

    def _old(self, packet: bytes) -> bytes:
        """What the last key makes of a packet."""
        if self._last is None:
            return b""
        self._last_left -= 1
        last = self._last
        if not self._last_left:
            self._last = None
        try:
            return last.open(packet)
        except (Error, ValueError):
            return b""

    def _refused(self, error: Exception) -> bytes:
        if "replay" in str(error):
            self.stats.dropped_replayed += 1
        else:
            self.stats.dropped_forged += 1
        return b""
