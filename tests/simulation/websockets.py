"""Agents' WebSockets in virtual time: what `aiohttp.ClientSession` is to the gateway, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

CLOSED = object()


class Message(NamedTuple):
    type: aiohttp.WSMsgType
    data: Any


class Socket:
    """One end at the gateway. The agent, in a test, reads `heard` and says things."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url = url
        self.headers = headers
        self.heard: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.closed = False
        self.close_code: int | None = None
        self.reading = True
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self._inbox: deque[object] = deque()
        self._news = asyncio.Event()
        self._reads = asyncio.Event()
        self._reads.set()

    # What the gateway does.

    async def send_str(self, text: str) -> None:
        await self._reads.wait()
        if self.closed:
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
        message = json.loads(text)
        self.heard.append(message)
        self.times.append(asyncio.get_running_loop().time())
        self.on_message(message)

    async def close(self) -> None:
        self.closed = True
        self.close_code = self.close_code or 1000

    def __aiter__(self) -> Socket:
        return self

    async def __anext__(self) -> Message:
        while not self._inbox:
            self._news.clear()
            await self._news.wait()
        said = self._inbox.popleft()
        if said is CLOSED:
            raise StopAsyncIteration
        binary = isinstance(said, bytes)
        return Message(aiohttp.WSMsgType.BINARY if binary else aiohttp.WSMsgType.TEXT, said)

    # What the agent does.

    def say(self, message: dict[str, Any] | str | bytes) -> None:
        self._inbox.append(json.dumps(message) if isinstance(message, dict) else message)
        self._news.set()

    def hang_up(self, code: int | None = 1000) -> None:
        self.closed = True
        self.close_code = code
        self._inbox.append(CLOSED)
        self._news.set()

    def stop_reading(self) -> None:
        self._reads.clear()

    def of(self, event: str) -> list[dict[str, Any]]:
        """What it heard of one kind."""
        return [message for message in self.heard if message.get("event", message.get("type")) == event]


Handshake = Callable[[Socket], Awaitable[None] | None]


class SimulatedWeb:
    """Takes the place of the HTTP client. agents: what happens at a handshake, by URL."""

    def __init__(self) -> None:
        self.agents: dict[str, Handshake] = {}
        self.sockets: list[Socket] = []

    async def ws_connect(self, url: str, *, headers: dict[str, str], **_: object) -> Socket:
        accept = self.agents.get(url)
        if accept is None:
            raise ConnectionRefusedError(111, "Connection refused")
        socket = Socket(url, headers)
        await asyncio.sleep(0.002)
        waiting = accept(socket)
        if waiting is not None:
            await waiting
        self.sockets.append(socket)
        return socket

    async def close(self) -> None: ...


def refuse(status: int) -> Handshake:
    """An agent that refuses the upgrade."""

    def accept(socket: Socket) -> None:
        request = aiohttp.RequestInfo(
            URL(socket.url), "GET", CIMultiDictProxy(CIMultiDict()), URL(socket.url)
        )
        raise aiohttp.WSServerHandshakeError(request, (), status=status, message="Invalid response status")

    return accept


def accept(socket: Socket) -> None:
    """An agent that takes every call."""


async def never(socket: Socket) -> None:
    """An agent whose TLS or handshake does not come to an end."""
    await asyncio.sleep(3600)
