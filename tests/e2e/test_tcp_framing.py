"""TCP as the network delivers it: in pieces, several messages at once, keep-alives between them."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.e2e import carriers
from tests.e2e.exchange import Exchange
from tests.e2e.wire import Message, new_branch, read, write

pytestmark = pytest.mark.e2e


class Stream:
    """A TCP connection that splits what comes by Content-Length."""

    def __init__(self, exchange: Exchange) -> None:
        self._socket = socket.create_connection(
            exchange.gateway.sip, timeout=30, source_address=(carriers.TWILIO_HOST, 0)
        )
        self._buffer = b""

    def send(self, data: bytes, *, piece: int | None = None) -> None:
        """All at once, or in pieces of that many bytes, each in a segment of its own."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), piece or len(data)):
            self._socket.sendall(data[start : start + (piece or len(data))])
            if piece:
                time.sleep(0.002)

    def raw(self, count: int) -> bytes:
        """Exactly that many bytes."""
        while len(self._buffer) < count:
            data = self._socket.recv(65535)
            assert data, "the gateway closed the connection"
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def receive(self) -> Message:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._buffer += self._socket.recv(65535)
        head = read(self._buffer[: end + 4], self._socket.getpeername())
        return read(self.raw(end + 4 + int(head["content-length"])), self._socket.getpeername())

    def request(self, method: str, cseq: int) -> bytes:
        host, port = self._socket.getsockname()
        uri = f"sip:+14155559999@{host}"
        return write(
            f"{method} {uri} SIP/2.0",
            [
                ("Via", f"SIP/2.0/TCP {host}:{port};branch={new_branch()}"),
                ("From", f"<sip:{carriers.CALLER}@example.com>;tag=tcp{cseq}"),
                ("To", f"<{uri}>"),
                ("Call-ID", f"tcp-{port}-{cseq}"),
                ("CSeq", f"{cseq} {method}"),
                ("Max-Forwards", "70"),
                ("Contact", f"<sip:{host}:{port};transport=tcp>"),
            ],
        )

    def quiet(self, seconds: float) -> bool:
        """Whether nothing comes in that time."""
        self._socket.settimeout(seconds)
        try:
            return not self._buffer and not self._socket.recv(65535)
        except TimeoutError:
            return True

    def closed(self, timeout: float) -> bool:
        """Whether the gateway ends the connection within that time."""
        self._socket.settimeout(timeout)
        try:
            while self._socket.recv(65535):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def stream(exchange: Exchange) -> Iterator[Stream]:
    connection = Stream(exchange)
    yield connection
    connection.close()


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_a_request_in_pieces(stream: Stream, piece):
    stream.send(stream.request("OPTIONS", 1), piece=piece)
    assert stream.receive().status == 200


def test_several_requests_in_one_segment(stream: Stream):
    stream.send(b"".join(stream.request("OPTIONS", cseq) for cseq in range(1, 6)))
    answers = [stream.receive() for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert sorted(answer["cseq"] for answer in answers) == [f"{cseq} OPTIONS" for cseq in range(1, 6)]


def test_a_keep_alive_is_answered_and_not_taken_for_a_message(stream: Stream):
    """RFC 5626 §3.5.1: a double CRLF asks, a single one answers."""
    stream.send(b"\r\n\r\n")
    assert stream.raw(2) == b"\r\n"
    stream.send(stream.request("OPTIONS", 1))
    assert stream.receive().status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\nContent-Length: 99999999\r\n\r\n",
        b"X" * 200_000,
    ],
    ids=["another protocol", "a body too large", "no end of a line"],
)
def test_what_cannot_be_framed_ends_the_connection_only(exchange: Exchange, stream: Stream, garbage):
    with contextlib.suppress(ConnectionError):  # closed while we were still sending: as it should be
        stream.send(garbage)
    assert stream.closed(30)
    other = Stream(exchange)
    other.send(other.request("OPTIONS", 1))
    assert other.receive().status == 200
    other.close()


def test_a_refusal_over_tcp_is_not_repeated(stream: Stream):
    """RFC 3261 §17.2.1: timer G runs on unreliable transports only."""
    stream.send(stream.request("INVITE", 1))
    final = stream.receive()
    while final.status < 200:
        final = stream.receive()
    assert final.status == 404
    assert stream.quiet(1.2)
