"""What is known about a received stream: counts, loss by sequence gaps, interarrival jitter.

RFC 3550 §6.4.1, A.1, A.3 and A.8. This runs for every packet, so it is one flat method on plain integers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MAX_DROPOUT = 3000
"""A forward jump above this many packets (a minute) is a restarted source, not loss (RFC 3550 A.1)."""

MAX_MISORDER = 100
"""A packet up to this many numbers late is reordered or a duplicate, not a restart (RFC 3550 A.1)."""

MAX_TRANSIT_STEP = 8000
"""A change of transit time above one second is a re-based media clock, not jitter of the network."""

CLOCK_RATE = 8000
"""Timestamp units a second of every codec that we speak (RFC 3551 §4.5.14)."""

_FIELDS = struct.Struct("!HII")
"""Sequence number, timestamp, SSRC: bytes 2 to 11 of the header."""


@dataclass(slots=True)
class PortStats:
    """Counters of one media port. Packets are RTP packets; RTCP is not counted.

    packets_in: accepted; packets_out: handed to the network;
    dropped_source: well-formed, but from an address that is not the peer's;
    dropped_invalid: not RTP at all (STUN, DTLS, keep-alives, garbage);
    send_failures: refused by the local network stack (no route, buffer full).
    """

    packets_in: int = 0
    packets_out: int = 0
    dropped_source: int = 0
    dropped_invalid: int = 0
    send_failures: int = 0

    _ssrc: int = field(default=-1, init=False, repr=False)
    _highest: int = field(default=0, init=False, repr=False)
    _expected: int = field(default=0, init=False, repr=False)
    _received: int = field(default=0, init=False, repr=False)
    _lost_before: int = field(default=0, init=False, repr=False)
    _timestamp: int = field(default=0, init=False, repr=False)
    _arrival: float = field(default=0.0, init=False, repr=False)
    _jitter: float = field(default=0.0, init=False, repr=False)

    @property
    def lost(self) -> int:
        """Packets that the sequence numbers say were sent and that never came, over all sources so far."""
        return self._lost_before + max(0, self._expected - self._received)

    @property
    def jitter(self) -> float:
        """Interarrival jitter in seconds, the running estimate of RFC 3550 A.8."""
        return self._jitter / CLOCK_RATE

    def received(self, packet: bytes, now: float) -> None:
        """Count one valid RTP packet that arrived at `now` (seconds)."""
        self.packets_in += 1
        sequence, timestamp, ssrc = _FIELDS.unpack_from(packet, 2)
        step = (sequence - self._highest) & 0xFFFF
        if ssrc != self._ssrc or MAX_DROPOUT < step < 0x10000 - MAX_MISORDER:
            self._restart(sequence, timestamp, ssrc, now)
            return
        self._received += 1
        if step == 0 or step > MAX_DROPOUT:
            return
        self._highest = sequence
        self._expected += step
        elapsed = timestamp - self._timestamp
        if elapsed == 0:  # the packets of a DTMF event share a timestamp (RFC 4733 §2.5.1.2)
            return
        if elapsed < -0x80000000:
            elapsed += 0x100000000
        deviation = abs((now - self._arrival) * CLOCK_RATE - elapsed)
        if deviation < MAX_TRANSIT_STEP:
            self._jitter += (deviation - self._jitter) / 16
        self._timestamp = timestamp
        self._arrival = now

    def _restart(self, sequence: int, timestamp: int, ssrc: int, now: float) -> None:
        """A new source, or the old one with new numbers: keep its losses, begin again (RFC 3550 A.1)."""
        self._lost_before = self.lost
        self._ssrc = ssrc
        self._highest = sequence
        self._expected = self._received = 1
        self._timestamp = timestamp
        self._arrival = now
