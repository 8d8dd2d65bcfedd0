"""STUN binding (RFC 8489): the question, and what its answer says. No I/O, no clock, no dice.

Nothing but the address is of use here: the server says under which one our question came out of the NAT. No
credentials, no long-term mechanism, no ICE.
"""

from __future__ import annotations

import struct
from binascii import crc32
from ipaddress import IPv4Address, IPv6Address
from typing import Final

MAGIC_COOKIE: Final = 0x2112A442
TRANSACTION_BYTES: Final = 12
RETRANSMIT_AFTER: Final = (0.5, 1.0, 2.0)
"""Seconds that each sending waits for an answer; §6.2.1 goes on for 39.5 s, a start cannot."""

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_BINDING_ERROR: Final = 0x0111
_MAPPED_ADDRESS: Final = 0x0001
_ERROR_CODE: Final = 0x0009
_XOR_MAPPED_ADDRESS: Final = 0x0020
_FINGERPRINT: Final = 0x8028
_FINGERPRINT_XOR: Final = 0x5354554E
_FAMILIES: Final = {1: (4, IPv4Address), 2: (16, IPv6Address)}


class StunError(Exception):
    """The datagram is no answer to our question, or it is a refusal."""


def binding_request(transaction: bytes) -> bytes:
    """The question (§5), 20 bytes; the transaction's 12 bytes must not be guessable."""
    if len(transaction) != TRANSACTION_BYTES:
        raise ValueError(f"a transaction id has {TRANSACTION_BYTES} bytes")
    return _HEADER.pack(_BINDING_REQUEST, 0, MAGIC_COOKIE, transaction)


def mapped_address(data: bytes, transaction: bytes) -> str:
    """The address that a binding response names (§14.1, §14.2), as an IP literal.

    Raises:
        StunError: this is not the answer to that question.

    """
    if len(data) < _HEADER.size:
        raise StunError("too short")
    kind, length, cookie, answered = _HEADER.unpack_from(data)
    if cookie != MAGIC_COOKIE or answered != transaction:
        raise StunError("an answer to something else")
    if length % 4 or length != len(data) - _HEADER.size:
        raise StunError("its length is wrong")
    attributes = _attributes(data)
    if kind == _BINDING_ERROR:
        raise StunError(f"refused with {_error_code(attributes.get(_ERROR_CODE, b''))}")
    if kind != _BINDING_SUCCESS:
        raise StunError("no binding response")
    if _XOR_MAPPED_ADDRESS in attributes:
        return _address(attributes[_XOR_MAPPED_ADDRESS], data[4:20])
    if _MAPPED_ADDRESS in attributes:  # servers of RFC 3489
        return _address(attributes[_MAPPED_ADDRESS], bytes(16))
    raise StunError("it names no address")


def _attributes(data: bytes) -> dict[int, bytes]:
    """The first of each kind (§14); those behind a FINGERPRINT do not count."""
    found: dict[int, bytes] = {}
    at = _HEADER.size
    while at < len(data):
        if at + _ATTRIBUTE.size > len(data):
            raise StunError("an attribute is cut off")
        kind, length = _ATTRIBUTE.unpack_from(data, at)
        value = data[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + length]
        if len(value) != length:
            raise StunError("an attribute is cut off")
        if kind == _FINGERPRINT:
            if length != 4 or int.from_bytes(value, "big") != crc32(data[:at]) ^ _FINGERPRINT_XOR:
                raise StunError("its fingerprint is wrong")
            break
        found.setdefault(kind, value)
        at += _ATTRIBUTE.size + (length + 3) // 4 * 4
    return found


def _address(value: bytes, mask: bytes) -> str:
    family, constructor = _FAMILIES.get(value[1] if len(value) > 1 else 0, (0, IPv4Address))
    if not family or len(value) != 4 + family:
        raise StunError("its address cannot be read")
    return str(constructor(bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))))


def _error_code(value: bytes) -> str:
    """Class and number (§14.8), and the reason as far as it is text."""
    if len(value) < 4:
        return "no reason"
    reason = value[4:132].decode(errors="replace")
    return f"{(value[2] & 7) * 100 + value[3]} {reason if reason.isprintable() else ''}".strip()
