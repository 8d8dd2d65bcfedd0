"""What is known about a leg's two streams: counts, loss by sequence gaps, jitter, and what the peer reports.

RFC 3550 §6.4.1, A.1, A.3 and A.8. `received` runs for every packet, so it is one flat method on plain
integers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MAX_DROPOUT = 3000
"""A forward jump above this many packets (a minute) is a restarted source, not loss (RFC 3550 A.1)."""

MAX_MISORDER = 100
"""A packet up to this many numbers late is reordered or a duplicate, not a restart (RFC 3550 A.1)."""

CLOCK_RATE = 8000
"""Timestamp units a second until another codec is agreed on (RFC 3551 §4.5.14)."""

_FIELDS = struct.Struct("!HII")
"""Sequence number, timestamp, SSRC: bytes 2 to 11 of the header."""


@dataclass(slots=True)
class PortStats:
    """Counters of one media port. Packets are RTP packets; RTCP is not counted.

    packets_in: accepted; packets_out: handed to the network;
    dropped_source: well-formed, but from an address that is not the peer's;
    dropped_invalid: not RTP at all (STUN, keep-alives, garbage), or not opened by the leg's SRTP keys;
    dropped_forged, dropped_replayed: of these, what the peer's key has not sealed, and what had come before;
    send_failures: refused by the local network stack (no route, buffer full).
    codec, clock_rate: what is spoken on this leg, as SDP names it, and its timestamp units a second.
    far_lost, far_jitter: packets and seconds, as the peer reports of what we send; None before it does.
    handshake: how DTLS ended on an encrypted leg: ``done``, ``failed``; empty where there was none.
    measured: whether loss and jitter are known; another relay may count packets and no more.
    """

    packets_in: int = 0
    packets_out: int = 0
    dropped_source: int = 0
    dropped_invalid: int = 0
    dropped_forged: int = 0
    dropped_replayed: int = 0
    send_failures: int = 0
    codec: str = ""
    clock_rate: int = CLOCK_RATE
    far_lost: int | None = None
    far_jitter: float | None = None
    measured: bool = True
    handshake: str = ""

    _round_trips: int = field(default=0, init=False, repr=False)
    _round_trip_sum: float = field(default=0.0, init=False, repr=False)
    _ssrc: int = field(default=-1, init=False, repr=False)
    _first: int = field(default=0, init=False, repr=False)
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
        return self._jitter / self.clock_rate

    @property
    def jitter_units(self) -> int:
        """The same in timestamp units, as reports tell it."""
        return int(self._jitter)

    @property
    def round_trip(self) -> float | None:
        """Seconds to the peer and back, the mean of all measurements; None before the first."""
        return self._round_trip_sum / self._round_trips if self._round_trips else None

    @property
    def ssrc(self) -> int | None:
        """The source that is received; None before its first packet."""
        return self._ssrc if self._ssrc >= 0 else None

    @property
    def expected(self) -> int:
        """Packets that this source has sent by its sequence numbers; `source_received`: those that came."""
        return self._expected

    @property
    def source_received(self) -> int:
        """See `expected`; duplicates count."""
        return self._received

    @property
    def extended_highest(self) -> int:
        """The highest sequence number received, the times it wrapped in the upper 16 bits."""
        return (self._first + self._expected - 1) & 0xFFFFFFFF

    def speaks(self, codec: str, clock_rate: int) -> None:
        """What is spoken on this leg from now on; another clock begins to measure jitter anew."""
        self.codec = codec
        if clock_rate > 0 and clock_rate != self.clock_rate:
            self.clock_rate = clock_rate
            self._jitter = 0.0

    def measured_round_trip(self, seconds: float) -> None:
        """One way to the peer and back, measured by its report."""
        self._round_trips += 1
        self._round_trip_sum += seconds

    def told(self, packets: int, *, loss: float | None, jitter: float) -> None:
        """What another relay has counted of this stream so far.

        loss: share of the packets that were sent, 0 to 1; None if it does not know. jitter: seconds.
        """
        self.packets_in = packets
        self.measured = loss is not None
        share = min(loss or 0.0, 0.99)
        self._lost_before = round(packets * share / (1 - share))
        self._jitter = jitter * self.clock_rate

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
        clock_rate = self.clock_rate
        deviation = abs((now - self._arrival) * clock_rate - elapsed)
        if deviation < clock_rate:  # above a second it is a re-based media clock, not jitter of the network
            self._jitter += (deviation - self._jitter) / 16
        self._timestamp = timestamp
        self._arrival = now

    def _restart(self, sequence: int, timestamp: int, ssrc: int, now: float) -> None:
        """A new source, or the old one with new numbers: keep its losses, begin again (RFC 3550 A.1)."""
        self._lost_before = self.lost
        self._ssrc = ssrc
        self._first = self._highest = sequence
        self._expected = self._received = 1
        self._timestamp = timestamp
        self._arrival = now
