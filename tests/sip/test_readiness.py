"""Being told of a datagram, and of room to send: in the way of every system, this one's first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from gateway.sip.readiness import Readiness, _LoopReadiness, watch

Watch = Callable[[asyncio.AbstractEventLoop, socket.socket, Callable[[], None]], Readiness]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.setblocking(False)
        yield one, other


@pytest.mark.parametrize("how", [watch, _LoopReadiness], ids=["this system's", "any loop's"])
async def test_somebody_is_told_while_there_is_something(
    ends: tuple[socket.socket, socket.socket], how: Watch
) -> None:
    here, there = ends
    told: asyncio.Queue[None] = asyncio.Queue()
    readiness = how(asyncio.get_running_loop(), here, lambda: told.put_nowait(None))
    there.send(b"x")
    await told.get()
    assert here.recv(10) == b"x"
    readiness.want_write(True)
    await told.get()  # there is room all the time
    readiness.want_write(False)
    for _ in range(3):
        await asyncio.sleep(0)
    while not told.empty():
        told.get_nowait()
    for _ in range(3):
        await asyncio.sleep(0)
    assert told.empty()
    readiness.close()
    readiness.close()
    there.send(b"y")
    for _ in range(3):
        await asyncio.sleep(0)
    assert told.empty()
