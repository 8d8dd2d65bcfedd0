"""The reports of one port: sent at the RFC's random intervals, and the peer's taken for what they tell us.

Whatever goes through a port — a relay's packets, a session's, a ringback tone — is reported from what the
port itself has counted, so each leg of a call has RTCP of its own, terminated here. A report of the peer's is
believed when its sender is the source that we receive, and what it says of us when it names the source that
we send: who wants to lie must guess 32 bits, beside the address.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.media.reception import PortStats
from gateway.media.rtcp import Compound, Report, ReportBlock, RtcpError, SenderInfo, middle, ntp_time
from gateway.media.rtp import signed32

MIN_INTERVAL = 5.0
"""Seconds between reports, before chance (RFC 3550 §6.2). In a session of two the share of the bandwidth,
from which larger sessions compute their interval, never asks for more."""

RECONSIDERATION = 1.21828
"""e - 3/2: makes up for what timer reconsideration adds on the average (§6.3.1)."""

RTP_HEADER = 12
"""Bytes of a packet that are no payload."""

PATIENCE = 0.1
"""Seconds that a report which is due waits for the next packet, whose timestamp it tells together with the
time."""

MAX_SENT_REPORTS = 16
"""Sender reports that an answer may refer to: a minute and more of them."""

ROUNDING = 0.001
"""Seconds by which a short way can come out below nothing: both ends round, and clocks drift."""

MAX_ROUND_TRIP = 10.0
"""Seconds; a longer way to the peer and back is a mistake of somebody's clock."""


class ReportedPort(Protocol):
    """What a reporter needs of its port."""

    stats: PortStats

    def send_rtcp(self, packet: bytes) -> None:
        """See `gateway.media.ports.MediaPort.send_rtcp`."""

    def watch_next(self, seen: Callable[[bytes], None]) -> None:
        """Call `seen` with the next packet that is sent, once, before it is counted."""


@dataclass(slots=True)
class _Stream:
    """What we send: of one packet the source, the time, and the timestamp; counts since the source began.

    Octets are reckoned: so many packets of the watched one's length.
    """

    ssrc: int
    timestamp: int
    at: float
    packets: int
    octets: int
    counted: int


def report_interval(*, first: bool, chance: float) -> float:
    """Seconds until the next report of a session of two (§6.3.1).

    first: half of it, so that newcomers are known soon.
    chance: 0 to 1, evenly distributed: participants must not fall into step.
    """
    return (MIN_INTERVAL / 2 if first else MIN_INTERVAL) * (0.5 + chance) / RECONSIDERATION


class Reporter:
    """Sends and takes the reports of one port; made inside of a running loop, begins at once.

    Args:
        clock: seconds, the one that the port's statistics come from.
        ntp_offset: seconds to be added to it for the time since 1970. A constant: a step of the wall clock
            must not look like a round trip.
        chance: 0 to 1, evenly distributed.
        random_bits: source of our SSRC and CNAME.

    """

    __slots__ = (
        "_chance",
        "_clock",
        "_cname",
        "_counts_before",
        "_heard",
        "_heard_at",
        "_loop",
        "_ntp_offset",
        "_port",
        "_prior",
        "_reported",
        "_sent",
        "_ssrc",
        "_stopped",
        "_stream",
        "_timer",
    )

    def __init__(
        self,
        port: ReportedPort,
        *,
        clock: Callable[[], float],
        ntp_offset: float,
        chance: Callable[[], float] = random.random,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._port = port
        self._clock = clock
        self._ntp_offset = ntp_offset
        self._chance = chance
        self._ssrc = random_bits(32)
        self._cname = f"{random_bits(96):024x}"  # RFC 7022 §4.2: says nothing of who or where
        self._stream: _Stream | None = None
        self._prior: tuple[int, int, int] | None = None
        self._counts_before: deque[int] = deque(maxlen=2)
        self._sent: deque[int] = deque(maxlen=MAX_SENT_REPORTS)
        self._heard = 0
        self._heard_at = 0.0
        self._reported = self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(report_interval(first=True, chance=chance()), self._due)

    def receive(self, packet: bytes) -> None:
        """Take one RTCP datagram from the peer; what is none is counted and ignored.

        A goodbye ends nothing: calls end by SIP.
        """
        try:
            compound = Compound.parse(packet)
        except RtcpError:
            self._port.stats.dropped_invalid += 1
            return
        now = self._clock()
        source = self._port.stats.ssrc
        for report in compound.reports:
            if source is not None and report.ssrc != source:
                continue
            if report.sender is not None:
                self._heard, self._heard_at = middle(report.sender.ntp), now
            for block in report.blocks:
                if block.ssrc == self._ssrc:
                    self._learn(block, now)

    def stop(self) -> None:
        """Send nothing more. Idempotent."""
        self._stopped = True
        self._timer.cancel()

    def leave(self) -> None:
        """The session is over: say goodbye, to a peer that knows of us (§6.3.7), and stop."""
        if not self._stopped and self._reported:
            self._send(goodbye=True)
        self.stop()

    def _due(self) -> None:
        stats = self._port.stats
        if stats.packets_out:
            self._timer = self._loop.call_later(PATIENCE, self._report)
            self._port.watch_next(self._watched)
        elif stats.packets_in:
            self._report()
        else:  # until media flows there is nobody to report to
            self._wait()

    def _watched(self, packet: bytes) -> None:
        """A packet is on its way just now."""
        if self._stopped:
            return
        stats, stream, now = self._port.stats, self._stream, self._clock()
        ssrc, counted = int.from_bytes(packet[8:12]), stats.packets_out + 1
        if stream is None or stream.ssrc != ssrc:
            # A relay's streams bring their own source, and another agent another one. What was sent since the
            # last look is taken for the new one's.
            already = stream.counted if stream is not None else 0
            self._stream = stream = _Stream(ssrc, 0, now, 0, 0, already)
            self._ssrc = ssrc
        packets = counted - stream.counted
        stream.packets += packets
        stream.octets += packets * max(0, len(packet) - RTP_HEADER)
        stream.counted = counted
        stream.timestamp, stream.at = int.from_bytes(packet[4:8]), now
        if self._timer.when() - self._loop.time() <= PATIENCE:  # it is waited for
            self._report()

    def _report(self) -> None:
        self._send()
        self._wait()

    def _wait(self) -> None:
        self._timer.cancel()
        interval = report_interval(first=False, chance=self._chance())
        self._timer = self._loop.call_later(interval, self._due)

    def _send(self, *, goodbye: bool = False) -> None:
        now = self._clock()
        sender = self._sender_info(now)
        report = Report(self._ssrc, sender, self._blocks(now))
        if sender is not None:
            self._sent.append(middle(sender.ntp))
        self._reported = True
        self._counts_before.append(self._port.stats.packets_out)
        goodbyes = (self._ssrc,) if goodbye else ()
        self._port.send_rtcp(Compound((report,), ((self._ssrc, self._cname),), goodbyes).to_bytes())

    def _sender_info(self, now: float) -> SenderInfo | None:
        """What we say of our stream; None unless we sent since the report before the last (§6.4)."""
        stream, before = self._stream, self._counts_before
        if stream is None or (len(before) == 2 and before[0] == self._port.stats.packets_out):
            return None
        since = round((now - stream.at) * self._port.stats.clock_rate)
        timestamp = stream.timestamp + since & 0xFFFFFFFF
        return SenderInfo(ntp_time(now + self._ntp_offset), timestamp, stream.packets, stream.octets)

    def _blocks(self, now: float) -> tuple[ReportBlock, ...]:
        """How the peer's stream is received (§A.3); nothing while there is none."""
        stats = self._port.stats
        if stats.ssrc is None:
            return ()
        ssrc, expected, received = stats.ssrc, stats.expected, stats.source_received
        before = self._prior if self._prior is not None and self._prior[0] == ssrc else (ssrc, 0, 0)
        self._prior = ssrc, expected, received
        lately = expected - before[1]
        lost_lately = lately - (received - before[2])
        fraction = min(255, (lost_lately << 8) // lately) if lately > 0 and lost_lately > 0 else 0
        delay = round((now - self._heard_at) * 0x10000) if self._heard else 0
        return (
            ReportBlock(
                ssrc,
                fraction,
                expected - received,
                stats.extended_highest,
                stats.jitter_units & 0xFFFFFFFF,
                self._heard,
                min(delay, 0xFFFFFFFF),
            ),
        )

    def _learn(self, block: ReportBlock, now: float) -> None:
        """Keep what the peer says of our stream (§6.4.1)."""
        stats = self._port.stats
        stats.far_lost = block.lost
        stats.far_jitter = block.jitter / stats.clock_rate
        if block.last_report not in self._sent:
            return
        arrived = middle(ntp_time(now + self._ntp_offset))
        round_trip = signed32(arrived - block.last_report - block.delay) / 0x10000
        if -ROUNDING < round_trip < MAX_ROUND_TRIP:
            stats.measured_round_trip(max(0.0, round_trip))
