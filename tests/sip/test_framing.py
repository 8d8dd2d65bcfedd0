"""Messages out of a stream, whatever the segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.framing import Keepalive, StreamFramer
from gateway.sip.message import MAX_BODY_BYTES, MAX_HEADER_BYTES

PING = Keepalive.PING


def message(body: bytes = b"", name: bytes = b"Content-Length", head: bytes = b"") -> bytes:
    return b"OPTIONS sip:a@b SIP/2.0\r\n%bVia: x\r\n%b: %d\r\n\r\n%b" % (head, name, len(body), body)


def fed(*segments: bytes) -> list[bytes | Keepalive]:
    framer = StreamFramer()
    return [part for segment in segments for part in framer.feed(segment)]


def broken_by(data: bytes) -> str | None:
    framer = StreamFramer()
    found = framer.feed(data)
    # A whole head is handed out, so that its sender is told what is wrong with it.
    assert found == ([data] if framer.broken == "bad Content-Length" else [])
    return framer.broken


BODIES = [b"", b"v=0\r\n\r\nContent-Length: 7\r\n", b"\r\n\r\n\r\n", b"x" * 3000]


@pytest.mark.parametrize("body", BODIES)
def test_one_message_byte_by_byte(body: bytes) -> None:
    framer, data = StreamFramer(), message(body)
    for position in range(len(data) - 1):
        assert framer.feed(data[position : position + 1]) == []
        assert framer.unfinished
    assert framer.feed(data[-1:]) == [data]
    assert not framer.unfinished


def test_messages_in_one_segment() -> None:
    messages = [message(body) for body in BODIES]
    assert fed(b"".join(messages)) == messages


@given(
    st.lists(st.sampled_from([*map(message, BODIES), b"\r\n\r\n"])),
    st.lists(st.integers(1, 400), max_size=60),
)
def test_segments_do_not_matter(parts: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(parts)
    segments: list[bytes] = []
    rest = stream
    for size in sizes:
        segments.append(rest[:size])
        rest = rest[size:]
    assert fed(*segments, rest) == fed(stream)
    assert fed(stream) == [PING if part == b"\r\n\r\n" else part for part in parts]


@pytest.mark.parametrize("name", [b"content-length", b"CONTENT-LENGTH", b"l", b"L", b"Content-Length \t"])
def test_the_length_is_found_in_any_spelling(name: bytes) -> None:
    data = message(b"body", name)
    assert fed(data + data) == [data, data]


@pytest.mark.parametrize("value", [b":4", b":    4", b":\r\n 4", b": 4 "])
def test_the_length_is_found_in_any_spacing(value: bytes) -> None:
    data = b"OPTIONS sip:a@b SIP/2.0\r\nl%b\r\n\r\nbody" % value
    assert fed(data) == [data]


def test_the_length_is_no_part_of_another_header() -> None:
    data = message(b"body", head=b"X-Content-Length: 999\r\nSubject: Content-Length: 999\r\n")
    assert fed(data) == [data]


@pytest.mark.parametrize(
    ("stream", "parts"),
    [
        ([b"\r\n\r\n"], [PING]),
        ([b"\r", b"\n", b"\r", b"\n"], [PING]),
        ([b"\r\n\r\n\r\n\r\n"], [PING, PING]),
        ([b"\r\n"], []),
        ([b"\r\n", message()], [message()]),
        ([message(), b"\r\n\r\n", message()], [message(), PING, message()]),
        # Half a question, then a message, then another half: none was asked.
        ([b"\r\n", message(), b"\r\n"], [message()]),
    ],
)
def test_keepalives(stream: list[bytes], parts: list[bytes | Keepalive]) -> None:
    """RFC 5626 §3.5.1: two line ends ask for one."""
    assert fed(*stream) == parts
    assert fed(b"".join(stream)) == parts


def test_a_lone_keepalive_leaves_nothing_unfinished() -> None:
    framer = StreamFramer()
    framer.feed(b"\r\n")
    assert not framer.unfinished


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n", "no Content-Length"),
        (b"A b\r\nl: x\r\n\r\n", "bad Content-Length"),
        (b"A b\r\nl: -1\r\n\r\n", "bad Content-Length"),
        (b"A b\r\nl: 1 2\r\n\r\n", "bad Content-Length"),
        (b"A b\r\nl:\r\nVia: 1\r\n\r\n", "bad Content-Length"),
        (b"A b\r\nl: 99999999999\r\n\r\n", "bad Content-Length"),
        (b"A b\r\nl: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), "bad Content-Length"),
        (b"x" * (MAX_HEADER_BYTES + 1), "headers without end"),
        (b"x" * MAX_HEADER_BYTES + b"x\r\nl: 0\r\n\r\n", "headers without end"),
        (b"\r" * (MAX_HEADER_BYTES + 1), "headers without end"),
    ],
)
def test_what_cannot_be_framed(data: bytes, reason: str) -> None:
    assert broken_by(data) == reason


def test_the_largest_message_is_framed() -> None:
    data = message(b"x" * MAX_BODY_BYTES)
    assert fed(data[:20000], data[20000:]) == [data]


def test_headers_that_trickle_in_without_end_are_given_up() -> None:
    framer = StreamFramer()
    for _ in range(MAX_HEADER_BYTES + 1):
        framer.feed(b"x")
    assert framer.broken == "headers without end"


def test_good_messages_before_a_broken_one_are_not_lost() -> None:
    framer = StreamFramer()
    broken = b"A b\r\nl: x\r\n\r\n"  # handed out, too: whoever reads it refuses it with a reason
    assert framer.feed(message(b"body") + broken + message()) == [message(b"body"), broken]
    assert framer.broken == "bad Content-Length"
    assert framer.feed(message()) == []
    assert not framer.unfinished


@given(st.binary(max_size=200) | st.text(alphabet="l:1\r\n A", max_size=80).map(str.encode))
def test_any_bytes_are_taken(data: bytes) -> None:
    framer, slow = StreamFramer(), StreamFramer()
    parts = framer.feed(data)
    assert [part for byte in data for part in slow.feed(bytes([byte]))] == parts
    assert slow.broken == framer.broken
