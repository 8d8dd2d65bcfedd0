"""Ports on real sockets, on loopback, under both event loops."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_network

import pytest

from gateway.media.port_pool import PortPool
from gateway.media.ports import Address, NoPortLeft
from gateway.media.rtp import pack
from gateway.media.rtp_port import READS_PER_VISIT, RtpPort


class Peer:
    """The far end: a plain socket."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.sequence = 0

    @property
    def address(self) -> Address:
        host, port = self.socket.getsockname()[:2]
        return host, port

    def talk(self, to: Address, count: int = 1, ssrc: int = 7) -> list[bytes]:
        sent = []
        for _ in range(count):
            self.sequence += 1
            sent.append(pack(0, self.sequence, self.sequence * 160, ssrc, b"v" * 160))
            self.socket.sendto(sent[-1], to)
        return sent

    async def hear(self) -> tuple[bytes, Address]:
        async with asyncio.timeout(5):
            while True:
                try:
                    data, source = self.socket.recvfrom(4096)
                except BlockingIOError:
                    await asyncio.sleep(0.001)
                    continue
                return data, (source[0], source[1])


@pytest.fixture
def peers() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(host: str = "127.0.0.1") -> Peer:
        made.append(Peer(host))
        return made[-1]

    yield make
    for peer in made:
        peer.socket.close()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def free_range(pairs: int) -> tuple[int, int]:
    """A range of ports that are free just now; each test has its own."""
    for low in range(17000 + secrets.randbelow(5000) * 2, 32000, 2 * pairs):
        probes = []
        try:
            for port in range(low, low + 2 * pairs):
                probes.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                probes[-1].bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return low, low + 2 * pairs - 1
    raise AssertionError("no free ports")


@pytest.fixture
async def pool(clock: Clock) -> AsyncIterator[PortPool]:
    pool = PortPool("127.0.0.1", *free_range(3), linger=3.0, clock=clock)
    yield pool
    pool.close()


async def arrives(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it waits for the network
            await asyncio.sleep(0.001)


def listen(port: RtpPort) -> list[bytes]:
    heard: list[bytes] = []
    port.sink = heard.append
    return heard


async def test_rtp_is_even_rtcp_is_the_next_and_both_are_bound(pool: PortPool) -> None:
    host, number = pool.open().address
    assert host == "127.0.0.1"
    assert number % 2 == 0
    for taken in (number, number + 1):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
            pytest.raises(OSError, match="in use"),
        ):
            probe.bind((host, taken))


async def test_packets_go_both_ways(pool: PortPool, peers: Callable[..., Peer]) -> None:
    peer, port = peers(), pool.open()
    heard = listen(port)
    port.set_remote(*peer.address)
    sent = peer.talk(port.address, 20)
    await arrives(lambda: len(heard) == 20)
    assert heard == sent
    port.send(b"hello")
    assert await peer.hear() == (b"hello", port.address)
    assert (port.stats.packets_in, port.stats.packets_out, port.stats.lost) == (20, 1, 0)
    assert port.last_packet_at == 100.0


async def test_a_burst_longer_than_one_wakeup_reads_is_not_lost(
    pool: PortPool, peers: Callable[..., Peer]
) -> None:
    peer, port = peers(), pool.open()
    heard = listen(port)
    port.set_remote(*peer.address)
    sent = peer.talk(port.address, 2 * READS_PER_VISIT)
    await arrives(lambda: len(heard) == len(sent))
    assert heard == sent


async def test_before_an_address_is_known_nothing_is_sent(pool: PortPool) -> None:
    port = pool.open()
    port.send(b"x")
    port.send_rtcp(b"x")
    assert port.stats.packets_out == 0


async def test_a_peer_behind_a_nat_is_found_and_strangers_are_counted(
    pool: PortPool, peers: Callable[..., Peer]
) -> None:
    port, named, nat, stranger = pool.open(), peers(), peers(), peers()
    heard = listen(port)
    port.set_remote(*named.address)
    sent = nat.talk(port.address, 3)
    await arrives(lambda: len(heard) == 3)
    assert heard == sent
    port.send(b"to you")
    assert (await nat.hear())[0] == b"to you"
    stranger.talk(port.address, 10, ssrc=9)
    await arrives(lambda: port.stats.dropped_source == 10)
    assert heard == sent


async def test_a_flood_of_strangers_does_not_crowd_out_the_peer(
    pool: PortPool, peers: Callable[..., Peer]
) -> None:
    port, peer, stranger = pool.open(), peers(), peers()
    heard = listen(port)
    port.set_remote(*peer.address)
    sent = peer.talk(port.address)
    await arrives(lambda: heard == sent)
    rounds = 0
    while len(heard) < 10:
        stranger.talk(port.address, READS_PER_VISIT - 1, ssrc=9)
        sent.extend(peer.talk(port.address))
        rounds += 1
        await arrives(lambda: heard == sent)
    assert port.stats.dropped_source == rounds * (READS_PER_VISIT - 1)


async def test_only_the_carriers_media_ranges_may_latch(pool: PortPool, peers: Callable[..., Peer]) -> None:
    port, nat = pool.open(latch_ranges=[ip_network("198.51.100.0/24")]), peers()
    port.set_remote("198.51.100.1", 4000)
    nat.talk(port.address, 5)
    await arrives(lambda: port.stats.dropped_source == 5)


async def test_what_is_not_rtp_is_dropped_and_counted(pool: PortPool, peers: Callable[..., Peer]) -> None:
    port, peer = pool.open(), peers()
    heard = listen(port)
    port.set_remote(*peer.address)
    stun, rtcp, dtls = b"\x00\x01\x00\x00" * 5, b"\x80\xc9" + bytes(20), b"\x16\xfe\xfd" + bytes(30)
    for data in (b"", b"\r\n", stun, rtcp, dtls):
        peer.socket.sendto(data, port.address)
    await arrives(lambda: port.stats.dropped_invalid == 5)
    assert heard == []


async def test_hold_and_resume(pool: PortPool, peers: Callable[..., Peer]) -> None:
    port, peer = pool.open(), peers()
    heard = listen(port)
    port.set_remote("0.0.0.0", peer.address[1])
    port.send(b"unheard")
    port.set_remote(*peer.address)
    port.sending = False
    port.send(b"unheard, too")
    port.sending = True
    port.send(b"heard")
    assert (await peer.hear())[0] == b"heard"
    peer.talk(port.address)
    await arrives(lambda: len(heard) == 1)


async def test_a_new_address_of_a_re_invite(pool: PortPool, peers: Callable[..., Peer]) -> None:
    port, first, second = pool.open(), peers(), peers()
    heard = listen(port)
    port.set_remote(*first.address)
    first.talk(port.address)
    await arrives(lambda: len(heard) == 1)
    port.set_remote(*second.address)
    port.send(b"over here")
    assert (await second.hear())[0] == b"over here"
    second.talk(port.address)
    await arrives(lambda: len(heard) == 2)
    first.talk(port.address, 4)
    await arrives(lambda: port.stats.dropped_source == 4)


async def test_rtcp_has_its_own_port_and_follows_the_host_of_rtp(
    pool: PortPool, peers: Callable[..., Peer]
) -> None:
    port, peer, control = pool.open(), peers(), peers()
    heard: list[bytes] = []
    port.rtcp_sink = heard.append
    report = b"\x80\xc8\x00\x01" + bytes(4)
    rtcp = (port.address[0], port.address[1] + 1)
    control.socket.sendto(report, rtcp)
    await arrives(lambda: port.stats.dropped_source == 1)  # nobody is expected yet
    port.set_remote(*peer.address, rtcp_port=control.address[1])
    port.send_rtcp(report)
    assert await control.hear() == (report, rtcp)
    other = peers()
    other.socket.sendto(report, rtcp)
    await arrives(lambda: heard == [report])
    port.send_rtcp(report)
    assert (await other.hear())[0] == report
    other.socket.sendto(b"\x80\xc8", rtcp)
    await arrives(lambda: port.stats.dropped_invalid == 1)


async def test_the_ports_run_out_and_come_back(pool: PortPool, clock: Clock) -> None:
    ports = [pool.open() for _ in range(3)]
    assert pool.in_use == 3
    with pytest.raises(NoPortLeft, match="3 media ports in use, 0 resting"):
        pool.open()
    ports[1].close()
    ports[1].close()
    assert pool.in_use == 2
    with pytest.raises(NoPortLeft, match="1 resting"):
        pool.open()
    clock.now += 3.0
    assert pool.open().address == ports[1].address


async def test_the_port_that_has_rested_longest_is_reused_first(pool: PortPool, clock: Clock) -> None:
    ports = [pool.open() for _ in range(3)]
    for index in (2, 0, 1):
        clock.now += 1
        ports[index].close()
    clock.now += 3
    assert [pool.open().address for _ in range(3)] == [ports[index].address for index in (2, 0, 1)]


async def test_the_last_calls_media_does_not_reach_the_next_one(
    pool: PortPool, clock: Clock, peers: Callable[..., Peer]
) -> None:
    peer = peers()
    ports = [pool.open() for _ in range(3)]
    ports[0].set_remote(*peer.address)
    ports[0].close()
    peer.talk(ports[0].address, 50)  # while it rests: no ICMP error comes back, nobody reads
    peer.talk((ports[0].address[0], ports[0].address[1] + 1), 3)
    clock.now += 3
    again = pool.open()
    assert again.address == ports[0].address
    heard = listen(again)
    again.set_remote(*peer.address)
    fresh = peer.talk(again.address, 2)
    await arrives(lambda: len(heard) == 2)
    assert heard == fresh


async def test_a_closed_port_is_silent(pool: PortPool, peers: Callable[..., Peer]) -> None:
    port, peer = pool.open(), peers()
    heard = listen(port)
    port.set_remote(*peer.address)
    port.close()
    port.send(b"x")
    port.send_rtcp(b"x")
    port.set_remote(*peer.address)
    port.send(b"x")
    peer.talk(port.address, 3)
    await asyncio.sleep(0.01)
    assert heard == []
    with pytest.raises(BlockingIOError):
        peer.socket.recv(100)


async def test_a_sink_may_close_its_port(pool: PortPool, peers: Callable[..., Peer]) -> None:
    port, peer = pool.open(), peers()
    heard: list[bytes] = []

    def hang_up(packet: bytes) -> None:
        heard.append(packet)
        port.close()

    port.sink = hang_up
    port.set_remote(*peer.address)
    peer.talk(port.address, 5)
    await arrives(lambda: len(heard) > 0)
    await asyncio.sleep(0.01)
    assert len(heard) == 1
    assert pool.in_use == 0


async def test_a_port_that_another_program_has_is_passed_over() -> None:
    low, high = free_range(3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", low + 3))  # the RTCP port of the second pair
        pool = PortPool("127.0.0.1", low, high)
        assert {pool.open().address[1], pool.open().address[1]} == {low, low + 4}
        with pytest.raises(NoPortLeft):
            pool.open()
        pool.close()


async def test_a_host_that_is_not_ours_is_no_port() -> None:
    with pytest.raises(NoPortLeft, match=r"on 192\.0\.2\.1"):
        PortPool("192.0.2.1", 20000, 20003).open()


async def test_ipv6(peers: Callable[..., Peer]) -> None:
    pool, peer = PortPool("::1", *free_range(1)), peers("::1")
    port = pool.open()
    assert port.address[0] == "::1"
    heard = listen(port)
    port.set_remote(*peer.address)
    peer.talk(port.address, 2)
    await arrives(lambda: len(heard) == 2)
    port.send(b"six")
    assert (await peer.hear())[0] == b"six"
    port.set_remote("127.0.0.1", 4000)  # the other family: counted, not raised
    port.send(b"four")
    assert port.stats.send_failures == 1
    pool.close()


async def test_who_latches_over_ipv6_is_heard_after_probation_too(peers: Callable[..., Peer]) -> None:
    pool, named, behind_nat = PortPool("::1", *free_range(1)), peers("::1"), peers("::1")
    port = pool.open()
    heard = listen(port)
    port.set_remote(*named.address)
    sent = behind_nat.talk(port.address, 5)
    await arrives(lambda: len(heard) == 5)
    assert heard == sent
    assert port.stats.dropped_source == 0
    pool.close()


async def test_the_advertised_address_is_the_one_in_sdp() -> None:
    pool = PortPool("0.0.0.0", *free_range(1), advertise="203.0.113.5")
    assert pool.open().address[0] == "203.0.113.5"
    pool.close()


@pytest.mark.parametrize(
    ("low", "high"), [(20001, 20002), (20000, 20000), (0, 100), (65000, 70000), (20010, 20000)]
)
def test_a_range_without_a_pair_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="range"):
        PortPool("127.0.0.1", low, high)


def test_a_wildcard_needs_an_address_to_advertise() -> None:
    with pytest.raises(ValueError, match="advertise"):
        PortPool("0.0.0.0")


async def test_closing_the_pool_frees_every_port() -> None:
    low, high = free_range(2)
    pool = PortPool("127.0.0.1", low, high)
    pool.open().close()
    pool.open()
    pool.close()
    assert pool.in_use == 0
    for number in range(low, high + 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", number))


async def test_a_stranger_is_heard_neither_before_nor_after_the_peer(
    pool: PortPool, peers: Callable[..., Peer]
) -> None:
    """Injection: single packets before the peer's first one, and a whole stream after it, in its own SSRC."""
    port = pool.open()
    peer, stranger = peers(), peers()
    heard: list[bytes] = []
    port.sink = heard.append
    port.set_remote(*peer.address)
    stranger.talk(port.address, 2)
    sent = peer.talk(port.address, 1)
    await arrives(lambda: len(heard) == 1)
    stranger.sequence = peer.sequence  # the hijack: same SSRC, the very next sequence numbers
    stranger.talk(port.address, 50)
    sent += peer.talk(port.address, 1)
    await arrives(lambda: len(heard) == 2)
    assert heard == sent
    assert port.stats.dropped_source == 50
    port.send(b"\x80" + bytes(171))
    await peer.hear()


async def test_a_spoofed_report_neither_moves_rtcp_nor_reaches_anybody(
    pool: PortPool, peers: Callable[..., Peer]
) -> None:
    port = pool.open()
    peer, control, stranger = peers(), peers(), peers("127.0.0.2")
    heard: list[bytes] = []
    port.rtcp_sink = heard.append
    port.set_remote(*peer.address, control.address[1])
    rtcp = (port.address[0], port.address[1] + 1)
    report = b"\x80\xc9\x00\x01" + bytes(4)
    stranger.socket.sendto(report, rtcp)
    control.socket.sendto(report, rtcp)
    await arrives(lambda: bool(heard))
    peer.socket.sendto(report, rtcp)  # the right host, but the peer's RTCP is settled
    stranger.socket.sendto(report, rtcp)
    await arrives(lambda: port.stats.dropped_source == 3)
    assert heard == [report]
    port.send_rtcp(report)
    assert await control.hear() == (report, rtcp)


async def test_the_peer_gets_reports_and_its_own_are_read(peers: Callable[..., Peer]) -> None:
    """Two ports of ours talk to each other: the way between them is measured by both."""
    pools = [PortPool("127.0.0.1", *free_range(3)) for _ in range(2)]
    a, b = (pool.open() for pool in pools)
    a.set_remote(*b.address)
    b.set_remote(*a.address)
    for number in range(5):
        a.send(pack(0, number, 160 * number, 1, bytes(160)))
        b.send(pack(0, number, 160 * number, 2, bytes(160)))
    await arrives(lambda: a.stats.packets_in == b.stats.packets_in == 5)
    for number, port in ((5, a), (5, b), (6, a), (6, b)):
        assert port._reporter is not None
        port._reporter._due()  # no need to wait for the timers of five seconds
        port.send(pack(0, number, 160 * number, 1 if port is a else 2, bytes(160)))
        await asyncio.sleep(0.02)
    await arrives(lambda: a.stats.round_trip is not None)
    assert a.stats.far_lost == 0
    for pool in pools:
        pool.close()
