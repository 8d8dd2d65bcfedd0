"""The numbers that a certificate may speak for: TNAuthList (RFC 8226 §9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cryptography import x509

TN_AUTH_LIST: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.26")

_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_TEXT: Final = 0x16
_PROVIDER, _RANGE, _ONE = 0xA0, 0xA1, 0xA2
"""The kinds of entry: a provider's code, a range of numbers, one number; explicitly tagged."""


def speaks_for(certificate: x509.Certificate, number: str) -> bool:
    """Whether a certificate's owner may sign for a calling number, digits only.

    One that names a provider speaks for all of its numbers, and nobody publishes which those are: it passes.
    So does one without the list, which its authority has to answer for.
    """
    try:
        extension = certificate.extensions.get_extension_for_oid(TN_AUTH_LIST).value
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False
    return isinstance(extension, x509.UnrecognizedExtension) and covers(extension.value, number)


def covers(der: bytes, number: str) -> bool:
    """Whether a TNAuthList, in DER, holds a number; one that cannot be read holds none."""
    try:
        entries = list(_values(_only(der, _SEQUENCE)))
        return any(_holds(kind, entry, number) for kind, entry in entries)
    except ValueError:
        return False


def _holds(kind: int, entry: bytes, number: str) -> bool:
    if kind == _PROVIDER:
        return bool(_only(entry, _TEXT))
    if kind == _ONE:
        return _only(entry, _TEXT) == number.encode()
    if kind != _RANGE:
        return False
    (text, start), (integer, count) = list(_values(_only(entry, _SEQUENCE)))[:2]
    if (text, integer) != (_TEXT, _INTEGER) or not start.isdigit() or not number.isdecimal():
        return False
    above = int(number) - int(start)
    return len(start) == len(number) and 0 <= above < int.from_bytes(count, signed=True)


def _only(der: bytes, tag: int) -> bytes:
    """The contents of the one value that is there. Raises ValueError: it is another kind, or not alone."""
    ((found, contents),) = _values(der)
    if found != tag:
        raise ValueError("another type was expected")
    return contents


def _values(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and contents, one after the other (X.690 §8.1). Raises ValueError where one is cut off."""
    position = 0
    while position < len(der):
        header = der[position : position + 2]
        if len(header) < 2:
            raise ValueError("a value is cut off")
        tag, length = header
        position += 2
        if length >= 0x80:  # the length's own length
            size = length & 0x7F
            if not size or position + size > len(der):
                raise ValueError("a length is cut off")
            length = int.from_bytes(der[position : position + size])
            position += size
        if position + length > len(der):
            raise ValueError("a value is cut off")
        yield tag, der[position : position + length]
        position += length
