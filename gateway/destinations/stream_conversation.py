"""A caller's audio and an agent's WebSocket, connected: frames one way, chunks the other, nothing unbounded.

Audio passes between the socket and the session without the call's mailbox, which only hears of what ends or
changes the conversation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog

from gateway.destinations.base import Call
from gateway.destinations.stream_trunk import AgentSocket
from gateway.media.session import AudioSession
from gateway.streams.protocol import (
    AudioReceived,
    ClearReceived,
    GoodbyeReceived,
    MarkReceived,
    NonsenseReceived,
    StreamEvent,
    StreamProtocol,
)

log = structlog.get_logger("calls")

MAX_UNSENT: Final = 100
"""Messages that wait for an agent that reads slowly: two seconds of audio. Then the oldest are dropped."""

STALLED_SECONDS: Final = 10.0
"""For which an agent may read nothing at all before it is given up."""

CLOSING_SECONDS: Final = 4.0
"""For `stop` and the closing handshake together."""

MAX_NONSENSE: Final = 200
"""Messages without sense in one call, before the agent is taken for one that speaks another protocol."""

TURN: Final = 16
"""Messages read before others get their turn: what has arrived already is read without waiting."""

GOODBYE_CODES: Final = frozenset({1000, 1005})
"""Close codes of an agent that means it (RFC 6455 §7.4.1): normal closure, and none given. 1001, a server
that goes away, is a loss: its callers want to go on."""


@dataclass(frozen=True, slots=True)
class AgentSaidGoodbye:
    """The agent ended the call."""


@dataclass(frozen=True, slots=True)
class AgentWasLost:
    """The agent is gone without having meant it. reason: for the record."""

    reason: str


class StreamConversation:
    """One call's, from the first message to the last.

    Args:
        call: hears of `AgentSaidGoodbye` and `AgentWasLost`.
        session: live, in the protocol's form; whoever made it closes it.

    Attributes:
        heard_agent: whether the agent has said anything yet.
        unsent: messages that were dropped because the agent read too slowly.

    """

    def __init__(
        self,
        call: Call,
        socket: AgentSocket,
        protocol: StreamProtocol,
        session: AudioSession,
    ) -> None:
        self.heard_agent = False
        self.unsent = 0
        self._call = call
        self._socket = socket
        self._protocol = protocol
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._nonsense = 0
        self._outgoing: deque[str] = deque()
        self._stuck_since: float | None = None  # when the message was begun that the agent has not taken yet
        self._wanted: asyncio.Future[None] | None = None
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Send what comes first, then let audio flow."""
        self._outgoing += self._protocol.opening()
        session = self._session
        session.on_audio = self._hear_caller
        session.on_dtmf = lambda digit: self._send(self._protocol.key(digit))
        session.on_mark = lambda name: self._send(self._protocol.reached(name))
        self._tasks = [asyncio.ensure_future(self._write()), asyncio.ensure_future(self._read())]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Say goodbye to the agent. Bounded: by the socket's time limit for closing, twice."""
        self._over = True
        self._session.on_audio = _ignore
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                if not self._socket.closed:
                    for message in self._protocol.closing():
                        await self._socket.send_str(message)
                await self._socket.close()
        except (aiohttp.ClientError, OSError):  # a TimeoutError among them
            return

    # Towards the agent.

    def _hear_caller(self, frame: bytes) -> None:
        self._outgoing.append(self._protocol.audio(frame))
        self._pass_on()

    def _send(self, messages: Iterable[str]) -> None:
        self._outgoing.extend(messages)
        self._pass_on()

    def _pass_on(self) -> None:
        if len(self._outgoing) > MAX_UNSENT:
            self._drop_oldest()
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def _drop_oldest(self) -> None:
        while len(self._outgoing) > MAX_UNSENT:
            self._outgoing.popleft()
            self.unsent += 1
        since = self._stuck_since
        if since is not None and self._loop.time() - since >= STALLED_SECONDS:
            self._lose(f"agent read nothing for {STALLED_SECONDS:g} s")

    async def _write(self) -> None:
        """Bounded by `_pass_on`, which a live session calls in every beat: cheaper than a timer a message."""
        send, outgoing = self._socket.send_str, self._outgoing
        try:
            while True:
                while outgoing:
                    self._stuck_since = self._loop.time()
                    await send(outgoing.popleft())
                self._stuck_since = None
                self._wanted = self._loop.create_future()
                await self._wanted
        except (aiohttp.ClientError, OSError) as error:
            self._lose(f"connection to the agent broke: {error}")

    # From the agent.

    async def _read(self) -> None:
        taken = 0
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                for event in self._protocol.receive(message.data):
                    self._take(event)
            else:
                self._take(NonsenseReceived("a binary message"))
            if self._over:
                return
            taken += 1
            if taken % TURN == 0:
                await asyncio.sleep(0)
        code = self._socket.close_code
        if code in GOODBYE_CODES:
            self._finish(AgentSaidGoodbye())
        else:
            self._lose(f"agent's connection closed with {code}" if code else "agent's connection broke")

    def _take(self, event: StreamEvent) -> None:
        match event:
            case AudioReceived():
                if not self.heard_agent:
                    self.heard_agent = True
                    self._call.happened("audio", "the agent speaks for the first time")
                self._session.push(event.audio)
            case MarkReceived():
                if not self._session.mark(event.name):  # too many wait: this one is not waited for
                    self._send(self._protocol.reached(event.name))
            case ClearReceived():
                cleared = self._session.clear()
                self._send(self._protocol.cleared(cleared.marks, cleared.played))
            case GoodbyeReceived():
                self._finish(AgentSaidGoodbye())
            case NonsenseReceived():
                self._nonsense += 1
                if self._nonsense >= MAX_NONSENSE:
                    self._lose(f"agent speaks something else: {event.reason}, {MAX_NONSENSE} times")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """No fault of ours leaves a caller with an agent that nobody listens to."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("conversation with an agent failed", exc_info=error)
            self._lose("internal error")

    def _lose(self, reason: str) -> None:
        self._finish(AgentWasLost(reason))

    def _finish(self, ending: AgentSaidGoodbye | AgentWasLost) -> None:
        if not self._over:
            self._over = True
            self._call.deliver(ending)


def _ignore(frame: bytes) -> None:
    """What becomes of the caller's audio when the agent is gone."""
