"""RTCP (RFC 3550 §6): what one side of an RTP session tells the other of what it sent and received.

Bytes in, values out, and back. A datagram is a *compound* packet: a sender or receiver report first, then who
is speaking (CNAME), perhaps a goodbye. Packet types that say nothing about quality (APP, feedback, extended
reports) are skipped over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203

MAX_BLOCKS = 31
"""Report blocks of one report, sources of one description: the count has five bits (§6.4.1)."""

MAX_CNAME = 255
"""Bytes of a CNAME: its length is one byte (§6.5)."""

LOWEST_LOSS, HIGHEST_LOSS = -0x800000, 0x7FFFFF
"""Packets lost are counted in 24 bits, signed; duplicates make it negative (§6.4.1)."""

_CNAME_ITEM = 1
_PADDING = 0x20
_COUNT = 0x1F
_HEADER = struct.Struct("!BBH")
_WORD = struct.Struct("!I")
_SENDER = struct.Struct("!QIII")
_BLOCK = struct.Struct("!IIIIII")

_NTP_EPOCH = 2_208_988_800
"""Seconds from 1900, where NTP counts from, to 1970."""


class RtcpError(Exception):
    """The datagram is no RTCP compound packet; the text says why."""


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """How one source was received (§6.4.1).

    ssrc: of the source.
    fraction_lost: since the last report, in 256ths.
    lost: packets, since the beginning; negative when duplicates outnumber losses.
    highest: sequence number received, the times it wrapped in the upper 16 bits.
    jitter: interarrival jitter in units of the source's RTP clock.
    last_report: the middle 32 bits of the NTP time in the source's latest sender report; 0 if none came.
    delay: since that report came, in units of 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    lost: int
    highest: int
    jitter: int
    last_report: int = 0
    delay: int = 0


@dataclass(frozen=True, slots=True)
class SenderInfo:
    """What a source says of its own stream (§6.4.1).

    ntp: the moment of the report, 64-bit NTP time; timestamp: the same moment on the RTP clock.
    packets, octets: sent since the beginning; octets of payload only. Both wrap at 2**32.
    """

    ntp: int
    timestamp: int
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class Report:
    """A sender report (§6.4.1), or without `sender` a receiver report (§6.4.2), of the participant `ssrc`."""

    ssrc: int
    sender: SenderInfo | None = None
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Compound:
    """What a datagram says.

    reports: at least one.
    cnames: SSRC and CNAME of each source described.
    goodbyes: sources that have left.
    """

    reports: tuple[Report, ...]
    cnames: tuple[tuple[int, str], ...] = ()
    goodbyes: tuple[int, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Compound:
        """Read a datagram (the checks are those of RFC 3550 §A.2).

        Raises:
            RtcpError: it does not begin with a report, or a length in it does not fit.

        """
        reports: list[Report] = []
        cnames: list[tuple[int, str]] = []
        goodbyes: list[int] = []
        at = 0
        while at < len(data):
            count, kind, body, at = _packet(data, at)
            if kind in (SENDER_REPORT, RECEIVER_REPORT):
                reports.append(_report(kind, count, body))
            elif not reports:
                raise RtcpError(f"begins with packet type {kind}, which is no report")
            elif kind == SOURCE_DESCRIPTION:
                cnames += _cnames(count, body)
            elif kind == GOODBYE:
                goodbyes += _goodbyes(count, body)
        if not reports:
            raise RtcpError("an empty datagram")
        return cls(tuple(reports), tuple(cnames), tuple(goodbyes))

    def to_bytes(self) -> bytes:
        """The datagram. At most `MAX_BLOCKS` blocks, CNAMEs and goodbyes fit."""
        data = b"".join(_report_bytes(report) for report in self.reports)
        if self.cnames:
            chunks = b"".join(_chunk(ssrc, cname) for ssrc, cname in self.cnames)
            data += _framed(SOURCE_DESCRIPTION, len(self.cnames), chunks)
        if self.goodbyes:
            data += _framed(GOODBYE, len(self.goodbyes), b"".join(map(_WORD.pack, self.goodbyes)))
        return data


def ntp_time(seconds: float) -> int:
    """Seconds since 1970 as 64-bit NTP time: 32.32 fixed point, since 1900."""
    return round((seconds + _NTP_EPOCH) * 0x100000000) & 0xFFFFFFFFFFFFFFFF


def middle(ntp: int) -> int:
    """The middle 32 bits of an NTP time: 16.16 fixed point, as report blocks repeat it."""
    return ntp >> 16 & 0xFFFFFFFF


def _packet(data: bytes, at: int) -> tuple[int, int, bytes, int]:
    """Count, type and body of the packet that begins at `at`, and where the next one begins."""
    if len(data) - at < _HEADER.size:
        raise RtcpError("cut off within a header")
    first, kind, words = _HEADER.unpack_from(data, at)
    end = at + 4 + 4 * words
    if first & 0xC0 != 0x80:
        raise RtcpError(f"version {first >> 6}")
    if end > len(data):
        raise RtcpError("a packet is longer than the datagram")
    body = data[at + 4 : end]
    if first & _PADDING:  # only the last one of a datagram may be padded
        padding = body[-1] if body else 0
        if end != len(data) or not 0 < padding <= len(body):
            raise RtcpError("bad padding")
        body = body[:-padding]
    return first & _COUNT, kind, body, end


def _report(kind: int, count: int, body: bytes) -> Report:
    start = 4 + (_SENDER.size if kind == SENDER_REPORT else 0)
    if len(body) < start + count * _BLOCK.size:
        raise RtcpError("a report is shorter than its count of blocks")
    sender = SenderInfo(*_SENDER.unpack_from(body, 4)) if kind == SENDER_REPORT else None
    blocks = []
    for number in range(count):
        ssrc, loss, *rest = _BLOCK.unpack_from(body, start + number * _BLOCK.size)
        lost = loss & 0xFFFFFF
        lost -= (lost & 0x800000) << 1
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, *rest))
    return Report(_WORD.unpack_from(body)[0], sender, tuple(blocks))


def _cnames(count: int, body: bytes) -> list[tuple[int, str]]:
    """SSRC and CNAME of each chunk that has one (§6.5)."""
    found = []
    at = 0
    for _ in range(count):
        if len(body) - at < 4:
            raise RtcpError("a source description is shorter than its count of sources")
        ssrc = _WORD.unpack_from(body, at)[0]
        at += 4
        while at < len(body) and body[at]:
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                raise RtcpError("an item of a source description is longer than its packet")
            text = body[at + 2 : at + 2 + body[at + 1]]
            if body[at] == _CNAME_ITEM:
                found.append((ssrc, text.decode("utf-8", "replace")))
            at += 2 + len(text)
        at += 4 - at % 4  # at least one null byte ends the list of items
    return found


def _goodbyes(count: int, body: bytes) -> tuple[int, ...]:
    if len(body) < 4 * count:
        raise RtcpError("a goodbye is shorter than its count of sources")
    return struct.unpack_from(f"!{count}I", body)


def _report_bytes(report: Report) -> bytes:
    body = _WORD.pack(report.ssrc)
    if (sender := report.sender) is not None:
        body += _SENDER.pack(
            sender.ntp, sender.timestamp, sender.packets & 0xFFFFFFFF, sender.octets & 0xFFFFFFFF
        )
    for block in report.blocks:
        lost = min(max(block.lost, LOWEST_LOSS), HIGHEST_LOSS) & 0xFFFFFF
        loss = block.fraction_lost << 24 | lost
        body += _BLOCK.pack(block.ssrc, loss, block.highest, block.jitter, block.last_report, block.delay)
    kind = RECEIVER_REPORT if report.sender is None else SENDER_REPORT
    return _framed(kind, len(report.blocks), body)


def _chunk(ssrc: int, cname: str) -> bytes:
    text = cname.encode()[:MAX_CNAME]
    item = bytes((_CNAME_ITEM, len(text))) + text
    return _WORD.pack(ssrc) + item + bytes(4 - len(item) % 4)


def _framed(kind: int, count: int, body: bytes) -> bytes:
    if count > MAX_BLOCKS:
        raise ValueError(f"{count} of a kind do not fit into one packet")
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body
