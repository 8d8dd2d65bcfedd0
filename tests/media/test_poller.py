from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Iterator

import pytest

from gateway.media.poller import SocketPoller


@pytest.fixture(params=["epoll", "another way"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems without epoll, too."""
    if request.param != "epoll":
        monkeypatch.delattr(select, "epoll")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair(type=socket.SOCK_DGRAM)
    here.setblocking(False)
    yield here, there
    here.close()
    there.close()


async def test_a_callback_that_raises_stops_nobody_else(pair: tuple[socket.socket, socket.socket]) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reported.append(context["exception"])
    )
    here, there = pair
    heard: list[bytes] = []

    def read() -> None:
        heard.append(here.recv(10))
        if heard == [b"1"]:
            raise ValueError("a sink's bug")

    poller = SocketPoller()
    poller.add(here, read)
    for number in (b"1", b"2", b"3"):
        there.send(number)
    async with asyncio.timeout(5):
        while len(heard) < 3:  # noqa: ASYNC110 - it waits for the network
            await asyncio.sleep(0.001)
    assert [str(error) for error in reported] == ["a sink's bug"]
    poller.close()


async def test_after_remove_and_close_nothing_is_read(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    poller = SocketPoller()
    poller.add(here, lambda: pytest.fail("it was removed"))
    poller.remove(here)
    there.send(b"1")
    await asyncio.sleep(0.01)
    poller.close()
    assert here.recv(10) == b"1"
