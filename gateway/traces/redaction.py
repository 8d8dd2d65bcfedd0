"""What a trace does not keep, and what it does not show: secrets, and on demand telephone numbers.

Every character is replaced by a star, so that lengths stay what Content-Length says.
"""

from __future__ import annotations

import re
from typing import Final

MARKS: Final = (
    *(b"auth", b"token", b"key", b"secret", b"passw", b"cookie"),
    *(b"bearer", b"credential", b"inline:", b"ice-pwd"),
)
"""In small letters: without one of these there is nothing to redact, which is quickly seen."""

_SECRETS: Final = (
    # Headers: ours towards agents may have any name. WWW-Authenticate, too, which costs nothing.
    re.compile(
        rb"^([\w-]*(?:auth|token|key|secret|passw|cookie|credential)[\w-]*[ \t]*:[ \t]*)"
        rb"([^\r\n]*(?:\r?\n[ \t]+[^\r\n]*)*)",
        re.IGNORECASE | re.MULTILINE,
    ),
    re.compile(rb"(\bbearer[ \t]+)([^\s\"';,]+)", re.IGNORECASE),
    re.compile(rb"(\binline:)([^\r\n]*)", re.IGNORECASE),  # SDES keys (RFC 4568 §6.1)
    re.compile(rb"^(a=ice-pwd:)([^\r\n]*)", re.IGNORECASE | re.MULTILINE),
    re.compile(rb"^(k=)([^\r\n]*)", re.MULTILINE),
    re.compile(rb"([;?&](?:[\w-]*(?:token|key|secret|passw)[\w-]*)=)([^;?&>\s\"]+)", re.IGNORECASE),
)

_URI_PASSWORD: Final = re.compile(rb"(\bsips?:[^@:\s<>\"]{1,128}:)([^@\s<>\"]{1,128})(?=@)", re.IGNORECASE)

_NOT_A_NUMBER: Final = re.compile(rb"^(?:call-id|i|via|v|cseq|content-\w+|l|c|date)[ \t]*:", re.IGNORECASE)
"""Lines of a head whose digits are nobody's, and by which messages belong together."""

_NUMBER: Final = re.compile(rb"\+?\d{7,15}")

KEPT_DIGITS: Final = 2


def may_hold_secrets(data: bytes) -> bool:
    """Whether a closer look is needed."""
    lowered = data.lower()
    return any(mark in lowered for mark in MARKS)


def redact(message: bytes) -> bytes:
    """A SIP message without its secrets."""
    for pattern in _SECRETS:
        message = pattern.sub(_starred, message)
    return _URI_PASSWORD.sub(_starred, message)


def _starred(match: re.Match[bytes]) -> bytes:
    return match[1] + b"*" * len(match[2].rstrip(b"\r\n")) + match[2][len(match[2].rstrip(b"\r\n")) :]


def mask_numbers(message: bytes) -> bytes:
    """A SIP message whose telephone numbers show their last two digits; its body is left as it is."""
    head, end, body = message.partition(b"\r\n\r\n")
    lines = (
        line if _NOT_A_NUMBER.match(line) else _NUMBER.sub(_masked, line) for line in head.split(b"\r\n")
    )
    return b"\r\n".join(lines) + end + body


def _masked(match: re.Match[bytes]) -> bytes:
    number = match[0]
    return b"*" * (len(number) - KEPT_DIGITS) + number[-KEPT_DIGITS:]
