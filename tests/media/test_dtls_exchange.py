"""Handshakes on both sockets of a port, and the seal that they key."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

import pytest

from gateway.media.dtls import identity
from gateway.media.dtls_exchange import MAX_EARLY, DtlsExchange
from gateway.media.port_pool import PortPool
from gateway.media.srtp import SealError
from tests.media.test_port_pool import arrives, free_range

PACKET = b"\x80\x00\x00\x01" + bytes(4) + b"ssrc" + b"speech" * 20
REPORT = b"\x81\xc9\x00\x07" + b"ssrc" + bytes(24)
TRUE = [("sha-256", identity().digest)]


@dataclass
class End:
    """An exchange, and a door to the other one."""

    host: str
    knows_where: bool = True
    admitted: bool = True
    other: End | None = None
    lost: int = 0
    failures: list[str] = field(default_factory=list)
    answers: list[tuple[str, int, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exchange = DtlsExchange(identity(), self.failures.append)

    def admits(self, host: str) -> bool:
        return self.admitted

    def answer_to(self, host: str, port: int, *, rtcp: bool) -> None:
        self.answers.append((host, port, rtcp))
        self.knows_where = True

    def send(self, datagram: bytes, *, rtcp: bool) -> bool:
        if not self.knows_where:
            return False
        assert self.other is not None
        other = self.other
        asyncio.get_running_loop().call_soon(
            lambda: other.exchange.receive(datagram, self.host, 4000 + rtcp, rtcp=rtcp)
        )
        return True

    @property
    def handshake(self) -> str:
        return self.exchange.seal.stats.handshake


def ends() -> tuple[End, End]:
    one, two = End("192.0.2.1"), End("192.0.2.2")
    one.other, two.other = two, one
    return one, two


def attached() -> tuple[End, End]:
    one, two = ends()
    for end in (one, two):
        end.exchange.attach(end)
    return one, two


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def hears(one: End, two: End) -> bool:
    seal, other = one.exchange.seal, two.exchange.seal
    return other.open(seal.seal(PACKET)) == PACKET and other.open_rtcp(seal.seal_rtcp(REPORT)) == REPORT


async def test_rtp_and_rtcp_are_heard_both_ways_with_keys_of_their_own() -> None:
    one, two = attached()
    two.exchange.settle(TRUE, client=False)
    one.exchange.settle(TRUE, client=True)
    await settled()
    assert one.handshake == two.handshake == "done"
    assert hears(one, two)
    assert hears(two, one)
    rtp, rtcp = one.exchange.seal.rtp._out, one.exchange.seal.rtcp._out
    assert rtp is not None
    assert rtcp is not None
    assert rtp.key != rtcp.key
    assert two.answers[0][:2] == ("192.0.2.1", 4000)


async def test_nothing_leaves_before_there_are_keys() -> None:
    one, _ = ends()
    one.exchange.attach(one)
    with pytest.raises(SealError):
        one.exchange.seal.seal(PACKET)
    assert one.exchange.seal.open(PACKET) == b""


async def test_a_hello_that_overtakes_the_answer_waits_for_it() -> None:
    one, two = attached()
    one.exchange.settle(TRUE, client=True)
    await settled()
    for _ in range(10):
        two.exchange.receive(b"\x16garbage", "192.0.2.9", 1, rtcp=False)
    assert len(two.exchange._streams[0].early) == MAX_EARLY
    two.exchange.settle(TRUE, client=False)
    await settled()
    assert hears(one, two)


async def test_a_first_flight_waits_for_an_address() -> None:
    one, two = ends()
    one.knows_where = False
    for end in (one, two):
        end.exchange.attach(end)
        end.exchange.settle(TRUE, client=end is one)
    await settled()
    assert not two.handshake
    one.knows_where = True
    one.exchange.reachable()
    await settled()
    assert hears(one, two)


async def test_settling_may_come_before_the_port() -> None:
    one, two = ends()
    one.exchange.settle(TRUE, client=True)
    two.exchange.attach(two)
    two.exchange.settle(TRUE, client=False)
    one.exchange.attach(one)
    await settled()
    assert hears(one, two)


async def test_another_certificate_than_the_descriptions_is_not_heard() -> None:
    one, two = attached()
    two.exchange.settle([("sha-256", bytes(32))], client=False)
    one.exchange.settle(TRUE, client=True)
    await settled()
    assert two.handshake == "failed"
    assert two.failures == ["the certificate is not that of the session description"]
    assert two.exchange.seal.open(one.exchange.seal.seal(PACKET)) == b""
    two.exchange.receive(b"\x16again", "192.0.2.1", 4000, rtcp=False)
    assert len(two.failures) == 1, "it is told once, whatever else comes"


async def test_the_same_peer_again_keeps_its_keys_and_another_one_begins_anew() -> None:
    one, two = attached()
    two.exchange.settle(TRUE, client=False)
    one.exchange.settle(TRUE, client=True)
    await settled()
    before = two.exchange.seal.rtp._in
    two.exchange.settle(list(TRUE), client=False)
    await settled()
    assert two.exchange.seal.rtp._in is before
    third = End("192.0.2.3")
    third.other, two.other = two, third
    third.exchange.attach(third)
    two.exchange.settle([*TRUE, ("sha-384", bytes(48))], client=False)
    third.exchange.settle(TRUE, client=True)
    await settled()
    assert hears(third, two)
    assert two.exchange.seal.rtp._in is not before


async def test_strangers_shake_no_hands() -> None:
    one, two = ends()
    two.admitted = False
    for end in (one, two):
        end.exchange.attach(end)
        end.exchange.settle(TRUE, client=end is one)
    await settled()
    assert not two.handshake
    assert not two.answers


async def test_a_closed_port_sends_nothing_and_waits_for_nothing() -> None:
    one, two = ends()
    one.other = End("192.0.2.9")  # where nobody answers
    one.exchange.attach(one)
    one.exchange.settle(TRUE, client=True)
    timers = [stream.timer for stream in one.exchange._streams]
    assert all(timers)
    one.exchange.close()
    one.exchange.close()
    assert all(timer is not None and timer.cancelled() for timer in timers)
    one.exchange.receive(b"\x16", "192.0.2.2", 1, rtcp=False)
    assert not two.answers


async def test_two_ports_agree_through_their_sockets_though_one_is_behind_a_nat() -> None:
    """The first has no address of the second but what the handshake shows it."""
    pools = [PortPool("127.0.0.1", *free_range(3)) for _ in range(2)]
    ports = [pool.open() for pool in pools]
    failures: list[str] = []
    exchanges = [DtlsExchange(identity(), failures.append) for _ in ports]
    for port, exchange, client in zip(ports, exchanges, (False, True), strict=True):
        port.exchange_keys(exchange)
        port.secure(exchange.seal)
        exchange.settle(TRUE, client=client)
    here, there = ports
    heard: list[bytes] = []
    reports: list[bytes] = []
    here.sink, here.rtcp_sink = heard.append, reports.append
    here.set_remote("127.0.0.1", 9)  # as a description from behind a NAT says
    there.set_remote(*here.address)
    await arrives(lambda: [each.seal.stats.handshake for each in exchanges] == ["done", "done"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"\x16\xfe\xfd" + bytes(40), here.address)
        stranger.sendto(b"\x16\xfe\xfd" + bytes(40), (here.address[0], here.address[1] + 1))
    for number in range(3):
        there.send(bytes([128, 0, 0, number]) + PACKET[4:])
    there.send_rtcp(REPORT)
    await arrives(lambda: len(heard) == 3 and len(reports) == 1)
    assert not failures
    assert here.stats.dropped_invalid == 0
    for pool in pools:
        pool.close()
    here.exchange_keys(exchanges[0])  # closed: nothing happens
