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

import structlog

from gateway.destinations.agent_socket import AgentSocket
from gateway.destinations.base import Call
from gateway.media.session import AudioSession
from gateway.streams.protocol import (
    AudioReceived,
    ClearReceived,
    GoodbyeReceived,
    MarkReceived,
    NonsenseReceived,
    StreamEvent,
    StreamProtocol,
    nonsense,
)

log = structlog.get_logger("calls")

MAX_UNSENT: Final = 100
"""Messages that wait for an agent that reads slowly: two seconds of audio. Then the oldest are dropped."""

STALLED_SECONDS: Final = 10.0
"""For which an agent may read nothing at all before it is given up."""

MAX_NONSENSE: Final = 200
"""Messages without sense in one call, before the agent is taken for one that speaks another protocol."""

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
        self._outgoing: deque[bytes] = deque()
        self._stuck_since: float | None = None  # since when the agent has taken nothing of what waits
        self._over = False

    def begin(self) -> None:
        """Send what comes first, then let audio flow."""
        session = self._session
        self._send(self._protocol.opening())
        session.on_audio = self._hear_caller
        session.on_dtmf = lambda digit: self._send(self._protocol.key(digit))
        session.on_mark = lambda name: self._send(self._protocol.reached(name))
        self._socket.listen(self._receive, self._closed)

    async def end(self) -> None:
        """Say goodbye to the agent. Bounded, as the socket's closing is."""
        self._over = True
        self._session.on_audio = _ignore
        for message in self._protocol.closing():
            self._socket.send(message)
        await self._socket.close()

    # Towards the agent.

    def _hear_caller(self, frame: bytes) -> None:
        message = self._protocol.audio(frame)
        if self._outgoing or not self._socket.send(message):
            self._send((message,))

    def _send(self, messages: Iterable[bytes]) -> None:
        """Send in order; what the agent does not take now is tried again in each beat of the session."""
        outgoing = self._outgoing
        outgoing.extend(messages)
        waited = len(outgoing)
        while outgoing and self._socket.send(outgoing[0]):
            outgoing.popleft()
        if not outgoing:
            self._stuck_since = None
        elif self._stuck_since is None or len(outgoing) < waited:
            self._stuck_since = self._loop.time()
        if len(outgoing) > MAX_UNSENT:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        while len(self._outgoing) > MAX_UNSENT:
            self._outgoing.popleft()
            self.unsent += 1
        since = self._stuck_since
        if since is not None and self._loop.time() - since >= STALLED_SECONDS:
            self._lose(f"agent read nothing for {STALLED_SECONDS:g} s")

    # From the agent.

    def _receive(self, payload: bytes, text: bool) -> None:
        if self._over:
            return
        try:
            for event in self._protocol.receive(payload) if text else nonsense("a binary message"):
                self._take(event)
        except Exception as error:  # no fault of ours leaves a caller with an agent that nobody listens to
            log.exception("conversation with an agent failed", exc_info=error)
            self._lose("internal error")

    def _closed(self, code: int | None) -> None:
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

    def _lose(self, reason: str) -> None:
        self._finish(AgentWasLost(reason))

    def _finish(self, ending: AgentSaidGoodbye | AgentWasLost) -> None:
        if not self._over:
            self._over = True
            self._call.deliver(ending)


def _ignore(frame: bytes) -> None:
    """What becomes of the caller's audio when the agent is gone."""
