"""Agents' WebSockets in virtual time: an `AgentWeb` without a network."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL


class Socket:
    """One end at the gateway. The agent, in a test, reads `heard` and says things."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url = url
        self.headers = headers
        self.heard: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.closed = False
        self.reading = True
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self._hears: Callable[[bytes, bool], None] | None = None
        self._ends: Callable[[int | None], None] = lambda code: None
        self._said: deque[tuple[bytes, bool] | int | None] = deque()

    # What the gateway does.

    def listen(
        self, on_message: Callable[[bytes, bool], None], on_closed: Callable[[int | None], None]
    ) -> None:
        self._hears, self._ends = on_message, on_closed
        asyncio.get_running_loop().call_soon(self._deliver)

    def send(self, message: bytes) -> bool:
        if self.closed or not self.reading:
            return False
        self.heard.append(json.loads(message))
        self.times.append(asyncio.get_running_loop().time())
        self.on_message(self.heard[-1])
        return True

    async def close(self) -> None:
        self.closed = True

    # What the agent does.

    def say(self, message: dict[str, Any] | str | bytes) -> None:
        text = json.dumps(message) if isinstance(message, dict) else message
        self._said.append((text.encode(), True) if isinstance(text, str) else (text, False))
        asyncio.get_running_loop().call_soon(self._deliver)

    def hang_up(self, code: int | None = 1000) -> None:
        self.closed = True
        self._said.append(code)
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        while self._said and self._hears is not None:
            said = self._said.popleft()
            if isinstance(said, tuple):
                self._hears(*said)
            else:
                self._ends(said)

    def stop_reading(self) -> None:
        self.reading = False

    def of(self, event: str) -> list[dict[str, Any]]:
        """What it heard of one kind."""
        return [message for message in self.heard if message.get("event", message.get("type")) == event]


Handshake = Callable[[Socket], Awaitable[None] | None]


class SimulatedWeb:
    """Where agents' WebSockets come from. agents: what happens at a handshake, by URL."""

    def __init__(self) -> None:
        self.agents: dict[str, Handshake] = {}
        self.sockets: list[Socket] = []

    async def open_socket(self, url: str, headers: dict[str, str]) -> Socket:
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
