"""Messages out of a stream, framed by Content-Length whatever the segments (RFC 3261 §18.3)."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from gateway.sip.message import MAX_BODY_BYTES, MAX_HEADER_BYTES

_CONTENT_LENGTH: Final = re.compile(
    rb"(?:^|\n)(?:content-length|l)[ \t]*:[ \t\r\n]*([^\r\n]*)", re.IGNORECASE
)


class Keepalive(Enum):
    """What stands between messages (RFC 5626 §3.5.1).

    Two line ends ask for one. A lone one is the answer to such a question, and not reported.
    """

    PING = b"\r\n\r\n"


class StreamFramer:
    """Splits one direction of one connection.

    Bytes are looked at once: what was searched for the end of the headers is not searched again.

    broken: why the stream cannot be split into messages any more, which makes the connection useless (§18.3);
        None while it can. There was no Content-Length, or one that is no number or above the cap (such a head
        is still handed out, to be refused), or headers without end.
    """

    __slots__ = ("_body_end", "_buffer", "_half_ping", "_head_end", "_searched", "broken")

    def __init__(self) -> None:
        self.broken: str | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._half_ping = False
        self._head_end = -1
        self._body_end = -1

    @property
    def unfinished(self) -> bool:
        """Whether a message has begun and not ended: a peer that stays here too long is stuck or hostile."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes | Keepalive]:
        """Take bytes; return what is complete now, in order. Nothing more once the stream is `broken`."""
        found: list[bytes | Keepalive] = []
        if self.broken is None:
            self._buffer += data
        while self._buffer:
            if self._head_end < 0 and not self._find_head(found):
                break
            if len(self._buffer) < self._body_end:
                break
            found.append(bytes(self._buffer[: self._body_end]))
            del self._buffer[: self._body_end]
            self._searched = 0
            self._head_end = self._body_end = -1
        return found

    def _find_head(self, found: list[bytes | Keepalive]) -> bool:
        """Find the end of the headers at the start of the buffer; keep-alives before it are taken out."""
        buffer = self._buffer
        while buffer[:2] == b"\r\n":
            del buffer[:2]
            if self._half_ping:
                found.append(Keepalive.PING)
            self._half_ping = not self._half_ping
        if not buffer or buffer == b"\r":
            return False
        self._half_ping = False
        end = buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            self._searched = len(buffer)
            return self._break("headers without end") if len(buffer) > MAX_HEADER_BYTES else False
        if end > MAX_HEADER_BYTES:
            return self._break("headers without end")
        match = _CONTENT_LENGTH.search(buffer, 0, end)
        if match is None:
            return self._break("no Content-Length")
        value = match.group(1).strip()
        if not value.isdigit() or len(value) > 10 or int(value) > MAX_BODY_BYTES:
            found.append(bytes(buffer[: end + 4]))  # whoever reads it refuses it with a reason
            return self._break("bad Content-Length")
        self._head_end = end + 4
        self._body_end = self._head_end + int(value)
        return True

    def _break(self, reason: str) -> bool:
        """Give the stream up; False, as there is no head to be found in it."""
        self.broken = reason
        self._buffer.clear()
        return False
