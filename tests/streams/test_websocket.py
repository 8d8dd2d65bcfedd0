"""A client's side of RFC 6455 §5: what is read in any pieces, what is refused, what is written."""

from __future__ import annotations

import struct

import pytest
from aiohttp import WSMsgType
from aiohttp.http_websocket import WebSocketWriter
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.streams.websocket import (
    BINARY,
    CLOSE,
    MASKS_AT_ONCE,
    NO_CODE,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    FrameReader,
    FrameWriter,
    WebSocketError,
    close_code,
)

MOST = 70_000


def frame(opcode: int, payload: bytes, *, fin: bool = True, head: int = 0) -> bytes:
    """As a server writes it."""
    first = (0x80 if fin else 0) | opcode | head
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 0x10000:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def read(reader: FrameReader, *pieces: bytes) -> list[tuple[int, bytes]]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (message := reader.next()) is not None:
            found.append(message)
    return found


MESSAGES = st.tuples(
    st.sampled_from([TEXT, BINARY]),
    st.lists(st.sampled_from([0, 1, 125, 126, 300, 0x10000]).map(bytes), min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)), max_size=2),
)


@given(st.lists(MESSAGES, max_size=4), st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_whatever_the_pieces_the_messages_are_the_same(messages: list, cuts: list[int]):
    sent, expected = b"", []
    for opcode, parts, between in messages:
        for number, part in enumerate(parts):
            sent += frame(0 if number else opcode, part, fin=number == len(parts) - 1)
            if number < len(parts) - 1:
                for control, payload in between:
                    sent += frame(control, payload)
                    expected.append((control, payload))
        expected.append((opcode, b"".join(parts)))
    pieces, at, turn = [], 0, 0
    while at < len(sent):
        size = cuts[turn % len(cuts)] * (1 if at < 2000 else 50)
        pieces.append(sent[at : at + size])
        at, turn = at + size, turn + 1
    assert read(FrameReader(1 << 20), *pieces) == expected


def test_byte_by_byte():
    sent = frame(TEXT, b"x" * 200) + frame(PING, b"?") + frame(TEXT, b"")
    assert read(FrameReader(MOST), *(bytes([each]) for each in sent)) == [
        (TEXT, b"x" * 200),
        (PING, b"?"),
        (TEXT, b""),
    ]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"x", head=0x40), PROTOCOL_ERROR),  # compressed, which nobody offered
        (b"\x81\x81" + bytes(5), PROTOCOL_ERROR),  # masked
        (b"\x81\xfe" + bytes(5), PROTOCOL_ERROR),
        (frame(3, b""), PROTOCOL_ERROR),
        (frame(11, b""), PROTOCOL_ERROR),
        (frame(0, b"goes on, but what?"), PROTOCOL_ERROR),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), PROTOCOL_ERROR),
        (frame(PING, b"", fin=False), PROTOCOL_ERROR),
        (frame(PING, bytes(126)), PROTOCOL_ERROR),
        (struct.pack("!BBQ", 0x81, 127, MOST + 1), TOO_BIG),  # before any of it has come
        (struct.pack("!BBQ", 0x81, 127, 2**63), TOO_BIG),
        (frame(TEXT, bytes(MOST), fin=False) + frame(0, b"x", fin=False), TOO_BIG),
    ],
)
def test_what_is_refused(sent: bytes, code: int):
    with pytest.raises(WebSocketError) as refused:
        read(FrameReader(MOST), sent)
    assert refused.value.code == code


def test_pieces_without_content_come_to_an_end():
    reader = FrameReader(100)
    read(reader, frame(TEXT, b"", fin=False))
    with pytest.raises(WebSocketError):
        for _ in range(101):
            read(reader, frame(0, b"x", fin=False))
    reader = FrameReader(100)
    read(reader, frame(TEXT, b"", fin=False))
    for _ in range(100):
        read(reader, frame(0, b"", fin=False))
    assert len(reader._parts) <= 101


@given(st.lists(st.binary(max_size=60), max_size=10))
@example([b"\x81\x7f", bytes(8)])
def test_no_bytes_raise_anything_else(pieces: list[bytes]):
    reader = FrameReader(1000)
    try:
        for opcode, payload in read(reader, *pieces):
            assert opcode in {TEXT, BINARY, CLOSE, PING, PONG} and len(payload) <= 1000
            if opcode == CLOSE:
                close_code(payload)
    except WebSocketError as error:
        assert error.code in {PROTOCOL_ERROR, TOO_BIG}


@given(st.sampled_from([TEXT, BINARY]), st.sampled_from([0, 1, 125, 126, 400, 0xFFFF, 0x10000, 70_000]))
async def test_what_we_write_is_masked_and_what_aiohttps_server_writes_is_read(opcode: int, size: int):
    payload = bytes(at * 7 & 0xFF for at in range(size))
    written = FrameWriter(lambda size: bytes(range(1, 201))[: size // 4 * 4].ljust(size, b"m")).frame(
        opcode, payload
    )
    assert written[0] == 0x80 | opcode and written[1] & 0x80
    begins = 2 + {126: 2, 127: 8}.get(written[1] & 0x7F, 0)
    mask, masked = written[begins : begins + 4], written[begins + 4 :]
    assert bytes(each ^ mask[at % 4] for at, each in enumerate(masked)) == payload

    class Wire:
        sent = b""

        def write(self, data: bytes) -> None:
            self.sent += bytes(data)

        def is_closing(self) -> bool:
            return False

    wire = Wire()
    await WebSocketWriter(None, wire, limit=1 << 30).send_frame(payload, WSMsgType(opcode))  # type: ignore[arg-type]
    assert read(FrameReader(1 << 20), wire.sent) == [(opcode, payload)]


def test_each_frame_has_a_mask_of_its_own():
    asked: list[int] = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return b"".join(number.to_bytes(4) for number in range(size // 4))

    writer = FrameWriter(random_bytes)
    masks = {writer.frame(TEXT, b"")[2:6] for _ in range(MASKS_AT_ONCE)}
    assert len(masks) == MASKS_AT_ONCE and len(asked) == 1
    writer.frame(TEXT, b"")
    assert len(asked) == 2


def test_codes_of_a_close():
    assert close_code(b"") == NO_CODE
    assert close_code(b"\x03\xe8bye") == 1000
    with pytest.raises(WebSocketError):
        close_code(b"\x03")
