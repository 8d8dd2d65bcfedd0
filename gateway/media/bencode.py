"""Bencoding, as rtpengine's ng protocol writes its dictionaries; JSON is not understood by every release.

Integers ``i…e``, strings ``length:bytes``, lists ``l…e``, dictionaries ``d…e`` with strings as keys. What is
read is whatever a datagram holds, so depth and number of digits are bounded and nothing else is raised than
`BencodeError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

MAX_DEPTH: Final = 16
"""Lists and dictionaries within each other; rtpengine's statistics have nine."""

MAX_DIGITS: Final = 20
"""Of a number: 64 bits and a sign."""

Written: TypeAlias = "int | str | bytes | Sequence[Written] | Mapping[str, Written]"
"""What can be written; texts as UTF-8."""

Read: TypeAlias = "int | bytes | list[Read] | dict[str, Read]"
"""What was read."""


class BencodeError(Exception):
    """It is no bencoding, or more than is taken; the text says why."""


def encode(value: Written) -> bytes:
    """Write a value; keys of dictionaries in order."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def decode(data: bytes) -> Read:
    """Read exactly one value. Raises BencodeError."""
    value, at = _read(data, 0, 0)
    if at != len(data):
        raise BencodeError(f"{len(data) - at} bytes after the end")
    return value


def _write(value: Written, parts: list[bytes]) -> None:
    if isinstance(value, int):
        parts.append(b"i%de" % value)
    elif isinstance(value, str | bytes):
        raw = value.encode() if isinstance(value, str) else value
        parts += (b"%d:" % len(raw), raw)
    elif isinstance(value, Mapping):
        parts.append(b"d")
        for key in sorted(value, key=str.encode):
            _write(key, parts)
            _write(value[key], parts)
        parts.append(b"e")
    else:
        parts.append(b"l")
        for each in value:
            _write(each, parts)
        parts.append(b"e")


def _read(data: bytes, at: int, depth: int) -> tuple[Read, int]:
    kind = data[at : at + 1]
    if kind.isdigit():
        return _string(data, at)
    if kind == b"i":
        ends = data.find(b"e", at, at + MAX_DIGITS + 3)
        return _number(data[at + 1 : ends] if ends > 0 else b""), ends + 1
    if kind not in (b"l", b"d"):
        raise BencodeError(
            "neither a number nor a string, a list or a dictionary" if kind else "it ends early"
        )
    if depth >= MAX_DEPTH:
        raise BencodeError(f"more than {MAX_DEPTH} values within each other")
    at += 1
    if kind == b"l":
        items: list[Read] = []
        while data[at : at + 1] != b"e":
            item, at = _read(data, at, depth + 1)
            items.append(item)
        return items, at + 1
    found: dict[str, Read] = {}
    while data[at : at + 1] != b"e":
        key, at = _string(data, at)
        found[key.decode("utf-8", "replace")], at = _read(data, at, depth + 1)
    return found, at + 1


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    colon = data.find(b":", at, at + MAX_DIGITS + 1)
    if colon < 0:
        raise BencodeError("a string without a length")
    begins = colon + 1
    ends = begins + _number(data[at:colon])
    if not begins <= ends <= len(data):
        raise BencodeError("a string longer than what is there")
    return data[begins:ends], ends


def _number(digits: bytes) -> int:
    if not digits.removeprefix(b"-").isdigit() or len(digits) > MAX_DIGITS + 1:
        raise BencodeError("a number that is none")
    return int(digits)
