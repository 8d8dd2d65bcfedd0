"""Listeners on sockets that are bound already, and outlive them: what is not read is for who comes next."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.sip.network import Transport
from gateway.sip.transport import SocketNetwork
from tests.sip.recorder import Recorder, until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

HOST = "127.0.0.1"
MESSAGE = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n"


async def listening(
    name: str, held: socket.socket, recorder: Recorder, *, counts_lost: bool = True
) -> Transport:
    """A process's listener: it has a descriptor of its own for the socket."""
    address = held.getsockname()
    network = SocketNetwork(
        shared=[address],
        held={(name, address): held.dup()},
        counts_lost=counts_lost,
    )
    return await network.open(name, address, 1, recorder)


async def test_datagrams_are_left_to_who_reads_them_next() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        held.bind((HOST, 0))
        first, second = Recorder(), Recorder()
        transport = await listening("udp", held, first)
        peer.sendto(MESSAGE, held.getsockname())
        transport.close()  # before its loop has come to read it
        assert first.messages == []
        transport = await listening("udp", held, second)
        await until(lambda: len(second.messages) == 1)
        transport.close()


async def test_one_of_several_readers_counts_what_was_lost() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the least there is
        held.bind((HOST, 0))
        for _ in range(50):
            peer.sendto(bytes(1400), held.getsockname())
        counting = await listening("udp", held, Recorder())
        other = await listening("udp", held, Recorder(), counts_lost=False)
        assert counting.lost() > 0
        assert other.lost() == 0
        counting.close()
        other.close()


async def test_connections_wait_for_who_accepts_them_next() -> None:
    with socket.create_server((HOST, 0)) as held:
        for _ in range(2):
            _, writer = await asyncio.open_connection(*held.getsockname())  # nobody accepts yet
            writer.write(MESSAGE)
            recorder = Recorder()
            transport = await listening("tcp", held, recorder)
            await until(lambda recorder=recorder: len(recorder.messages) == 1)  # type: ignore[misc]
            transport.close()
            writer.transport.abort()
            await asyncio.sleep(0.01)  # the ends are told
