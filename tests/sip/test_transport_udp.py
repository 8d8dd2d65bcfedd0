from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.sip import transport_udp
from gateway.sip.flow import Flow
from gateway.sip.readiness import Readiness, watch
from gateway.sip.receive_queue import LONGEST_WAIT
from gateway.sip.transport_udp import MAX_DATAGRAM, UdpTransport
from tests.sip.recorder import Recorder, until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

CHANNEL = 3
DATA = b"OPTIONS sip:x SIP/2.0\r\n\r\n"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="ICMP errors are told by Linux only")


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def dead_port() -> int:
    """A UDP port where nobody listens (any more)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def to(sock: socket.socket) -> Flow:
    host, port = sock.getsockname()[:2]
    return Flow("udp", host, port, CHANNEL)


def opened(receiver: Recorder, host: str = "127.0.0.1") -> UdpTransport:
    return UdpTransport((host, 0), CHANNEL, receiver)


async def test_datagrams_arrive_with_their_sender_and_the_listeners_number(peer: socket.socket) -> None:
    recorder = Recorder()
    transport = opened(recorder)
    peer.sendto(DATA, transport.address)
    await until(lambda: bool(recorder.messages))
    assert recorder.messages == [(DATA, to(peer))]
    transport.close()


@pytest.mark.parametrize("shared", [True, False])
async def test_what_waits_at_a_shared_port_is_told_before_it_is_closed(
    peer: socket.socket, shared: bool
) -> None:
    recorder = Recorder()
    transport = UdpTransport(("127.0.0.1", 0), CHANNEL, recorder, shared=shared)
    peer.sendto(DATA, transport.address)
    transport.close()  # before the loop has had a turn
    assert recorder.messages == ([(DATA, to(peer))] if shared else [])


async def test_sending_goes_out_of_the_bound_port(peer: socket.socket) -> None:
    transport = opened(Recorder())
    transport.send(to(peer), DATA)
    assert peer.recvfrom(4096) == (DATA, transport.address)
    transport.close()


async def test_the_largest_datagram_and_an_ipv6_peer() -> None:
    recorder = Recorder()
    transport = opened(recorder, "::1")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        peer.bind(("::1", 0))
        largest = bytes(MAX_DATAGRAM - 48)  # less the IPv6 and UDP headers
        peer.sendto(largest, transport.address)
        await until(lambda: bool(recorder.messages))
        assert recorder.messages == [(largest, to(peer))]
        transport.send(to(peer), DATA)
        peer.settimeout(5)
        assert peer.recvfrom(4096)[0] == DATA
    transport.close()


@pytest.mark.parametrize("keepalive", [b"\r\n\r\n", b"\0", b""])
async def test_keepalives_are_no_messages(peer: socket.socket, keepalive: bytes) -> None:
    recorder = Recorder()
    transport = opened(recorder)
    peer.sendto(keepalive, transport.address)
    peer.sendto(DATA, transport.address)
    await until(lambda: bool(recorder.messages))
    assert recorder.bodies == [DATA]
    transport.close()


async def test_a_flood_does_not_hold_up_the_loop(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_udp, "DATAGRAMS_A_WAKEUP", 4)
    recorder = Recorder()
    transport = opened(recorder)
    turns: list[int] = []
    loop = asyncio.get_running_loop()
    recorder.on_message = lambda data, flow: (
        loop.call_soon(lambda: turns.append(len(recorder.messages))) and None
    )
    for _ in range(12):
        peer.sendto(DATA, transport.address)
    await until(lambda: len(turns) == 12)
    assert turns[0] == 4
    assert recorder.bodies == [DATA] * 12
    transport.close()


@linux_only
async def test_a_refused_datagram_is_told_at_once_and_by_its_flow() -> None:
    recorder = Recorder()
    transport = opened(recorder)
    refused = [Flow("udp", "127.0.0.1", dead_port(), CHANNEL) for _ in range(3)]
    for flow in refused:
        transport.send(flow, DATA)
        assert len(recorder.failures) < 3  # never from within send
    await until(lambda: len(recorder.failures) == 3)
    assert recorder.failures == [(flow, "connection refused") for flow in refused]
    transport.close()


@linux_only
async def test_errors_leave_the_socket_working_and_the_loop_idle(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, wakeups = Recorder(), []

    def counting(
        loop: asyncio.AbstractEventLoop, sock: socket.socket, callback: Callable[[], None]
    ) -> Readiness:
        def woken() -> None:
            wakeups.append(callback)
            callback()

        return watch(loop, sock, woken)

    monkeypatch.setattr(transport_udp, "watch", counting)
    transport = UdpTransport(("127.0.0.1", 0), CHANNEL, recorder)
    refused = Flow("udp", "127.0.0.1", dead_port(), CHANNEL)
    for round_ in range(1, 6):
        transport.send(refused, DATA)
        peer.sendto(DATA, transport.address)
        await until(lambda expected=round_: len(recorder.messages) == len(recorder.failures) == expected)
    assert wakeups
    wakeups.clear()
    await asyncio.sleep(0.05)
    assert not wakeups
    transport.close()


@linux_only
async def test_an_error_met_by_the_next_send_costs_neither_message(peer: socket.socket) -> None:
    recorder = Recorder()
    transport = opened(recorder)
    refused = Flow("udp", "127.0.0.1", dead_port(), CHANNEL)
    for _ in range(20):
        transport.send(refused, DATA)
        transport.send(to(peer), DATA)
        assert peer.recvfrom(4096)[0] == DATA
    await until(lambda: len(recorder.failures) == 20)
    transport.close()


class Congested:
    """A sendto whose kernel has no room until told so."""

    def __init__(self, transport: UdpTransport) -> None:
        self.room = False
        self._sendto = transport._sendto

    def __call__(self, data: bytes, address: tuple[str, int]) -> int:
        if not self.room:
            raise BlockingIOError
        return self._sendto(data, address)


async def test_datagrams_wait_in_order_for_room(peer: socket.socket) -> None:
    recorder = Recorder()
    transport = opened(recorder)
    transport._sendto = congested = Congested(transport)
    for number in range(5):
        transport.send(to(peer), b"%d" % number)
    await asyncio.sleep(0.01)
    congested.room = True
    await until(lambda: not transport._queue)
    transport.send(to(peer), b"5")
    assert [peer.recvfrom(10)[0] for _ in range(6)] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    transport.close()


async def test_the_send_queue_is_bounded_and_its_loss_counted(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_udp, "SEND_QUEUE", 2)
    recorder = Recorder()
    transport = opened(recorder)
    transport._sendto = Congested(transport)
    for _ in range(5):
        transport.send(to(peer), DATA)
    assert recorder.drops == {"send_queue_full": 3}
    transport.close()


@pytest.mark.parametrize(
    ("host", "port", "fault"),
    [
        ("agents.invalid", 5060, "agents.invalid is not an IP address"),
        ("127.0.0.1", 70_000, "70000 is not a port"),
        ("127.0.0.1", 0, "invalid argument"),
    ],
)
async def test_what_cannot_be_sent_fails_soon(host: str, port: int, fault: str) -> None:
    recorder = Recorder()
    transport = opened(recorder)
    flow = Flow("udp", host, port, CHANNEL)
    transport.send(flow, DATA)
    assert not recorder.failures
    await until(lambda: bool(recorder.failures))
    assert recorder.failures == [(flow, fault)]
    transport.close()


async def test_a_taken_port_is_an_error() -> None:
    transport = opened(Recorder())
    with pytest.raises(OSError) as caught:
        UdpTransport(transport.address, CHANNEL, Recorder())
    assert caught.value.errno == errno.EADDRINUSE
    transport.close()


async def test_a_receiver_may_close_the_transport_and_nothing_more_is_heard(peer: socket.socket) -> None:
    recorder = Recorder()
    transport = opened(recorder)
    recorder.on_message = lambda data, flow: transport.close()
    for _ in range(3):
        peer.sendto(DATA, transport.address)
    await until(lambda: bool(recorder.messages))
    transport.send(to(peer), DATA)
    transport.close()
    await asyncio.sleep(0.01)
    assert len(recorder.messages) == 1
    assert not recorder.failures
    assert not transport.is_open(to(peer))


@linux_only
async def test_how_long_a_datagram_waited_is_measured_when_asked_for(peer: socket.socket) -> None:
    recorder = Recorder()
    transport = opened(recorder)
    assert transport.waited() == 0.0  # nothing was read yet
    peer.sendto(DATA, transport.address)
    await asyncio.to_thread(time.sleep, 0)  # the loop may read it, or not
    peer.sendto(DATA, transport.address)
    await until(lambda: len(recorder.messages) == 2)
    assert recorder.messages == [(DATA, to(peer))] * 2
    assert 0 < transport.waited() < LONGEST_WAIT
    assert transport.waited() == 0.0  # each is told once
    transport.close()


@linux_only
async def test_what_the_kernel_drops_is_counted(peer: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_udp, "RECEIVE_BUFFER", 4096)
    recorder = Recorder()
    transport = opened(recorder)
    assert transport.lost() == 0
    for _ in range(100):  # without a turn of the loop, so nobody reads
        peer.sendto(DATA * 40, transport.address)
    lost = transport.lost()
    assert 0 < lost < 100
    assert transport.lost() == 0
    await until(lambda: len(recorder.messages) == 100 - lost)
    transport.close()
    assert transport.lost() == 0
