"""The frames of a WebSocket as a client reads and writes them (RFC 6455 §5); no extension is spoken.

Sans-IO: bytes in, messages out. An agent's message is most often one frame, read in one piece: that costs two
comparisons and a slice. Text is not looked at here, whoever reads it as JSON does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
"""Opcodes (§5.2)."""

MAX_CONTROL: Final = 125
"""Bytes that a control frame may hold (§5.5)."""

NORMAL, PROTOCOL_ERROR, NO_CODE, TOO_BIG = 1000, 1002, 1005, 1009
"""Codes of a closed connection (§7.4.1); the third is never sent."""

MASK_BYTES: Final = 4

MASKS_AT_ONCE: Final = 256
"""Masks taken from the system's randomness together: one system call in five seconds of a call."""

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_WHOLE_TEXT: Final = _FIN | TEXT

_number: Final = int.from_bytes

_SHORT: Final = struct.Struct("!BB")
_MEDIUM: Final = struct.Struct("!BBH")
_LONG: Final = struct.Struct("!BBQ")

Message: TypeAlias = tuple[int, bytes]
"""An opcode, of text, binary or a control frame, and the whole payload."""


class WebSocketError(Exception):
    """The other end does not keep to the protocol; code: what it is closed with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class FrameReader:
    """Reads what a server sends.

    Args:
        max_message: bytes of a message beyond which it is refused; no more than that and what was read in
            one piece is ever kept.

    """

    __slots__ = ("_at", "_buffer", "_kind", "_max_message", "_parts", "_size")

    def __init__(self, max_message: int) -> None:
        self._max_message = max_message
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._kind = CONTINUATION  # of the message that has begun and not ended; CONTINUATION for none
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take what was read; `next` tells what it holds."""
        buffer = self._buffer
        if self._at == len(buffer):
            self._buffer = data
        elif isinstance(buffer, bytearray):
            del buffer[: self._at]
            buffer += data
        else:
            self._buffer = bytearray(buffer[self._at :])
            self._buffer += data
        self._at = 0

    def next(self) -> Message | None:
        """The next whole message; None until more comes.

        Raises:
            WebSocketError: what was read is no WebSocket; nothing sensible follows.

        """
        while True:
            buffer, at = self._buffer, self._at
            left = len(buffer) - at
            if left < 2:
                return None
            first, size = buffer[at], buffer[at + 1]
            begins = at + 2
            if size >= 126:
                if size & _MASKED:
                    raise WebSocketError(PROTOCOL_ERROR, "a server's frame is masked")  # §5.1
                begins += 2 if size == 126 else 8
                if begins > len(buffer):
                    return None
                size = int.from_bytes(buffer[at + 2 : begins])
            if size > self._max_message or first != _WHOLE_TEXT or self._kind:
                self._check(first, size)
            ends = begins + size
            if ends > len(buffer):
                return None
            self._at = ends
            payload = bytes(buffer[begins:ends])
            if first == _WHOLE_TEXT:
                return TEXT, payload
            message = self._joined(first, payload)
            if message is not None:
                return message

    def _check(self, first: int, size: int) -> None:
        """Whether a frame may come now, as its head says: before its payload is waited for."""
        opcode = first & 0x0F
        if first & _RESERVED:
            raise WebSocketError(PROTOCOL_ERROR, "reserved bits without an extension")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise WebSocketError(PROTOCOL_ERROR, f"unknown opcode {opcode}")
            if size > MAX_CONTROL or not first & _FIN:
                raise WebSocketError(PROTOCOL_ERROR, "a control frame that is too long, or in pieces")
            return
        if opcode > BINARY:
            raise WebSocketError(PROTOCOL_ERROR, f"unknown opcode {opcode}")
        if (opcode == CONTINUATION) != bool(self._kind):
            raise WebSocketError(PROTOCOL_ERROR, "a message begins within another, or goes on without one")
        if self._size + size > self._max_message:
            raise WebSocketError(TOO_BIG, f"a message of more than {self._max_message} bytes")

    def _joined(self, first: int, payload: bytes) -> Message | None:
        """What this frame completes."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return opcode, payload
        if opcode:
            self._kind = opcode
        self._parts.append(payload)
        self._size += len(payload) or 1  # empty ones count too, or there could be any number of them
        if not first & _FIN:
            return None
        message = self._kind, b"".join(self._parts)
        self._kind, self._parts, self._size = CONTINUATION, [], 0
        return message


class FrameWriter:
    """Writes a client's frames, each under a mask of its own (§5.3).

    random_bytes: a source that nobody can guess (§10.3), asked for many masks at once.
    """

    __slots__ = ("_at", "_masks", "_ones", "_random_bytes", "_size", "_spread")

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._masks = b""
        self._at = 0
        # Of payloads as long as the last one: nearly all are.
        self._size = 0
        self._spread = 0
        self._ones = 0

    def frame(self, opcode: int, payload: bytes) -> bytes:
        """One message in one frame."""
        at = self._at
        if at == len(self._masks):
            self._masks, at = self._random_bytes(MASK_BYTES * MASKS_AT_ONCE), 0
        self._at = at + MASK_BYTES
        mask = self._masks[at : at + MASK_BYTES]
        size = len(payload)
        if size < 126:
            head = _SHORT.pack(_FIN | opcode, _MASKED | size)
        elif size < 0x10000:
            head = _MEDIUM.pack(_FIN | opcode, _MASKED | 126, size)
        else:
            head = _LONG.pack(_FIN | opcode, _MASKED | 127, size)
        return head + mask + self._masked(payload, mask)

    def _masked(self, payload: bytes, mask: bytes) -> bytes:
        """Mask all bytes at once, as one long number: that costs less than a loop in any language we have.

        A number of four bytes times one with a 1 in each fourth byte is itself over and over.
        """
        size = len(payload)
        if size != self._size:
            self._size = size
            self._spread = _number(b"\x01\x00\x00\x00" * (size // MASK_BYTES + 1), "little")
            self._ones = (1 << 8 * size) - 1
        key = _number(mask, "little") * self._spread & self._ones
        return (_number(payload, "little") ^ key).to_bytes(size, "little")


def close_code(payload: bytes) -> int:
    """The code of a close frame (§7.1.5). Raises WebSocketError."""
    if not payload:
        return NO_CODE
    if len(payload) < 2:
        raise WebSocketError(PROTOCOL_ERROR, "a code of one byte")
    return int.from_bytes(payload[:2])
