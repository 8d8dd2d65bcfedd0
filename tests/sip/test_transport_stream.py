from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from gateway.sip.flow import Flow
from gateway.sip.network import LISTENER_BITS, LISTENER_MASK
from gateway.sip.transport_stream import StreamLimits, StreamTransport
from tests.sip.recorder import Recorder, until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

CHANNEL = 5


def message(number: int = 0, body: bytes = b"") -> bytes:
    head = f"OPTIONS sip:x SIP/2.0\r\nCall-ID: {number}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Peer:
    """The other end of a connection: a stream reader and writer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.writer.get_extra_info("sockname")[:2]
        return host, port

    async def read(self, expected: bytes) -> None:
        async with asyncio.timeout(5):
            assert await self.reader.readexactly(len(expected)) == expected

    async def closed(self) -> None:
        """Wait until the far side has closed, in whichever way."""
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):
                while await self.reader.read(65_536):
                    pass

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def listening(recorder: Recorder, host: str = "127.0.0.1", **limits: Any) -> StreamTransport:
    transport = StreamTransport((host, 0), CHANNEL, recorder, StreamLimits(**limits))
    await transport.listen()
    return transport


async def connected(transport: StreamTransport) -> Peer:
    return Peer(*await asyncio.open_connection(*transport.address))


class Server:
    """Accepts connections and keeps them; `port` is where."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    async def start(self, host: str = "127.0.0.1") -> None:
        self._server = await asyncio.start_server(self._accept, host, 0)
        self.host = host
        self.port = self._server.sockets[0].getsockname()[1]
        self.flow = Flow("tcp", host, self.port, CHANNEL)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(Peer(reader, writer))

    async def accepted(self, count: int = 1) -> Peer:
        await until(lambda: len(self.peers) >= count)
        return self.peers[count - 1]

    async def stop(self) -> None:
        self._server.close()
        for peer in self.peers:
            await peer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@contextmanager
def unanswering() -> Iterator[Flow]:
    """A way to nobody: a listener whose backlog is full drops SYNs, as a firewall does."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filling in (first, second):
            filling.setblocking(False)
            filling.connect_ex(full.getsockname())
        yield Flow("tcp", *full.getsockname(), CHANNEL)


async def closed(transport: StreamTransport, *peers: Peer) -> None:
    """Close both sides and let the loop see it, so that no socket outlives the test."""
    transport.close()
    for peer in peers:
        await peer.close()
    await asyncio.sleep(0.001)


async def test_messages_arrive_whatever_the_segments() -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    peer = await connected(transport)
    for byte in message(1, b"body"):
        peer.writer.write(bytes([byte]))
        await peer.writer.drain()
    peer.writer.write(b"\r\n" + message(2) + message(3, b"three") + message(4)[:10])
    await until(lambda: len(recorder.messages) == 3)
    peer.writer.write(message(4)[10:])
    await until(lambda: len(recorder.messages) == 4)
    assert recorder.bodies == [message(1, b"body"), message(2), message(3, b"three"), message(4)]
    flows = {flow for _, flow in recorder.messages}
    assert [flow[:3] for flow in flows] == [("tcp", *peer.address)]
    assert flows.pop().channel == CHANNEL | 1 << LISTENER_BITS
    await closed(transport, peer)


async def test_each_connection_has_a_number_and_answers_go_back_through_it() -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    peers = [await connected(transport) for _ in range(3)]
    for number, peer in enumerate(peers):
        peer.writer.write(message(number))
    await until(lambda: len(recorder.messages) == 3)
    channels = [flow.channel for _, flow in recorder.messages]
    assert len(set(channels)) == 3
    assert {channel & LISTENER_MASK for channel in channels} == {CHANNEL}
    for data, flow in recorder.messages:
        assert transport.is_open(flow)
        transport.send(flow, data)
    for number, peer in enumerate(peers):
        await peer.read(message(number))
    await closed(transport, *peers)


async def test_a_ping_is_answered_and_a_pong_is_not() -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    peer = await connected(transport)
    peer.writer.write(b"\r\n\r\n")
    await peer.read(b"\r\n")
    peer.writer.write(b"\r\n" + message())
    await until(lambda: bool(recorder.messages))
    transport.send(recorder.messages[0][1], b"answer")
    await peer.read(b"answer")
    await closed(transport, peer)


async def test_a_stream_that_cannot_be_framed_is_closed_and_counted() -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    peer = await connected(transport)
    peer.writer.write(b"INVITE sip:x SIP/2.0\r\nContent-Length: many\r\n\r\n")
    await peer.closed()
    assert recorder.drops == {"framing": 1}
    assert len(recorder.messages) == 1  # to be refused with 400
    await closed(transport, peer)


async def test_a_stranger_is_closed_at_once() -> None:
    recorder = Recorder()
    recorder.admitted = False
    transport = await listening(recorder)
    peer = await connected(transport)
    peer.writer.write(message())
    await peer.closed()
    assert not recorder.messages
    assert not recorder.failures
    await closed(transport, peer)


@pytest.mark.parametrize("limits", [{"connections": 2}, {"connections_a_source": 2}])
async def test_connections_beyond_the_cap_are_closed_and_room_comes_back(limits: dict[str, int]) -> None:
    recorder = Recorder()
    transport = await listening(recorder, **limits)
    first, second = await connected(transport), await connected(transport)
    third = await connected(transport)
    await third.closed()
    assert recorder.drops == {"connection_limit": 1}
    await first.close()
    await until(lambda: bool(recorder.failures))
    fourth = await connected(transport)
    fourth.writer.write(message(4))
    second.writer.write(message(2))
    await until(lambda: len(recorder.messages) == 2)
    await closed(transport, second, third, fourth)


async def test_an_idle_connection_is_closed() -> None:
    recorder = Recorder()
    transport = await listening(recorder, idle=0.05)
    peer = await connected(transport)
    peer.writer.write(message())
    await peer.closed()
    assert recorder.bodies == [message()]
    await until(lambda: bool(recorder.failures))
    assert [reason for _, reason in recorder.failures] == ["idle"]
    assert not transport.is_open(recorder.messages[0][1])
    await closed(transport, peer)


async def test_a_message_fed_too_slowly_closes_the_connection() -> None:
    recorder = Recorder()
    transport = await listening(recorder, unfinished=0.05)
    slow, good = await connected(transport), await connected(transport)
    slow.writer.write(b"OPTIONS sip:x SIP/2.0\r\n")
    dripping = asyncio.create_task(drip(slow))
    await slow.closed()
    dripping.cancel()
    assert recorder.drops == {"unfinished_message": 1}
    good.writer.write(message())
    await until(lambda: bool(recorder.messages))
    await closed(transport, slow, good)


async def drip(peer: Peer) -> None:
    while True:
        peer.writer.write(b"a")
        await asyncio.sleep(0.01)


async def test_a_peer_that_does_not_read_is_given_up() -> None:
    recorder = Recorder()
    transport = await listening(recorder, unsent=10_000)
    peer = await connected(transport)
    peer.writer.write(message())
    await until(lambda: bool(recorder.messages))
    flow = recorder.messages[0][1]
    for _ in range(20_000):
        if not transport.is_open(flow):
            break
        transport.send(flow, bytes(1_000))
    assert not transport.is_open(flow)
    assert recorder.drops == {"send_queue_full": 1}
    await until(lambda: recorder.failures == [(flow, "the peer does not read")])
    await closed(transport, peer)


async def test_one_connection_is_opened_to_a_peer_and_used_again(server: Server) -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    transport.send(server.flow, message(1))
    transport.send(server.flow, message(2))
    peer = await server.accepted()
    await peer.read(message(1) + message(2))
    transport.send(server.flow, message(3))
    peer.writer.write(message(4))
    await peer.read(message(3))
    await until(lambda: bool(recorder.messages))
    answered, flow = recorder.messages[0]
    assert answered == message(4)
    assert flow[:3] == ("tcp", server.host, server.port)
    assert flow.channel & LISTENER_MASK == CHANNEL
    transport.send(flow, message(5))
    await peer.read(message(5))
    assert len(server.peers) == 1
    await closed(transport)


async def test_a_refused_connection_fails_by_the_flow_it_was_asked_for(server: Server) -> None:
    await server.stop()
    recorder = Recorder()
    transport = await listening(recorder)
    transport.send(server.flow, message())
    assert not recorder.failures
    await until(lambda: bool(recorder.failures))
    assert (server.flow, "connection refused") in recorder.failures
    await closed(transport)


async def test_connecting_takes_no_longer_than_it_may(server: Server) -> None:
    recorder = Recorder()
    transport = await listening(recorder, connect=0.05)
    with unanswering() as flow:
        transport.send(flow, message())
        await until(lambda: bool(recorder.failures))
    assert (flow, "connecting timed out") in recorder.failures
    await closed(transport)


@pytest.mark.parametrize("manner", ["close", "reset"])
async def test_the_end_of_a_connection_fails_every_flow_that_used_it(server: Server, manner: str) -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    transport.send(server.flow, message())
    peer = await server.accepted()
    await peer.read(message())
    if manner == "reset":
        peer.writer.transport.abort()
    else:
        await peer.close()
    await until(lambda: bool(recorder.failures))
    assert {flow.channel for flow, _ in recorder.failures} == {CHANNEL, CHANNEL | 1 << LISTENER_BITS}
    transport.send(server.flow, message(2))
    await (await server.accepted(2)).read(message(2))
    await closed(transport)


async def test_a_message_for_a_lost_connection_goes_through_a_new_one(server: Server) -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    lost = server.flow._replace(channel=CHANNEL | 99 << LISTENER_BITS)
    assert not transport.is_open(lost)
    transport.send(lost, message())
    await (await server.accepted()).read(message())
    await closed(transport)


@pytest.mark.parametrize(
    ("host", "port", "fault"),
    [
        ("agents.invalid", 5060, "agents.invalid is not an IP address"),
        ("127.0.0.1", 70_000, "70000 is not a port"),
        ("127.0.0.1", 0, "0 is not a port"),
    ],
)
async def test_what_cannot_be_connected_to_fails_soon(host: str, port: int, fault: str) -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    flow = Flow("tcp", host, port, CHANNEL)
    transport.send(flow, message())
    assert not recorder.failures
    await until(lambda: recorder.failures == [(flow, fault)])
    await closed(transport)


async def test_outgoing_connections_are_bounded(server: Server) -> None:
    recorder = Recorder()
    transport = await listening(recorder, outgoing=1)
    transport.send(server.flow, message())
    elsewhere = Flow("tcp", "127.0.0.1", 9, CHANNEL)
    transport.send(elsewhere, message())
    await until(lambda: recorder.failures == [(elsewhere, "too many connections")])
    await (await server.accepted()).read(message())
    await closed(transport)


async def test_ipv6() -> None:
    recorder = Recorder()
    transport = await listening(recorder, "::1")
    peer = await connected(transport)
    peer.writer.write(message())
    await until(lambda: bool(recorder.messages))
    assert recorder.messages[0][1].host == "::1"
    await closed(transport, peer)


async def test_closing_sends_what_is_left_and_tells_nobody(server: Server) -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    peer = await connected(transport)
    peer.writer.write(message())
    await until(lambda: bool(recorder.messages))
    flow = recorder.messages[0][1]
    transport.send(flow, b"goodbye")
    transport.close()
    transport.close()
    await peer.read(b"goodbye")
    await peer.closed()
    transport.send(flow, b"too late")
    await asyncio.sleep(0.01)
    assert not recorder.failures
    await closed(transport, peer)


async def test_a_taken_port_is_an_error() -> None:
    transport = await listening(Recorder())
    other = StreamTransport(transport.address, CHANNEL, Recorder(), StreamLimits())
    with pytest.raises(OSError) as caught:
        await other.listen()
    assert caught.value.errno == errno.EADDRINUSE
    await closed(transport)


async def test_closing_gives_up_what_is_still_connecting() -> None:
    recorder = Recorder()
    transport = await listening(recorder)
    with unanswering() as flow:
        transport.send(flow, message())
        await asyncio.sleep(0.01)
        await closed(transport)
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert not recorder.failures
