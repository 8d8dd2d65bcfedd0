"""HEP version 3, "HEP3": a captured SIP message as Homer takes it. No I/O.

Source: the HEP3 network protocol specification of the sipcapture project, revision 36: a header of six bytes,
then chunks, each with a vendor (0: generic), a type, and its own length, all in network order.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Final, NamedTuple

MAX_PAYLOAD: Final = 64_000
"""Bytes of one message: with its chunks it has to fit into one UDP datagram."""

_HEADER: Final = struct.Struct("!4sH")
_CHUNK: Final = struct.Struct("!HHH")
_BYTE: Final = struct.Struct("!HHHB")
_SHORT: Final = struct.Struct("!HHHH")
_LONG: Final = struct.Struct("!HHHI")
_SIP: Final = 1
_FAMILIES: Final = {4: 2, 6: 10}
_PROTOCOLS: Final = {"udp": 17, "tcp": 6, "tls": 6}


class Captured(NamedTuple):
    """A message and where it went by.

    at: seconds since the epoch; transport: `udp`, `tcp` or `tls`.
    source, destination: IP literal and port.
    correlation: what all legs of a call have in common; empty if unknown.
    """

    at: float
    transport: str
    source: tuple[str, int]
    destination: tuple[str, int]
    message: bytes
    correlation: str = ""


def encode(captured: Captured, agent_id: int, password: str = "") -> bytes:
    """One datagram. agent_id: who captured it, 32 bits; password: Homer's, if it wants one.

    A message that does not fit is cut short. Addresses of two families count as the source's.

    Raises:
        ValueError: an address is no IP literal.

    """
    source, destination = ip_address(captured.source[0]), ip_address(captured.destination[0])
    seconds, rest = divmod(round(captured.at * 1_000_000), 1_000_000)
    first_address = 3 if source.version == 4 else 5
    chunks = [
        _BYTE.pack(0, 1, 7, _FAMILIES[source.version]),
        _BYTE.pack(0, 2, 7, _PROTOCOLS[captured.transport]),
        _chunk(first_address, source.packed),
        _chunk(first_address + 1, (destination if destination.version == source.version else source).packed),
        _SHORT.pack(0, 7, 8, captured.source[1]),
        _SHORT.pack(0, 8, 8, captured.destination[1]),
        _LONG.pack(0, 9, 10, seconds),
        _LONG.pack(0, 10, 10, rest),
        _BYTE.pack(0, 11, 7, _SIP),
        _LONG.pack(0, 12, 10, agent_id),
    ]
    if password:
        chunks.append(_chunk(14, password.encode()))
    if captured.correlation:
        chunks.append(_chunk(17, captured.correlation.encode()))
    chunks.append(_chunk(15, captured.message[:MAX_PAYLOAD]))
    body = b"".join(chunks)
    return _HEADER.pack(b"HEP3", _HEADER.size + len(body)) + body


def _chunk(kind: int, value: bytes) -> bytes:
    return _CHUNK.pack(0, kind, _CHUNK.size + len(value)) + value
