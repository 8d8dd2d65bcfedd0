"""HEP3: read back chunk by chunk, and out of a sender that must never be waited for; Kamailio reads it in `tests/e2e`."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.flow import Flow
from gateway.traces import hep_sender
from gateway.traces.hep import MAX_PAYLOAD, Captured, encode
from gateway.traces.hep_sender import HepSender, Witnesses

OPTIONS = (
    b"OPTIONS sip:voice.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n"
    b"From: <sip:a@example.com>;tag=1\r\nTo: <sip:voice.example.com>\r\nCall-ID: hep-test\r\n"
    b"CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
V4 = Captured(1_764_288_000.123456, "udp", ("192.0.2.1", 5060), ("198.51.100.2", 5062), OPTIONS, "c1")
V6 = Captured(1_764_288_000.0, "tls", ("2001:db8::1", 5061), ("2001:db8::2", 40_000), OPTIONS)


def chunks(datagram: bytes) -> dict[int, bytes]:
    """As the specification has it: everything accounted for, nothing twice."""
    magic, length = struct.unpack_from("!4sH", datagram)
    assert (magic, length) == (b"HEP3", len(datagram))
    found: dict[int, bytes] = {}
    at = 6
    while at < len(datagram):
        vendor, kind, size = struct.unpack_from("!HHH", datagram, at)
        assert vendor == 0
        assert size >= 6
        assert kind not in found
        found[kind] = datagram[at + 6 : at + size]
        at += size
    assert at == len(datagram)
    return found


def test_every_chunk_is_there() -> None:
    found = chunks(encode(V4, 2001, "secret"))
    assert found[1] == b"\x02"
    assert found[2] == b"\x11"
    assert found[3] == socket.inet_aton("192.0.2.1")
    assert found[4] == socket.inet_aton("198.51.100.2")
    assert (found[7], found[8]) == (struct.pack("!H", 5060), struct.pack("!H", 5062))
    assert struct.unpack("!II", found[9] + found[10]) == (1_764_288_000, 123_456)
    assert (found[11], found[12]) == (b"\x01", struct.pack("!I", 2001))
    assert (found[14], found[17], found[15]) == (b"secret", b"c1", OPTIONS)


def test_ipv6_and_tls() -> None:
    found = chunks(encode(V6, 1))
    assert (found[1], found[2]) == (b"\x0a", b"\x06")
    assert found[5] == socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    assert not {3, 4, 14, 17} & found.keys()


@given(st.binary(max_size=70_000), st.floats(0, 4e9), st.integers(0, 2**32 - 1), st.text(max_size=50))
def test_anything_fits_into_a_datagram(message: bytes, at: float, agent_id: int, correlation: str) -> None:
    datagram = encode(V4._replace(message=message, at=at, correlation=correlation), agent_id)
    assert chunks(datagram)[15] == message[:MAX_PAYLOAD]
    assert len(datagram) <= 65_507


def test_what_is_no_address_is_said_to_be_none() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        encode(V4._replace(source=("voice.example.com", 5060)), 1)


class Homer:
    """A socket where Homer would be."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(5)
        self.counts: Counter[str] = Counter()

    def sender(self, password: str = "") -> HepSender:
        return HepSender(
            self.socket.getsockname(),
            7,
            password,
            lambda flow: ("192.0.2.9", 5060),
            clock=lambda: 1_764_288_000.5,
            count=lambda result, number: self.counts.update({result: number}),
        )

    def received(self) -> dict[int, bytes]:
        return chunks(self.socket.recv(65_535))


@pytest.fixture
def homer() -> Homer:
    return Homer()


FLOW = Flow("udp", "198.51.100.2", 5062)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_both_directions_are_told_apart(homer: Homer) -> None:
    sender = homer.sender()
    task = asyncio.create_task(sender.run())
    witnesses = Witnesses(sender)
    witnesses.received(FLOW, OPTIONS)
    witnesses.sent(FLOW, b"SIP/2.0 200 OK\r\n\r\n")
    await asyncio.sleep(0)
    await stop(task)  # what is left goes out at the end
    came, went = homer.received(), homer.received()
    assert (came[3], came[4]) == (socket.inet_aton("198.51.100.2"), socket.inet_aton("192.0.2.9"))
    assert (went[3], went[8]) == (socket.inet_aton("192.0.2.9"), struct.pack("!H", 5062))
    assert homer.counts["sent"] == 2
    homer.socket.close()


async def test_secrets_are_starred_out(homer: Homer) -> None:
    sender = homer.sender()
    task = asyncio.create_task(sender.run())
    sender.sent(FLOW, OPTIONS.replace(b"Max-Forwards: 70", b"Authorization: Bearer abcdef"))
    await asyncio.sleep(0)
    await stop(task)
    message = homer.received()[15]
    assert b"abcdef" not in message
    assert b"Authorization: ***" in message
    homer.socket.close()


async def test_a_flood_is_counted_and_not_kept(homer: Homer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hep_sender, "MAX_WAITING", 3)
    sender = homer.sender()
    for _ in range(5):
        sender.received(FLOW, OPTIONS)
    assert homer.counts == {"dropped": 2}
    homer.socket.close()


async def test_a_homer_that_is_not_there_costs_nothing(homer: Homer) -> None:
    homer.socket.close()
    sender = HepSender(("127.0.0.1", 1), 1, "", lambda flow: ("192.0.2.9", 5060))
    task = asyncio.create_task(sender.run())
    for _ in range(3):
        sender.received(FLOW, OPTIONS)
        await asyncio.sleep(0.05)
    assert not task.done()
    await stop(task)
