"""An agent's WebSocket: messages go out and come in without a task, a queue or a future between.

aiohttp shakes hands (DNS, TLS, redirects, HTTP), then what its connection reads comes to us: fifty messages a
second each way and call were dearest in what aiohttp does around a message (`docs/performance.md`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Final, Protocol, cast

import aiohttp

from gateway.streams.websocket import (
    BINARY,
    CLOSE,
    NO_CODE,
    NORMAL,
    PING,
    PONG,
    TEXT,
    FrameReader,
    FrameWriter,
    Message,
    WebSocketError,
    close_code,
)

MAX_MESSAGE: Final = 8 * 1024 * 1024
"""Bytes of one message: ten minutes of G.711 in base64. An agent that sends more at once is lost."""

MAX_UNREAD: Final = 64 * 1024
"""Bytes that wait in this process for an agent to read; with more nothing is sent."""

HEARTBEAT_SECONDS: Final = 15.0
"""Between pings; an agent that answers none for half as long is gone, though its TCP connection stands."""

CLOSE_SECONDS: Final = 2.0
"""For the agent to answer the closing handshake; the caller does not wait for it."""

TURN: Final = 16
"""Messages taken before others get their turn, of what was read in one piece."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


class AgentSocket(Protocol):
    """One agent's WebSocket, open."""

    def listen(
        self, on_message: Callable[[bytes, bool], None], on_closed: Callable[[int | None], None]
    ) -> None:
        """Hear messages from now on, and of the end, once.

        on_message: gets a payload and whether it is text. on_closed: gets the agent's code; None of a
            connection that broke.
        """

    def send(self, message: bytes) -> bool:
        """Send a text. False, and nothing is sent: too much waits for the agent to read it, or it is over."""

    async def close(self) -> None:
        """Close with 1000, and wait a moment for the agent to do so too. Bounded; idempotent."""


class AgentWeb(Protocol):
    """Where agents' WebSockets come from."""

    async def open_socket(self, url: str, headers: Mapping[str, str]) -> AgentSocket:
        """Shake hands. Raises aiohttp.ClientError, OSError, ValueError; give it a time limit."""

    async def close(self) -> None:
        """Let go of everything."""


class HttpAgentWeb:
    """`AgentWeb` by an HTTP client, which it owns."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def open_socket(self, url: str, headers: Mapping[str, str]) -> AgentSocket:
        """See `AgentWeb`; the client's side of RFC 6455 §4.1."""
        key = base64.b64encode(os.urandom(16))
        response = await self.session.get(
            url,
            headers={
                **headers,
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": key.decode(),
            },
            read_until_eof=False,
        )
        try:
            if (fault := _refusal(response, key)) is not None:
                raise aiohttp.WSServerHandshakeError(
                    response.request_info, response.history, status=response.status, message=fault
                )
            return OpenSocket(response)
        except BaseException:
            response.close()
            raise

    async def close(self) -> None:
        """See `AgentWeb`."""
        await self.session.close()


def _refusal(response: aiohttp.ClientResponse, key: bytes) -> str | None:
    """What is wrong with the answer to a handshake (RFC 6455 §4.1)."""
    if response.status != 101:
        return "Invalid response status"
    if response.headers.get("Upgrade", "").lower() != "websocket":
        return "Invalid upgrade header"
    if "upgrade" not in response.headers.get("Connection", "").lower():
        return "Invalid connection header"
    expected = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    if response.headers.get("Sec-WebSocket-Accept", "") != expected:
        return "Invalid challenge response"
    return None if "Sec-WebSocket-Extensions" not in response.headers else "an extension nobody asked for"


class OpenSocket:
    """See `AgentSocket`; reads on behalf of the connection of `response`, which it closes.

    Nothing is read before somebody listens. What an agent sends faster than it can be taken is left to TCP.
    """

    __slots__ = (
        "_closing",
        "_ended",
        "_heard",
        "_loop",
        "_on_closed",
        "_on_message",
        "_paused",
        "_reader",
        "_response",
        "_timer",
        "_transport",
        "_writer",
    )

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        connection = response.connection
        transport = connection.transport if connection is not None else None
        if connection is None or connection.protocol is None or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionError("connection lost after the handshake")
        self._loop = asyncio.get_running_loop()
        self._response = response
        self._transport = transport
        self._reader = FrameReader(MAX_MESSAGE)
        self._writer = FrameWriter(os.urandom)
        self._on_message: Callable[[bytes, bool], None] | None = None
        self._on_closed: Callable[[int | None], None] = _ignore_end
        self._ended: asyncio.Future[int | None] = self._loop.create_future()
        self._heard = self._paused = True
        self._closing = False
        transport.pause_reading()
        self._timer = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)
        connection.protocol.set_parser(self, self)
        transport.set_protocol(cast("asyncio.Protocol", _Wire(connection.protocol, self.receive)))

    def listen(
        self, on_message: Callable[[bytes, bool], None], on_closed: Callable[[int | None], None]
    ) -> None:
        """See `AgentSocket`."""
        self._on_message, self._on_closed = on_message, on_closed
        if self._ended.done():
            self._loop.call_soon(on_closed, self._ended.result())
        else:
            self._loop.call_soon(self._take)

    def send(self, message: bytes) -> bool:
        """See `AgentSocket`."""
        transport = self._transport
        if self._closing or transport.is_closing() or transport.get_write_buffer_size() > MAX_UNREAD:
            return False
        transport.write(self._writer.frame(TEXT, message))
        return True

    async def close(self) -> None:
        """See `AgentSocket`."""
        if not self._ended.done():
            self._on_closed = _ignore_end
            self._on_message = _ignore_message
            if not self._closing:
                self._closing = True
                self._write(CLOSE, NORMAL.to_bytes(2))
                self._take()
            await asyncio.wait((self._ended,), timeout=CLOSE_SECONDS)
            self._end(None)

    # What the connection calls.

    def receive(self, data: bytes) -> None:
        """Take what was read."""
        if self._ended.done():
            return
        self._heard = True
        self._reader.feed(data)
        if self._on_message is not None and not self._paused:
            self._take()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what was read before the connection was ours; (True, …) to be given no more."""
        self.receive(data)
        return self._ended.done(), b""

    def feed_eof(self) -> None:
        """The connection was closed, with or without a goodbye."""
        self._end(None)

    def set_exception(self, exception: BaseException, cause: BaseException | None = None) -> None:
        """The connection broke."""
        self._end(None)

    def _take(self) -> None:
        """Take messages that have come, some at a time."""
        reader = self._reader
        try:
            for _ in range(TURN):
                message = reader.next()
                if message is None:
                    self._resume()
                    return
                if message[0] == TEXT and self._on_message is not None:
                    self._on_message(message[1], True)
                else:
                    self._other(message)
        except WebSocketError as error:
            self._finish(error.code, None)
            return
        if not self._ended.done():
            self._pause()
            self._loop.call_soon(self._take)

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _write(self, opcode: int, payload: bytes) -> None:
        """Send a control frame, if there is anything to send it on."""
        if not self._transport.is_closing():
            self._transport.write(self._writer.frame(opcode, payload))

    def _other(self, message: Message) -> None:
        opcode, payload = message
        if opcode == BINARY and self._on_message is not None:
            self._on_message(payload, False)
        elif opcode == PING:
            if not self._closing and self._transport.get_write_buffer_size() <= MAX_UNREAD:
                self._write(PONG, payload)
        elif opcode == CLOSE:
            code = close_code(payload)
            self._finish(code, code)

    def _finish(self, answer: int, code: int | None) -> None:
        """Close from our side as well. answer: our code; code: theirs."""
        if not self._closing:
            self._closing = True
            payload = answer.to_bytes(2) if answer in range(1000, 5000) and answer != NO_CODE else b""
            self._write(CLOSE, payload)
        self._end(code)

    def _end(self, code: int | None) -> None:
        """It is over; the first reason counts."""
        if self._ended.done():
            return
        self._closing = True
        self._timer.cancel()
        self._ended.set_result(code)
        transport = self._transport
        self._response.close()
        if transport.get_write_buffer_size():  # nobody may hold on to us by reading nothing
            self._loop.call_later(CLOSE_SECONDS, transport.abort)
        self._on_closed(code)

    def _beat(self) -> None:
        """Is the agent still there? What it says answers that, most of the time."""
        if self._heard or self._paused:
            self._heard = False
            self._timer = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)
            return
        self._write(PING, b"")
        self._timer = self._loop.call_later(HEARTBEAT_SECONDS / 2, self._give_up)

    def _give_up(self) -> None:
        if self._heard:
            self._beat()
        else:
            self._transport.abort()
            self._end(None)


class _Wire:
    """The connection as its transport knows it: what is read goes to us, all else to whom it was before."""

    __slots__ = ("connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing")

    def __init__(self, protocol: asyncio.Protocol, receive: Callable[[bytes], None]) -> None:
        self.data_received = receive
        self.connection_lost = protocol.connection_lost
        self.eof_received = protocol.eof_received
        self.pause_writing = protocol.pause_writing
        self.resume_writing = protocol.resume_writing


def _ignore_message(payload: bytes, text: bool) -> None:
    """What is said by an agent that we say goodbye to."""


def _ignore_end(code: int | None) -> None:
    """What becomes of an end that nobody waits for."""
