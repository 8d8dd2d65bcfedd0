"""A trace as a packet capture, for Wireshark, tshark and sngrep.

What we kept are messages and addresses, so that the packets around them are made anew: UDP as it was; TCP as
one segment a message, its sequence numbers continuing, without handshake; what came over TLS as TCP, in the
clear, on port 5060 where the port was 5061, since a dissector would look for TLS there. Of RTP only the
header was kept: such packets are cut short, as a capture with a small snapshot length has them.

https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html, link type 101 (raw IP).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from gateway.traces.segments import Entry

CONTENT_TYPE: Final = "application/vnd.tcpdump.pcap"

SNAPSHOT: Final = 262_144
RAW_IP: Final = 101

UDP, TCP = 17, 6

MAX_SEGMENT: Final = 60_000
"""Bytes of a message in one packet: an IP packet has 65,535."""

RTP_HEADER: Final = 12
RTP_LENGTH: Final = struct.Struct("!H")
"""Behind the header of an RTP packet: how long it was."""

SIP_TLS_PORT, SIP_PORT = 5061, 5060

_Place = tuple[str, int]


def capture(entries: Iterable[Entry]) -> bytes:
    """The file."""
    sequences: dict[tuple[_Place, _Place], int] = {}
    packets = [struct.pack("!IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPSHOT, RAW_IP)]
    for entry in entries:
        ours, theirs = (entry.local_host, entry.local_port), (entry.host, entry.port)
        if entry.transport == "tls":
            ours, theirs = _in_the_clear(ours), _in_the_clear(theirs)
        source, target = (ours, theirs) if entry.out else (theirs, ours)
        for packet, length in _packets(entry, source, target, sequences):
            seconds, fraction = divmod(round(entry.at * 1_000_000), 1_000_000)
            packets.append(struct.pack("!IIII", seconds, fraction, len(packet), length))
            packets.append(packet)
    return b"".join(packets)


def _in_the_clear(place: _Place) -> _Place:
    return (place[0], SIP_PORT if place[1] == SIP_TLS_PORT else place[1])


def _packets(
    entry: Entry, source: _Place, target: _Place, sequences: dict[tuple[_Place, _Place], int]
) -> Iterable[tuple[bytes, int]]:
    """Each packet of an entry, and how long it was on the wire."""
    if entry.transport == "rtp":
        head, length = entry.data[:RTP_HEADER], RTP_LENGTH.unpack_from(entry.data, RTP_HEADER)[0]
        yield _ip(source[0], target[0], UDP, _udp(source, target, head, length), missing=length - len(head))
    elif entry.transport == "udp":
        yield _ip(source[0], target[0], UDP, _udp(source, target, entry.data, len(entry.data)))
    else:
        for start in range(0, len(entry.data), MAX_SEGMENT):
            piece = entry.data[start : start + MAX_SEGMENT]
            ours = sequences.get((source, target), 1)
            acknowledged = sequences.get((target, source), 1)
            sequences[source, target] = (ours + len(piece)) & 0xFFFFFFFF
            header = struct.pack(
                "!HHIIBBHHH", source[1], target[1], ours, acknowledged, 0x50, 0x18, 65_535, 0, 0
            )
            yield _ip(source[0], target[0], TCP, header + piece)


def _udp(source: _Place, target: _Place, data: bytes, length: int) -> bytes:
    return struct.pack("!HHHH", source[1], target[1], min(8 + length, 0xFFFF), 0) + data


def _ip(source: str, target: str, protocol: int, payload: bytes, *, missing: int = 0) -> tuple[bytes, int]:
    """A packet, and its length with what is missing at its end."""
    first, second = ip_address(source), ip_address(target)
    length = len(payload) + missing
    if first.version == 4 and second.version == 4:
        total = min(20 + length, 0xFFFF)
        header = struct.pack("!BBHHHBBH", 0x45, 0, total, 0, 0x4000, 64, protocol, 0)
        header += first.packed + second.packed
        header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
        return header + payload, total
    sides = b"".join(
        side.packed if side.version == 6 else b"\0" * 10 + b"\xff\xff" + side.packed
        for side in (first, second)
    )
    header = struct.pack("!IHBB", 6 << 28, min(length, 0xFFFF), protocol, 64) + sides
    return _checked(header, sides, protocol, payload) if not missing else header + payload, 40 + length


def _checked(header: bytes, sides: bytes, protocol: int, payload: bytes) -> bytes:
    """An IPv6 packet with the checksum that it must have (RFC 8200 §8.1)."""
    at = 6 if protocol == UDP else 16
    pseudo = sides + struct.pack("!IHBB", len(payload), 0, 0, protocol)
    checksum = _checksum(pseudo + payload) or 0xFFFF
    return header + payload[:at] + struct.pack("!H", checksum) + payload[at + 2 :]


def _checksum(data: bytes) -> int:
    """The sum of RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
